"""Sessions for each check. ``nox -l`` lists them, and ``nox -s lint`` runs one."""

from __future__ import annotations

import shutil
from pathlib import Path

import nox
import tomllib

nox.needs_version = ">=2024.10"
nox.options.default_venv_backend = "virtualenv"
nox.options.sessions = ["lint", "types", "docs"]

ROOT = Path(__file__).parent
OLDEST = "3.10"
PYTHONS = [OLDEST, "3.11", "3.12", "3.13", "3.14"]

# Tests that don't depend on the versions of Python and of libraries, so one run is enough.
ONCE = [
    "-m",
    "not infrastructure",
    *(
        f"--ignore-glob=tests/test_{name}.py"
        for name in (
            "browser",
            "concurrency",
            "docs_*",
            "example",
            "migrations",
            "mirror_workers",
            "purge",
            "schemathesis",
            "session_app_model",
            "session_model",
            "session_races",
            "session_simulation",
        )
    ),
]


@nox.session
def lint(session: nox.Session) -> None:
    """Check the format, the style and the directions of imports."""
    session.install("-e", ".[lint]")
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")
    session.run("flake8")
    session.run("lint-imports", "--no-cache")


@nox.session
def types(session: nox.Session) -> None:
    """Check types with mypy."""
    session.install("-e", ".[test,lint]")
    session.run("mypy")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation, with warnings as errors."""
    session.install("-e", ".[docs]")
    session.run(
        *("sphinx-build", "-E", "-W", "-q", "-b", "html", "docs", "docs/_build")
    )


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the tests. Arguments after -- are passed to pytest."""
    session.install("-e", ".[test]")
    session.run("pytest", *session.posargs)


@nox.session
def coverage(session: nox.Session) -> None:
    """Run the tests and require that they cover every branch of the package."""
    session.install("-e", ".[test]")
    session.run("coverage", "run", "-m", "pytest", *session.posargs)
    session.run("coverage", "combine", "-q")
    session.run("coverage", "report")


@nox.session(python=OLDEST)
def lower_bounds(session: nox.Session) -> None:
    """Run the tests with the lowest versions that pyproject.toml allows."""
    constraints = Path(session.virtualenv.location) / "lower-bounds.txt"
    constraints.write_text("\n".join(_list_lower_bounds()))
    session.install("-e", ".[test,drivers]", "-c", str(constraints))
    # Old versions of frameworks emit warnings.
    session.run("pytest", "-q", *ONCE, "--ignore=tests/test_frameworks.py")
    # Test the newest SQLAlchemy 2.0 as well, where its versions differ.
    session.install("--upgrade", "sqlalchemy<2.1")
    names = ("sqlalchemy", "joining", "listeners", "roundtrips")
    session.run("pytest", "-q", *(f"tests/test_{name}.py" for name in names))


@nox.session(python="3.13")
def wheel(session: nox.Session) -> None:
    """Build the distributions, install the wheel, and test the installed package."""
    folder = Path(session.virtualenv.location).resolve() / "built"
    shutil.rmtree(folder / "dist", ignore_errors=True)
    session.install("build")
    session.run("python", "-m", "build", "--outdir", str(folder / "dist"))
    (built,) = (folder / "dist").glob("*.whl")
    (source,) = (folder / "dist").glob("*.tar.gz")
    unpacked = folder / source.name.removesuffix(".tar.gz")
    shutil.rmtree(unpacked, ignore_errors=True)
    shutil.unpack_archive(source, folder)
    # Delete the package beside the tests, so that they import the installed wheel.
    shutil.rmtree(unpacked / "flask_logout")
    session.install(str(built))
    session.chdir(unpacked)
    session.run("python", "tests/ten_lines.py")
    session.install(f"{built}[test,drivers]", "sqlalchemy>=2.1")
    session.run("pytest", "-q", *ONCE)


@nox.session(python="3.13")
def prereleases(session: nox.Session) -> None:
    """Run the tests with pre-releases of the dependencies."""
    session.install("--pre", "--upgrade", "-e", ".[test]")
    session.run("pytest", "-q", *ONCE)


@nox.session
def without_servers(session: nox.Session) -> None:
    """Run the tests as on a machine without servers and browsers."""
    session.install("-e", ".[test]")
    session.run(".ci/without-servers", external=True)


def _list_lower_bounds() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    names = ("redis", "mirror", "oauth", "backchannel", "metrics")
    found = [*project["dependencies"], *(x for name in names for x in extras[name])]
    return [x.partition(",")[0].replace(">=", "==") for x in found]
