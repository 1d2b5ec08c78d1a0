"""Set the clock of another process."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from .ci import skip_or_fail


class FakedClock:
    """A clock that libfaketime shows to a process. It doesn't change the uptime."""

    def __init__(self) -> None:
        self._folder = TemporaryDirectory(prefix="flask-logout-clock-")
        folder = Path(self._folder.name)
        # Servers run as other users, who must be able to read the file.
        folder.chmod(0o755)
        self._file = folder / "offset"

    def __enter__(self) -> FakedClock:
        self.set(0)
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables for the process."""
        return {
            "LD_PRELOAD": _find_library(),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, ahead: float) -> None:
        """Set the clock.

        :param ahead: how far the clock is ahead, in seconds. Negative if it is behind.
        """
        new = self._file.with_suffix(".new")
        new.write_text(f"{ahead:+g}s\n")
        new.replace(self._file)


def _find_library() -> str:
    found = [*Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")]
    return str(found[0] if found else skip_or_fail(_MISSING))


_MISSING = "libfaketime is not installed: apt-get install faketime"
