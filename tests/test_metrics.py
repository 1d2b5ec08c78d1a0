"""An app is measured with OpenTelemetry, if it wants that."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from datetime import timezone
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from flask import Flask
from flask_jwt_extended import create_refresh_token
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from flask_logout import ConfigError
from flask_logout import LogoutExtension
from flask_logout.domain.revocation import Kind
from flask_logout.domain.rotation import Outcome
from flask_logout.metrics import AppMetrics
from flask_logout.metrics import MeasuredService
from flask_logout.metrics.counters import Tally
from flask_logout.service import LogoutService

from .conftest import MakeApp
from .conftest import SECRET
from .pages import blocks
from .pages import DOCS
from .programs import find_program
from .proxy import free_port
from .redis_servers import running_url
from .session_apps import age
from .session_apps import log_in
from .session_apps import make_session_app
from .session_apps import renew
from .session_apps import renewed
from .tokens import bearer
from .tokens import claims_of
from .tokens import get_status
from .tokens import log_out
from .tokens import make_pair

Measured = dict[tuple[str, ...], t.Any]


@pytest.fixture(scope="module")
def reader() -> InMemoryMetricReader:
    """What OpenTelemetry would export. A process has one provider."""
    reader = InMemoryMetricReader()
    metrics.set_meter_provider(MeterProvider(metric_readers=[reader]))
    return reader


def read(reader: InMemoryMetricReader, app: Flask) -> Measured:
    """Return the numbers of one app, by the name and the attributes."""
    found: Measured = {}
    data = reader.get_metrics_data()
    for resource in data.resource_metrics if data else ():
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                for point in metric.data.data_points:
                    attributes = dict(point.attributes or {})
                    if attributes.pop("app", None) == app.name:
                        name = metric.name.removeprefix("flask_logout.")
                        key = (name, *(str(x) for x in attributes.values()))
                        value = getattr(point, "value", None)
                        found[key] = point.count if value is None else value  # type: ignore[union-attr]
    return found


def name(app: Flask) -> Flask:
    """Give an app a name of its own, because all apps of the tests are called the same."""
    app.name = uuid4().hex
    return app


@pytest.fixture(params=["database", "redis"])
def config(request: pytest.FixtureRequest) -> dict[str, t.Any]:
    """The config of a measured app."""
    found: dict[str, t.Any] = {"LOGOUT_METRICS": True}
    if request.param == "redis":
        found["LOGOUT_STORE_URI"] = running_url()
    return found


def test_checks_and_revocations_are_counted(
    make_app: MakeApp, reader: InMemoryMetricReader, config: dict[str, t.Any]
) -> None:
    app = name(make_app(**config))
    client, pair, other = app.test_client(), make_pair(app), make_pair(app, "bob")
    assert get_status(client, pair) == get_status(client, other) == (200, 200)
    assert log_out(client, pair).status_code == 200
    assert get_status(client, pair) == (401, 401)
    with app.app_context():
        logout = LogoutExtension()
        logout.revoke_user("bob")
        logout.revoke_session("1")
        logout.revoke_everyone()
    found = read(reader, app)
    # The logout checks the access token as well.
    assert found["checks", "accepted", "store"] == 5
    assert found["checks", "revoked", "store"] == 2
    assert found["checks", "accepted", "mirror"] == 0
    assert found["checks", "error", "store"] == 0
    kinds = {x[1]: found[x] for x in found if x[0] == "revocations"}
    # A refresh token without session_claims() counts as a session.
    assert kinds == {"token": 1, "session": 2, "subject": 1, "everyone": 1}
    assert found["store.duration", "add"] == 4
    assert not {x for x in found if x[0].startswith("mirror")}


def test_the_mirror_is_measured(
    make_app: MakeApp, reader: InMemoryMetricReader, config: dict[str, t.Any]
) -> None:
    app = name(make_app(LOGOUT_MAX_STALENESS=60, **config))
    client, pair = app.test_client(), make_pair(app)
    with app.app_context():
        app.extensions["logout"].store.inspect().clear()
    assert not [x for x in read(reader, app) if x[0] == "mirror.age"]
    for _ in range(10):
        assert client.get("/me", headers=bearer(pair.access)).status_code == 200
    assert log_out(client, pair).status_code == 200
    found = read(reader, app)
    assert found["checks", "accepted", "mirror"] >= 8
    assert 0 <= found["mirror.age",] < 30
    assert found["mirror.keys",] == 2
    assert found["store.duration", "changes"] >= 1


def test_errors_of_the_store_are_counted(
    make_app: MakeApp, reader: InMemoryMetricReader
) -> None:
    app = name(make_app(LOGOUT_METRICS=True))
    pair = make_pair(app)
    with app.app_context():
        app.extensions["sqlalchemy"].drop_all()
    assert get_status(app.test_client(), pair) == (503, 503)
    found = read(reader, app)
    assert found["checks", "error", "store"] == found["store.errors",] == 2


def test_refreshes_and_purges_are_counted(
    make_app: MakeApp, reader: InMemoryMetricReader
) -> None:
    app = name(make_session_app(make_app, LOGOUT_METRICS=True))
    client = app.test_client()
    first = log_in(client)
    second = renewed(client, first)
    assert renew(client, first).status_code == 200
    age(app, first, 60)
    renewed(client, second)
    age(app, first, 60)
    assert renew(client, first).status_code == 401
    found = read(reader, app)
    outcomes = {x[1]: found[x] for x in found if x[0] == "refreshes"}
    assert outcomes == {
        **dict.fromkeys(("adopted", "replaced", "refused"), 0),
        **{"rotated": 2, "repeated": 1, "reuse": 1},
    }
    assert found["store.duration", "sessions.rotate"] == 3
    assert found["store.duration", "sessions.start"] == 1
    with app.app_context():
        for store in app.extensions["logout"].stores():
            store.purge(datetime(2100, 1, 1, tzinfo=timezone.utc), batch=10)
    # The session, and its revocation.
    assert read(reader, app)["purged",] == 2
    assert read(reader, app)["store.duration", "sessions.purge"] == 1


def test_a_refused_refresh_is_counted(
    make_app: MakeApp, reader: InMemoryMetricReader, config: dict[str, t.Any]
) -> None:
    app = name(make_session_app(make_app, LOGOUT_ENDPOINTS=["refresh"], **config))
    client = app.test_client()
    ada = claims_of(log_in(client).refresh)
    shared = {"sid": ada["sid"], "login_at": ada["login_at"], "generation": 0}
    with app.app_context():
        bob = create_refresh_token("bob", additional_claims=shared)
    for url in ("/renew", "/auth/refresh"):
        assert client.post(url, headers=bearer(bob)).status_code == 401
    found = read(reader, app)
    assert found["refreshes", "refused"] == 2
    assert found["refreshes", "rotated"] == 0


def test_rare_events_are_zero_before_the_first_one(
    make_app: MakeApp, reader: InMemoryMetricReader
) -> None:
    app = name(make_app(LOGOUT_METRICS=True))
    found = read(reader, app)
    names = [(*x, found[x]) for x in sorted(found) if x[0] != "checks"]
    assert names == [
        *(("refreshes", outcome, 0) for outcome in sorted(t.get_args(Outcome))),
        *(("revocations", kind, 0) for kind in sorted(t.get_args(Kind))),
        ("store.errors", 0),
    ]


def test_deleted_records_are_counted(
    make_app: MakeApp, reader: InMemoryMetricReader
) -> None:
    app = name(make_app(LOGOUT_METRICS=True, LOGOUT_PURGE_MARGIN=0))
    with app.app_context():
        logout = LogoutExtension()
        logout.revoke_token({"jti": "1", "type": "access", "exp": time.time() - 9})
        assert logout.purge() == 1
    assert read(reader, app)["purged",] == 1


def test_one_of_512_checks_is_timed(
    make_app: MakeApp, reader: InMemoryMetricReader
) -> None:
    app = name(make_app(LOGOUT_METRICS=True))
    with app.app_context():
        for _ in range(1024):
            assert not LogoutExtension().is_revoked({"jti": "1"})
    found = read(reader, app)
    assert found["checks", "accepted", "store"] == 1024
    assert found["store.duration", "find"] == 2


def test_threads_lose_no_check(make_app: MakeApp, reader: InMemoryMetricReader) -> None:
    app = name(make_app(LOGOUT_METRICS=True, LOGOUT_MAX_STALENESS=60))

    def check(_: int) -> None:
        with app.app_context():
            for _ in range(50):
                LogoutExtension().is_revoked({"jti": "1"})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(check, range(8)))
    found = read(reader, app)
    checks = [found[x] for x in found if x[0] == "checks"]
    assert sum(checks) == 400


def test_a_forked_process_counts_on(
    make_app: MakeApp, reader: InMemoryMetricReader
) -> None:
    app = name(make_app(LOGOUT_METRICS=True, LOGOUT_MAX_STALENESS=60))
    service = app.extensions["logout"]
    with app.app_context():
        service.is_revoked({"jti": "1"})
        process = get_context("fork").Process(target=check_in_child, args=[service])
        process.start()
        process.join(30)
    assert process.exitcode == 0
    # The child has a copy of the numbers.
    found = read(reader, app)
    assert sum(found[x] for x in found if x[0] == "checks") == 1


def check_in_child(service: LogoutService) -> None:
    """Check a token, and count this check in a forked process."""
    service.is_revoked({"jti": "1"})
    assert isinstance(service, MeasuredService)
    assert sum(service.metrics.list_checks().values()) == 2


@pytest.mark.parametrize("options", [[], ["--preload"]], ids=["plain", "preloaded"])
def test_each_worker_of_gunicorn_exports_its_numbers(
    options: list[str], tmp_path: Path
) -> None:
    first = free_port()
    _, setup = blocks("howto/metrics.rst", "python")
    setup = setup.replace("range(9464, 9480)", f"range({first}, {first + 16})")
    (tmp_path / "gunicorn.conf.py").write_text(setup)
    (tmp_path / "served.py").write_text(SERVED)
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "--workers=2", *options]
    command += [f"--bind=127.0.0.1:{port}", "served:app"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    log = tmp_path / "gunicorn.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=file, stderr=file
        )
    try:
        check_workers(f"http://127.0.0.1:{port}", first)
    finally:
        process.terminate()
        process.wait(30)


SERVED = f"""
from flask import Flask
from flask_jwt_extended import create_access_token, jwt_required
from flask_logout import LogoutExtension

