from myapp import jwt


@jwt.additional_headers_loader
def load_headers(identity):
    return {"kid": identity}


@jwt.token_in_blocklist_loader
def is_blocked(header, claims):
    return header["kid"] == claims["sub"] == "bob"


def test_the_assertions_ask_the_loader(
    logout_make_pair, logout_assert_revoked, logout_assert_not_revoked
):
    logout_assert_revoked(*logout_make_pair("bob"))
    logout_assert_not_revoked(*logout_make_pair("ada"))
