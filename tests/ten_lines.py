"""Ten lines that a stranger writes, run on the installed package alone."""

from tempfile import mkdtemp

from flask import Flask
from flask_jwt_extended import create_access_token
from flask_jwt_extended import create_refresh_token
from flask_jwt_extended import jwt_required

from flask_logout import LogoutExtension

app = Flask(__name__, instance_path=mkdtemp())
app.config["JWT_SECRET_KEY"] = "a secret of at least thirty-two bytes"
LogoutExtension(app)


@app.get("/me")
@jwt_required()
def me() -> str:
    """Let in whoever has a token that is not revoked."""
    return "hello"


with app.app_context():
    access, refresh = create_access_token("ada"), create_refresh_token("ada")
client, headers = app.test_client(), {"Authorization": f"Bearer {access}"}
assert client.get("/me", headers=headers).status_code == 200
body = {"refresh_token": refresh}
answer = client.post("/auth/logout", headers=headers, json=body)
assert answer.data == b'{"code":200,"message":"logout successful","data":{}}'
assert client.get("/me", headers=headers).status_code == 401
print("logged out")
