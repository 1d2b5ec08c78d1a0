from flask import Flask
from flask import g
from flask_jwt_extended import decode_token

from myapp import jwt


@jwt.additional_claims_loader
def load_team(identity):
    return {"team": g.get("team")}


def test_a_pair_is_made_in_the_open_context_of_its_app(app, logout_make_pair):
    def make_team():
        pair = logout_make_pair("ada")
        with app.app_context():
            return decode_token(pair.access)["team"]

    with app.app_context():
        g.team = 1
        assert make_team() == 1
        with Flask("another").app_context():
            g.team = 2
            assert make_team() is None
    assert make_team() is None