app = Flask("served")
app.config.update(JWT_SECRET_KEY={SECRET!r}, LOGOUT_METRICS=True)
LogoutExtension(app)


@app.get("/login")
def login():
    return create_access_token("ada")


@app.get("/me")
@jwt_required()
def me():
    return "me"
"""


def check_workers(site: str, first: int) -> None:
    """Use a site with two workers until both have counted a check."""
    wait_for(lambda: httpx.get(f"{site}/login").status_code == 200)
    headers = bearer(httpx.get(f"{site}/login").text)
    sent = 0

    def both_have_counted() -> bool:
        nonlocal sent
        assert httpx.get(f"{site}/me", headers=headers).status_code == 200
        sent += 1
        numbers = [count_checks(first + x) for x in range(2)]
        assert sum(numbers) == sent
        return all(numbers)

    wait_for(lambda: [count_checks(first + x) for x in range(2)] == [0, 0])
    wait_for(both_have_counted)


def count_checks(port: int) -> float:
    """Read how many checks a worker has counted."""
    lines = httpx.get(f"http://127.0.0.1:{port}/metrics").text.splitlines()
    prefix = "flask_logout_checks_total{"
    return sum(float(x.rpartition(" ")[2]) for x in lines if x.startswith(prefix))


def test_a_tally_never_decreases() -> None:
    tally = Tally()
    for _ in range(3):
        tally.add()
    assert tally.read() == 3
    # A thread was interrupted between the two steps of add().
    tally._number = 2
    assert tally.read() == 3
    tally.add()
    assert tally.read() == 4


def test_no_number_of_checks_decreases() -> None:
    app_metrics = AppMetrics(Flask("falling"), has_mirror=True)
    for _ in range(3):
        app_metrics.checks.add()
    app_metrics.asked.add()
    # Two checks are in progress. Then one of them fails, and the store answers the other.
    before = app_metrics.list_checks()
    app_metrics.failed.add()
    app_metrics.asked.add()
    after = app_metrics.list_checks()
    assert [*before.values()] == [2, 1, 0, 0]
    assert [*after.values()] == [2, 2, 0, 1]


def test_a_failed_check_is_no_answer_of_the_store(
    make_app: MakeApp, reader: InMemoryMetricReader
) -> None:
    app = name(make_app(LOGOUT_METRICS=True, LOGOUT_MAX_STALENESS=60))
    pair = make_pair(app)
    with app.app_context():
        app.extensions["logout"].store.inspect().clear()
        app.extensions["sqlalchemy"].drop_all()
    assert get_status(app.test_client(), pair) == (503, 503)
    with app.app_context():
        app.extensions["sqlalchemy"].create_all()
    for _ in range(10):
        get_status(app.test_client(), pair)
    found = read(reader, app)
    assert found["checks", "error", "store"] == 2
    answered = found["store.duration", "find"] - 2
    assert found["checks", "accepted", "store"] == answered
    assert found["checks", "accepted", "mirror"] == 20 - answered


def test_two_apps_share_the_instruments(
    make_app: MakeApp, reader: InMemoryMetricReader
) -> None:
    apps = [make_app(LOGOUT_METRICS=True) for _ in range(2)]
    for app in apps:
        app.name = "shared"
        with app.app_context():
            LogoutExtension().is_revoked({"jti": "1"})
    assert read(reader, apps[0])["checks", "accepted", "store"] == 2


def test_nothing_is_imported_unless_enabled(tmp_path: Path) -> None:
    program = (
        "import sys; from flask import Flask; from flask_logout import LogoutExtension\n"
        f"app = Flask('x', instance_path={str(tmp_path)!r})\n"
        "app.config['JWT_SECRET_KEY'] = 32 * 'x'\n"
        "LogoutExtension(app)\n"
        "print([x for x in sys.modules if 'opentelemetry' in x or 'logout.metrics' in x])"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_missing_package_is_named(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_module("flask_logout.metrics")
    for module in [x for x in sys.modules if x.startswith("flask_logout.metrics")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(ConfigError) as caught:
        make_app(LOGOUT_METRICS=True)
    assert str(caught.value) == (
        "LOGOUT_METRICS needs the package opentelemetry-api, which isn't installed. Run"
        " `pip install 'flask-logout[metrics]'`, or remove LOGOUT_METRICS."
    )


PROMETHEUS = """
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [alerts.yml]
scrape_configs:
  - job_name: app
    static_configs: [{targets: ["127.0.0.1:%s"]}]
