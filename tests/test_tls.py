"""Our connections use the TLS options of the app."""

from __future__ import annotations

import ipaddress
import typing as t
from datetime import datetime
from datetime import timedelta
from datetime import timezone
from pathlib import Path
from urllib.parse import quote

import pytest
import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_logout import LogoutExtension
from flask_logout import StoreUnavailableError
from flask_logout.stores.redis import RedisStore

from .conftest import dispose
from .conftest import MakeApp
from .conftest import SECRET
from .database_servers import MariaDBServer
from .database_servers import PostgreSQLServer
from .proxy import free_port
from .redis_servers import Server
from .tokens import get_status
from .tokens import log_out
from .tokens import LOGGED_OUT
from .tokens import make_pair

pytestmark = pytest.mark.infrastructure

TIMEOUT = timedelta(seconds=2)


class Certificate(t.NamedTuple):
    """A self-signed certificate for 127.0.0.1."""

    certificate: Path
    key: Path


def make_certificate(folder: Path) -> Certificate:
    """Write a certificate and its key."""
    folder.mkdir()
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    now = datetime.now(timezone.utc)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(True, None), critical=True)
        .sign(key, hashes.SHA256())
    )
    made = Certificate(folder / "certificate.pem", folder / "key.pem")
    made.certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    made.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    made.key.chmod(0o600)
    return made


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A certificate that no server uses."""
    return make_certificate(tmp_path_factory.mktemp("tls") / "stranger")


def make_certificate_of(server: PostgreSQLServer | MariaDBServer) -> Certificate:
    """Write a certificate that a server can read."""
    server.own(server.folder)
    made = make_certificate(server.folder / "tls")
    for path in (server.folder / "tls", *made):
        server.own(path)
    return made


def assert_engine_is_used(
    make_app: MakeApp, url: sa.URL, good: dict[str, t.Any], *bad: dict[str, t.Any]
) -> None:
    """Assert that a logout works with good connect arguments, and fails with bad ones."""
    config = {"SQLALCHEMY_DATABASE_URI": str(url), "LOGOUT_TIMEOUT": TIMEOUT}
    app = make_app(**config, SQLALCHEMY_ENGINE_OPTIONS={"connect_args": good})
    pair, client = make_pair(app), app.test_client()
    assert get_status(client, pair) == (200, 200)
    assert log_out(client, pair).data == LOGGED_OUT
    assert get_status(client, pair) == (401, 401)
    dispose(app)
    for arguments in bad:
        other = Flask("tests")
        options = {"connect_args": arguments}
        other.config.update(config, JWT_SECRET_KEY=SECRET)
        other.config["SQLALCHEMY_ENGINE_OPTIONS"] = options
        SQLAlchemy(other)
        LogoutExtension(other)
        with other.app_context(), pytest.raises(StoreUnavailableError):
            other.extensions["logout"].store.find([bytes(16)])
        dispose(other)


def test_postgresql_with_tls_only(make_app: MakeApp, stranger: Certificate) -> None:
    server = PostgreSQLServer()
    made = make_certificate_of(server)
    server.options += ["ssl=on", f"ssl_cert_file={made.certificate}"]
    server.options += [f"ssl_key_file={made.key}"]
    with server:
        rules = server.folder / "data" / "pg_hba.conf"
        rules.write_text("hostssl all all 127.0.0.1/32 trust\n")
        server.stop("fast")
        server.start()
        for driver in server.drivers:
            assert_engine_is_used(
                make_app,
                server.url.set(drivername=driver),
                {"sslmode": "verify-full", "sslrootcert": str(made.certificate)},
                {"sslmode": "verify-full", "sslrootcert": str(stranger.certificate)},
                {"sslmode": "disable"},
            )


def test_mariadb_with_tls_only(make_app: MakeApp, stranger: Certificate) -> None:
    server = MariaDBServer()
    made = make_certificate_of(server)
    server.options += [f"ssl-cert={made.certificate}", f"ssl-key={made.key}"]
    server.options += ["require-secure-transport"]
    with server:
        assert_engine_is_used(
            make_app,
            server.url,
            {"ssl": {"ca": str(made.certificate)}},
            {"ssl": {"ca": str(stranger.certificate)}},
            {"ssl_disabled": True},
        )


def test_redis_with_tls(
    make_app: MakeApp, tmp_path: Path, stranger: Certificate
) -> None:
    made, port = make_certificate(tmp_path / "tls"), free_port()
    options = {
        "tls-port": str(port),
        "tls-cert-file": str(made.certificate),
        "tls-key-file": str(made.key),
        "tls-auth-clients": "no",
    }
    pairs = [x for name, value in options.items() for x in (f"--{name}", value)]
    with Server(tmp_path / "redis", *pairs):
        uri = f"rediss://127.0.0.1:{port}/0?ssl_ca_certs="
        app = make_app(LOGOUT_STORE_URI=uri + quote(str(made.certificate)))
        pair, client = make_pair(app), app.test_client()
        assert get_status(client, pair) == (200, 200)
        assert log_out(client, pair).data == LOGGED_OUT
        assert get_status(client, pair) == (401, 401)
        app.extensions["logout"].store.client.close()
        uri += quote(str(stranger.certificate))
        store = RedisStore(uri, timeout=TIMEOUT)
        with pytest.raises(StoreUnavailableError, match="certificate verify failed"):
            store.find([bytes(16)])
        store.client.close()
