"""The names of the settings, and the detection of misspelled ones."""

from __future__ import annotations

import typing as t
from difflib import get_close_matches

from .exceptions import ConfigError

PREFIX = "LOGOUT_"
"""The prefix of every setting."""

# These cutoffs separate the misspelled names from the unrelated ones in
# tests/test_config.py.
_SIMILARITY = 0.75
_SIMILARITY_WITH_PREFIX = 0.92


def reject_misspelling(key: object, known: t.Collection[str]) -> None:
    """Reject a config key that looks like a misspelled setting.

    :param key: a config key of the app that is no setting.
    :param known: the names of all settings.
    :raises ConfigError: if it is similar to one of them.
    """
    meant = _find_similar(key, known) if isinstance(key, str) else None
    if meant is not None:
        raise ConfigError(
            f"Unknown setting {key}. Did you mean {meant}? If {key} is a setting of your"
            " own app, rename it, because its name is too similar."
        )


def _find_similar(key: str, known: t.Collection[str]) -> str | None:
    name = key.upper()
    if name in known:
        return name
    if not name.startswith(PREFIX):
        matches = get_close_matches(name, known, 1, _SIMILARITY_WITH_PREFIX)
        return next(iter(matches), None)
    # Compare without the prefix, because it would make any two names similar.
    names = [x.removeprefix(PREFIX) for x in known]
    found = get_close_matches(name.removeprefix(PREFIX), names, 1, _SIMILARITY)
    return PREFIX + found[0] if found else None
