"""Database servers of our own, each in a folder of its own, which a test may stop."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import typing as t
from pathlib import Path

import sqlalchemy as sa

from .proxy import free_port
from .proxy import skip_or_fail
from .proxy import wait_for_server


class _Server:
    """What both have in common: they start with the block, and end with it.

    :param *options: settings of the server, as its command line takes them.
    """

    # Who runs it where root may not.
    _owner: str

    def __init__(self, *options: str) -> None:
        self.port = free_port()
        # Not below pytest's folder, which lets in nobody but its owner.
        self._keeper = tempfile.TemporaryDirectory(prefix="flask-logout-")
        self.folder = Path(self._keeper.name)
        self.options = list(options)

    def __enter__(self) -> t.Any:
        self.own(self.folder)
        self._install()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop("immediate")
        self._keeper.cleanup()

    def own(self, path: Path) -> None:
        """Give a file to whom the server runs as."""
        if os.geteuid() == 0:
            shutil.chown(path, self._owner)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        raise NotImplementedError

    def stop(self, mode: str) -> None:
        """Stop it: ``fast``, or ``immediate``, which is as if it had crashed."""
        raise NotImplementedError

    def _install(self) -> None:
        raise NotImplementedError

    def _run(self, *command: str) -> None:
        subprocess.run(
            command,
            check=True,
            user=self._owner if os.geteuid() == 0 else None,
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            timeout=60,
        )


class PostgreSQLServer(_Server):
    """A PostgreSQL server."""

    drivers = ("postgresql+psycopg", "postgresql+psycopg2")
    _owner = "postgres"

    @property
    def url(self) -> sa.URL:
        """Where its database is."""
        return sa.make_url(f"postgresql://postgres@127.0.0.1:{self.port}/postgres")

    def start(self) -> None:
        """See :meth:`_Server.start`."""
        options = [f"-p {self.port}", "-h 127.0.0.1", f"-k {self.folder}"]
        options += [f"-c {option}" for option in self.options]
        log = str(self.folder / "log")
        self._control("start", "--log", log, "--options", " ".join(options))

    def stop(self, mode: str) -> None:
        """See :meth:`_Server.stop`."""
        self._control("stop", "--mode", mode)

    def promote(self) -> None:
        """Make a primary of a standby."""
        self._control("promote")

    def _install(self) -> None:
        options = ["--no-sync", "--auth", "trust", "--username", "postgres"]
        self._run(self._find("initdb"), "--pgdata", str(self.folder / "data"), *options)

    def _control(self, *arguments: str) -> None:
        data = str(self.folder / "data")
        self._run(self._find("pg_ctl"), "--pgdata", data, "--wait", *arguments)

    def _find(self, program: str) -> str:
        installed = map(str, Path("/usr/lib/postgresql").glob(f"*/bin/{program}"))
        found = max(installed, default=None) or shutil.which(program)
        return found or skip_or_fail("there is no initdb: apt-get install postgresql")


class MariaDBServer(_Server):
    """A MariaDB server."""

    drivers = ("mysql+pymysql",)
    _owner = "mysql"

    @property
    def url(self) -> sa.URL:
        """Where its database is."""
        return sa.make_url(f"mysql+pymysql://root@127.0.0.1:{self.port}/test")

    def start(self) -> None:
        """See :meth:`_Server.start`."""
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
                stdout=log,
                stderr=log,
            )
        wait_for_server(self.port, self._process, self.folder / "log")

    def stop(self, mode: str) -> None:
        """See :meth:`_Server.stop`."""
        is_fast = mode == "fast"
        self._process.send_signal(signal.SIGTERM if is_fast else signal.SIGKILL)
        self._process.wait(30)

    def _install(self) -> None:
        self._run(
            *(_find_mariadb("mariadb-install-db"), "--no-defaults"),
            *(f"--datadir={self.folder}/data", "--skip-name-resolve"),
            "--auth-root-authentication-method=normal",
        )


class StandbyServer(PostgreSQLServer):
    """A PostgreSQL server that follows another, and answers queries meanwhile.

    :param primary: the server that it follows.
    """

    def __init__(self, primary: PostgreSQLServer) -> None:
        super().__init__()
        self._primary = primary

    def _install(self) -> None:
        data = str(self.folder / "data")
        source = f"host=127.0.0.1 port={self._primary.port} user=postgres"
        command = [self._find("pg_basebackup"), "--pgdata", data, "--no-sync"]
        self._run(*command, "--write-recovery-conf", "--dbname", source)


def _find_mariadb(program: str) -> str:
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin")
    message = "there is no mariadbd: apt-get install mariadb-server"
    return found or skip_or_fail(message)
