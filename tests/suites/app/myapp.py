from flask import Flask
from flask_jwt_extended import get_jwt_identity
from flask_jwt_extended import jwt_required
from flask_jwt_extended import JWTManager
from flask_sqlalchemy import SQLAlchemy

from flask_logout import LogoutExtension

db = SQLAlchemy()
jwt = JWTManager()


def create_app(**config):
    app = Flask("myapp")
    app.config["JWT_SECRET_KEY"] = "a secret of at least thirty-two bytes"
    # The default timeout could cause 503 responses on a busy machine.
    app.config["LOGOUT_TIMEOUT"] = 5
    app.config.update(config)
    db.init_app(app)
    jwt.init_app(app)
    logout = LogoutExtension(app)

    @app.get("/me")
    @jwt_required()
    def me():
        return {"identity": get_jwt_identity()}

    @app.post("/refresh")
    @jwt_required(refresh=True)
    def refresh():
        return logout.refresh_session()._asdict()

    return app
