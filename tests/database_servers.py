"""Database servers that tests start and stop, each in a folder of its own."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import subprocess
import tempfile
import time
import typing as t
from functools import lru_cache
from pathlib import Path

import sqlalchemy as sa

from .ci import skip_or_fail
from .programs import find_program
from .proxy import free_port
from .proxy import wait_for_server


class _Server:
    """A server that runs during the block.

    :param *options: settings of the server, as on its command line.
    :param environment: environment variables of the server.
    """

    # The user that runs the server if the tests run as root.
    _owner: str
    # The program that creates the data folder, and its Debian package.
    _installer: tuple[str, str]

    def __init__(
        self, *options: str, environment: t.Mapping[str, str] | None = None
    ) -> None:
        # Do this first, because it skips the test if the program is missing.
        find_program(*self._installer)
        self._environment = {**os.environ, **(environment or {})}
        self.port = free_port()
        # Don't use pytest's folder, because only its owner can access it.
        self._keeper = tempfile.TemporaryDirectory(prefix="flask-logout-")
        self.folder = Path(self._keeper.name)
        self.options = list(options)

    def __enter__(self) -> t.Any:
        self.own(self.folder)
        self._install()
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop("immediate")
        self._keeper.cleanup()

    def own(self, path: Path) -> None:
        """Make the user of the server the owner of a file."""
        _own(path, self._owner)

    def start(self) -> None:
        """Start the server, and wait until it responds."""
        raise NotImplementedError

    def stop(self, mode: str) -> None:
        """Stop the server: ``fast``, or ``immediate`` to simulate a crash."""
        raise NotImplementedError

    def _install(self) -> None:
        raise NotImplementedError

    def _copy(self, option: str, *options: str) -> None:
        """Run the installer, whose folder an option names, and copy that folder."""
        command = (find_program(*self._installer), *options)
        template = _make_data(self._owner, option, command)
        self._run("cp", "--archive", template, str(self.folder / "data"))

    def _run(self, *command: str) -> None:
        _run(self._owner, self.folder, *command, environment=self._environment)


class PostgreSQLServer(_Server):
    """A PostgreSQL server."""

    drivers = ("postgresql+psycopg", "postgresql+psycopg2")
    _owner = "postgres"
    _installer = ("initdb", "postgresql")

    @property
    def url(self) -> sa.URL:
        """The URL of the database."""
        return sa.make_url(f"postgresql://postgres@127.0.0.1:{self.port}/postgres")

    @property
    def pid(self) -> int:
        """The parent process of all processes of the server."""
        return int((self.folder / "data/postmaster.pid").read_text().split()[0])

    def start(self) -> None:
        options = [f"-p {self.port}", "-h 127.0.0.1", f"-k {self.folder}"]
        options += [f"-c {option}" for option in self.options]
        log = str(self.folder / "log")
        self._control("start", "--log", log, "--options", " ".join(options))

    def stop(self, mode: str) -> None:
        self._control("stop", "--mode", mode)

    def promote(self) -> None:
        """Promote a standby to a primary."""
        self._control("promote")

    def _install(self) -> None:
        self._copy("--pgdata", "--no-sync", "--auth=trust", "--username=postgres")

    def _control(self, *arguments: str) -> None:
        data = str(self.folder / "data")
        self._run(_find_postgresql("pg_ctl"), "--pgdata", data, "--wait", *arguments)


class MariaDBServer(_Server):
    """A MariaDB server."""

    drivers = ("mysql+pymysql",)
    _owner = "mysql"
    _installer = ("mariadb-install-db", "mariadb-server")

    @property
    def url(self) -> sa.URL:
        """The URL of the database."""
        return sa.make_url(f"mysql+pymysql://root@127.0.0.1:{self.port}/test")

    @property
    def pid(self) -> int:
        """The process id of the server."""
        return self._process.pid

    def start(self) -> None:
        options = [f"--{option}" for option in self.options]
        with (self.folder / "log").open("a") as log:
            self._process = subprocess.Popen(
                [
                    *(_find_mariadb("mariadbd"), "--no-defaults"),
                    *(f"--datadir={self.folder}/data", f"--port={self.port}"),
                    *(f"--socket={self.folder}/socket", "--bind-address=127.0.0.1"),
                    *options,
                ],
                user=self._owner if os.geteuid() == 0 else None,
                env=self._environment,
                stdout=log,
                stderr=log,
            )
        wait_for_server(self.port, self._process, self.folder / "log")

    def run(self, *statements: str) -> list[sa.Row[t.Any]]:
        """Run statements as root, and return the rows of the last one."""
        engine = sa.create_engine(self.url, poolclass=sa.NullPool)
        rows: list[sa.Row[t.Any]] = []
        with engine.connect() as connection:
            for statement in statements:
                result = connection.exec_driver_sql(statement)
                rows = list(result) if result.returns_rows else []
        return rows

    def stop(self, mode: str) -> None:
        is_fast = mode == "fast"
        self._process.send_signal(signal.SIGTERM if is_fast else signal.SIGKILL)
        self._process.wait(30)

    def _install(self) -> None:
        options = ["--no-defaults", "--skip-name-resolve"]
        self._copy("--datadir", *options, "--auth-root-authentication-method=normal")


class StandbyServer(PostgreSQLServer):
    """A PostgreSQL hot standby of another server.

    :param primary: the server that it follows.
    """

    def __init__(self, primary: PostgreSQLServer) -> None:
        super().__init__()
        self._primary = primary

    def _install(self) -> None:
        data = str(self.folder / "data")
        source = f"host=127.0.0.1 port={self._primary.port} user=postgres"
        command = [_find_postgresql("pg_basebackup"), "--pgdata", data, "--no-sync"]
        self._run(*command, "--write-recovery-conf", "--dbname", source)


class ReplicaServer(MariaDBServer):
    """A MariaDB replica of another server.

    :param primary: the server that it follows, with ``log-bin`` and ``server-id=1``.
    """

    def __init__(self, primary: MariaDBServer) -> None:
        super().__init__("server-id=2")
        self._primary = primary

    def start(self) -> None:
        super().start()
        self.run(
            "CHANGE MASTER TO master_host='127.0.0.1', master_user='root',"
            f" master_port={self._primary.port}, master_connect_retry=1",
            "START SLAVE",
        )


class GaleraServer(MariaDBServer):
    """A node of a Galera cluster.

    A node that joins copies the databases of another one by rsync.

    :param first: a node of the cluster to join, or ``None`` to create a cluster.
    """

    def __init__(self, first: GaleraServer | None = None) -> None:
        library = Path("/usr/lib/galera/libgalera_smm.so")
        if not library.exists() or not shutil.which("rsync"):
            skip_or_fail("Galera is not installed: apt-get install galera-4 rsync")
        self._cluster_port = free_port()
        peer = "" if first is None else f"127.0.0.1:{first._cluster_port}"
        provider = {
            "base_port": str(self._cluster_port),
            "gmcast.listen_addr": f"tcp://127.0.0.1:{self._cluster_port}",
            "ist.recv_addr": f"127.0.0.1:{free_port()}",
            "gcache.size": "8M",
        }
        super().__init__(
            "wsrep-on=ON",
            f"wsrep-provider={library}",
            f"wsrep-cluster-address=gcomm://{peer}",
            f"wsrep-node-address=127.0.0.1:{self._cluster_port}",
            f"wsrep-provider-options={';'.join(map('='.join, provider.items()))}",
            "wsrep-sst-method=rsync",
            f"wsrep-sst-receive-address=127.0.0.1:{free_port()}",
            "binlog-format=ROW",
            "innodb-autoinc-lock-mode=2",
        )

    def start(self) -> None:
        super().start()
        deadline = time.monotonic() + 30
        while True:
            try:
                self.run("SELECT 1")
                return
            except sa.exc.OperationalError:
                # A node responds to queries before it has joined the cluster.
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)


def _find_mariadb(program: str) -> str:
    return find_program(program, "mariadb-server")


def _find_postgresql(program: str) -> str:
    return find_program(program, "postgresql")


@lru_cache(maxsize=None)
def _make_data(owner: str, option: str, command: tuple[str, ...]) -> str:
    """Create the data folder of a server. This is cached, because it takes seconds."""
    keeper = tempfile.TemporaryDirectory(prefix="flask-logout-")
    atexit.register(keeper.cleanup)
    folder = Path(keeper.name)
    _own(folder, owner)
    _run(owner, folder, *command, f"{option}={folder / 'data'}")
    return str(folder / "data")


def _own(path: Path, owner: str) -> None:
    if os.geteuid() == 0:
        shutil.chown(path, owner)


def _run(
    owner: str,
    folder: Path,
    *command: str,
    environment: t.Mapping[str, str] | None = None,
) -> None:
    subprocess.run(
        command,
        check=True,
        user=owner if os.geteuid() == 0 else None,
        env=environment,
        cwd=folder,
        stdout=subprocess.DEVNULL,
        timeout=120,
    )
