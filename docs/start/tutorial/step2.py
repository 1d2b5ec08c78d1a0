from flask import Flask
from flask import request
from flask_jwt_extended import create_access_token
from flask_jwt_extended import create_refresh_token
from flask_jwt_extended import get_jwt_identity
from flask_jwt_extended import jwt_required
from flask_jwt_extended import JWTManager
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import Mapped
from sqlalchemy.orm import mapped_column
from werkzeug.security import check_password_hash
from werkzeug.security import generate_password_hash

app = Flask(__name__)
# For this tutorial only: keep the secret of a real app out of its source code.
app.config["JWT_SECRET_KEY"] = "a tutorial secret of thirty-two bytes or more"
app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite:///tutorial.db"
db = SQLAlchemy(app)
JWTManager(app)


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
    return {
        "access_token": create_access_token(user.name),
        "refresh_token": create_refresh_token(user.name),
    }


@app.post("/auth/refresh")
@jwt_required(refresh=True)
def refresh():
    return {"access_token": create_access_token(get_jwt_identity())}


@app.get("/me")
@jwt_required()
def me():
    return {"name": get_jwt_identity()}
