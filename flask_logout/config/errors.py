"""Explains misspelled settings, and settings with invalid values."""

from __future__ import annotations

import typing as t
from difflib import get_close_matches
from functools import lru_cache

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from ..exceptions import ConfigError
from .value_types import Expected
from .value_types import show
from .value_types import show_type

PREFIX = "LOGOUT_"
"""The prefix of every setting."""

# These cutoffs separate the misspelled names from the unrelated ones in
# tests/test_config.py.
_SIMILARITY = 0.75
_SIMILARITY_WITH_PREFIX = 0.92


def reject_misspelling(key: object, known: tuple[str, ...]) -> None:
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


# Comparing all keys takes milliseconds, and test suites make many apps.
@lru_cache(1024)
def _find_similar(key: str, known: tuple[str, ...]) -> str | None:
    name = key.upper()
    if name in known:
        return name
    if not name.startswith(PREFIX):
        matches = get_close_matches(name, known, 1, _SIMILARITY_WITH_PREFIX)
        return next(iter(matches), None)
    # Compare without the prefix, because it would make any two names similar.
    names, given = [x.removeprefix(PREFIX) for x in known], name.removeprefix(PREFIX)
    found = get_close_matches(given, names, 3, _SIMILARITY)
    # REQUIRE_REFRESH means REQUIRE_REFRESH_TOKEN, although REQUIRE_FRESH is more similar.
    found.sort(key=lambda x: not x.startswith(given))
    return PREFIX + found[0] if found else None


def explain_invalid(
    error: ValidationError,
    given: t.Mapping[str, t.Any],
    fields: t.Mapping[str, FieldInfo],
) -> str:
    """Say which settings are invalid, and what was expected.

    :param error: the error of pydantic.
    :param given: the values by the names of the fields.
    :param fields: the fields of the settings.
    :returns: a line for each invalid setting.
    """
    names = dict.fromkeys(str(problem["loc"][0]) for problem in error.errors())
    return "\n".join(
        f"Invalid {PREFIX}{name.upper()}: {_show(fields[name], given[name])}. Expected"
        f" {_expected_of(fields[name])}."
        for name in names
    )


def _expected_of(field: FieldInfo) -> str:
    return next(x.words for x in field.metadata if isinstance(x, Expected))


def _show(field: FieldInfo, value: object) -> str:
    # A URL may contain a password.
    return show(value) if field.repr or value == "" else show_type(value)
