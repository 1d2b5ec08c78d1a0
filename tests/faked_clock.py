"""The clock of another process, which a test sets."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from .proxy import skip_or_fail


class FakedClock:
    """A clock that libfaketime shows to a process, whose uptime stays as it is."""

    def __init__(self) -> None:
        self._folder = TemporaryDirectory(prefix="flask-logout-clock-")
        folder = Path(self._folder.name)
        # Servers run as users of their own.
        folder.chmod(0o755)
        self._file = folder / "offset"

    def __enter__(self) -> FakedClock:
        self.set(0)
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables of the process."""
        return {
            "LD_PRELOAD": _find_library(),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, ahead: float) -> None:
        """Set the clock.

        :param ahead: how many seconds it is ahead, less than 0 if it is behind.
        """
        new = self._file.with_suffix(".new")
        new.write_text(f"{ahead:+g}s\n")
        new.replace(self._file)


def _find_library() -> str:
    found = [*Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")]
    return str(found[0] if found else skip_or_fail(_MISSING))


_MISSING = "there is no libfaketime: apt-get install faketime"