"""


class Prometheus:
    """A running Prometheus."""

    def __init__(self, url: str) -> None:
        self.url = url

    def query(self, expression: str) -> list[t.Any]:
        """Evaluate an expression now."""
        answer = httpx.get(f"{self.url}/api/v1/query", params={"query": expression})
        body = answer.json()
        assert body["status"] == "success", body
        return t.cast("list[t.Any]", body["data"]["result"])

    def firing(self) -> set[str]:
        """Return the names of the alerts that fire or are about to."""
        alerts = httpx.get(f"{self.url}/api/v1/alerts").json()["data"]["alerts"]
        return {x["labels"]["alertname"] for x in alerts}


def wait_for(is_true: t.Callable[[], object]) -> None:
    """Wait until something is true."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            if is_true():
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError("it never became true")


ALERTS = """
rule_files: [alerts.yml]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - {series: 'flask_logout_mirror_age_seconds{app="a", instance="busy"}', values: "90x20"}
      - {series: 'flask_logout_checks_total{app="a", instance="busy"}', values: "0+60x20"}
      - {series: 'flask_logout_mirror_age_seconds{app="a", instance="idle"}', values: "90x20"}
      - {series: 'flask_logout_checks_total{app="a", instance="idle"}', values: "0x20"}
      - {series: 'flask_logout_mirror_age_seconds{app="a", instance="well"}', values: "1x20"}
      - {series: 'flask_logout_checks_total{app="a", instance="well"}', values: "0+60x20"}
    alert_rule_test:
      - eval_time: 15m
        alertname: LogoutMirrorOld
        exp_alerts:
          - exp_labels: {severity: warning, app: a, instance: busy}
            exp_annotations:
              summary: The in-memory mirror of busy is not read any more.
  - interval: 10m
    input_series:
      - series: flask_logout_revocations_total{instance="stopped", app="a", kind="token"}
        values: 0+10x288
      - series: >-
          flask_logout_store_duration_seconds_count{operation="purge",
          app="a", instance="stopped"}
        values: 7x288
      - series: flask_logout_revocations_total{instance="never", app="a", kind="token"}
        values: 0+10x288
      - series: flask_logout_revocations_total{instance="well", app="a", kind="token"}
        values: 0+10x288
      - series: >-
          flask_logout_store_duration_seconds_count{operation="purge",
          app="a", instance="well"}
        values: 0+0.1x288
      - series: flask_logout_revocations_total{instance="idle", app="a", kind="token"}
        values: 0+1x288
    alert_rule_test:
      - eval_time: 40h
        alertname: LogoutPurgeStopped
        exp_alerts:
          - exp_labels: {severity: warning, app: a, instance: never}
            exp_annotations:
              summary: Expired revocations of a are not deleted by never.
          - exp_labels: {severity: warning, app: a, instance: stopped}
            exp_annotations:
              summary: Expired revocations of a are not deleted by stopped.
"""


