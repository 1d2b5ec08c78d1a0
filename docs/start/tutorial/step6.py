from flask import Flask
from flask import request
from flask_jwt_extended import create_access_token
from flask_jwt_extended import create_refresh_token
from flask_jwt_extended import get_jwt
from flask_jwt_extended import get_jwt_identity
from flask_jwt_extended import jwt_required
from flask_jwt_extended import JWTManager
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import Mapped
from sqlalchemy.orm import mapped_column
from werkzeug.security import check_password_hash
from werkzeug.security import generate_password_hash

from flask_logout import LogoutExtension
from flask_logout import session_claims

app = Flask(__name__)
# For this tutorial only: keep the secret of a real app out of its source code.
app.config["JWT_SECRET_KEY"] = "a tutorial secret of thirty-two bytes or more"
app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite:///tutorial.db"
db = SQLAlchemy(app)
JWTManager(app)
logout = LogoutExtension(app)


class User(db.Model):
    name: Mapped[str] = mapped_column(primary_key=True)
    password_hash: Mapped[str]


with app.app_context():
    db.create_all()
    if db.session.get(User, "ada") is None:
        password_hash = generate_password_hash("analytical-engine")
        db.session.add(User(name="ada", password_hash=password_hash))
        db.session.commit()


@app.post("/auth/login")
def login():
    user = db.session.get(User, request.form["name"])
    password = request.form["password"]
    if user is None or not check_password_hash(user.password_hash, password):
        return {"msg": "Wrong name or password"}, 401
    claims = session_claims()
    return {
        "access_token": create_access_token(user.name, additional_claims=claims),
        "refresh_token": create_refresh_token(user.name, additional_claims=claims),
    }


@app.post("/auth/refresh")
@jwt_required(refresh=True)
def refresh():
    name, claims = get_jwt_identity(), session_claims(get_jwt())
    return {"access_token": create_access_token(name, additional_claims=claims)}


@app.get("/me")
@jwt_required()
def me():
    return {"name": get_jwt_identity()}


@app.post("/auth/logout-everywhere")
@jwt_required()
def log_out_everywhere():
    logout.revoke_user(get_jwt_identity())
    return {"msg": "All logins have ended"}


@app.post("/password")
@jwt_required()
def change_password():
    user = db.session.get(User, get_jwt_identity())
    if not check_password_hash(user.password_hash, request.form["password"]):
        return {"msg": "Wrong password"}, 403
    user.password_hash = generate_password_hash(request.form["new_password"])
    current = get_jwt().get("sid")
    logout.revoke_user(user.name, keep_session=current, session=db.session)
    db.session.commit()
    return {"msg": "Password changed"}
