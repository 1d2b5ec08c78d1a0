"""The functions with which an app extends the endpoints for other systems."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .domain.claims import Claims

ClientLoader = t.Callable[[str, str], object]
"""Takes the id and the secret of a client, and returns whether they are right."""

BackchannelLoader = t.Callable[[Claims], t.Optional[t.Mapping[str, t.Any]]]
"""Takes the claims of a logout token, and returns whom to log out."""


@dataclass
class Loaders:
    """The loaders of an extension. The app can set them after ``init_app``."""

    client: ClientLoader | None = None

    backchannel: BackchannelLoader | None = None