@pytest.mark.infrastructure
def test_a_worker_that_stops_working_raises_an_alert_unless_it_is_idle(
    tmp_path: Path,
) -> None:
    """The mirror is not read any more, or nothing is purged."""
    promtool = find_program("promtool", "prometheus")
    rules = (DOCS / "_static/metrics/alerts.yml").read_text()
    (tmp_path / "alerts.yml").write_text(rules)
    (tmp_path / "test.yml").write_text(ALERTS)
    command = [promtool, "test", "rules", str(tmp_path / "test.yml")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.infrastructure
def test_prometheus_reads_the_numbers(tmp_path: Path) -> None:
    """Every expression of the dashboard has a value, and the alerts fire."""
    prometheus, promtool = (
        find_program(x, "prometheus") for x in ("prometheus", "promtool")
    )
    port, numbers, own = free_port(), free_port(), free_port()
    rules = (DOCS / "_static/metrics/alerts.yml").read_text()
    (tmp_path / "alerts.yml").write_text(rules)
    (tmp_path / "prometheus.yml").write_text(PROMETHEUS % numbers)
    check = [promtool, "check", "rules", str(tmp_path / "alerts.yml")]
    subprocess.run(check, check=True, capture_output=True)
    programs = [
        [
            *(sys.executable, "-m", "tests.metrics_app", str(port), str(numbers)),
            f"sqlite:///{tmp_path / 'store.db'}",
            "howto/metrics.rst",
        ],
        [
            prometheus,
            f"--config.file={tmp_path / 'prometheus.yml'}",
            f"--storage.tsdb.path={tmp_path / 'data'}",
            f"--web.listen-address=127.0.0.1:{own}",
        ],
    ]
    folder = Path(__file__).parent.parent
    with (tmp_path / "log").open("wb") as log:
        running = [
            subprocess.Popen(x, cwd=folder, stdout=log, stderr=log) for x in programs
        ]
    try:
        observe(Prometheus(f"http://127.0.0.1:{own}"), f"http://127.0.0.1:{port}")
    finally:
        for process in running:
            process.terminate()
            process.wait()


def observe(prometheus: Prometheus, app: str) -> None:
    """Use the app, and look at what Prometheus knows."""
    with httpx.Client(base_url=app) as client:
        wait_for(lambda: client.get("/me").status_code == 401)

        def use() -> None:
            pair = client.post("/login", json="ada").json()
            access, refresh = pair["access_token"], pair["refresh_token"]
            assert client.get("/me", headers=bearer(access)).status_code == 200
            for _ in range(2):  # the second one is a reuse
                client.post("/auth/refresh", headers=bearer(refresh))
            client.post("/purge")

        # A rate needs two scrapes. The first reuse must raise an alert.
        reuses = 'flask_logout_refreshes_total{outcome="reuse"}'
        wait_for(lambda: prometheus.query(f"{reuses} == 0"))
        use()
        wait_for(lambda: "LogoutRefreshTokenReused" in prometheus.firing())
        # Nothing is deleted unless a record has expired, so this counter begins later.
        use()
        dashboard = json.loads((DOCS / "_static/metrics/dashboard.json").read_text())
        expressions = [
            target["expr"].replace("$__rate_interval", "1m")
            for panel in dashboard["panels"]
            for target in panel["targets"]
        ]
        assert len(expressions) == 8
        pair = client.post("/login", json="ada").json()
        assert client.post("/stop").status_code == 200
        headers = bearer(pair["access_token"])
        assert client.get("/me", headers=headers).status_code in {200, 503}
        wait_for(lambda: client.get("/me", headers=headers).status_code == 503)
        alerts = {"LogoutStoreUnavailable", "LogoutRefreshTokenReused"}

        def is_known() -> bool:
            client.get("/me", headers=headers)
            values = [prometheus.query(x) for x in expressions]
            return all(values) and alerts <= prometheus.firing()

        wait_for(is_known)
