"""The settings of the identity providers whose logouts an app receives."""

from __future__ import annotations

import typing as t

from pydantic import AfterValidator
from pydantic import BaseModel
from pydantic import BeforeValidator
from pydantic import ConfigDict
from pydantic import Field

from .value_types import check_names
from .value_types import check_provider_url

# Only algorithms with a public key, because a shared key would have to be configured.
Algorithm = t.Literal[
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES256K",
    "ES384",
    "ES512",
    "EdDSA",
]


class Provider(BaseModel):
    """An identity provider, a value of ``LOGOUT_BACKCHANNEL``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    client_id: t.Annotated[str, Field(min_length=1)]
    """The ``client_id`` of the app at the provider, the audience of its tokens."""

    jwks_uri: t.Annotated[str, AfterValidator(check_provider_url)]
    """Where the provider publishes its keys, an HTTPS URL (RFC 7517 5)."""

    algorithms: t.Annotated[
        tuple[Algorithm, ...], BeforeValidator(check_names), Field(min_length=1)
    ] = ("RS256",)
    """The algorithms with which the provider may sign."""
