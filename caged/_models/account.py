"""The account, its API keys, and who is logged in to its dashboard."""

from dataclasses import dataclass, field
from typing import Optional

from .._naming import public
from ._base import Model


@public
@dataclass(frozen=True)
class Account(Model):
    """The account behind the API key; `tier` is e.g. free, pro or team."""

    id: str = ""
    email: str = ""
    name: str = ""
    tier: str = ""
    email_verified: bool = False
    created_at: str = ""


@public
@dataclass(frozen=True)
class APIKey(Model):
    """An API key without its secret.

    Attributes:
        prefix: The secret's first characters, to tell keys apart.
        scope: ``full`` or ``read_only``.
        last_used, expires_at: RFC 3339; None means never.
    """

    id: str = ""
    name: str = ""
    prefix: str = ""
    scope: str = ""
    last_used: Optional[str] = None
    expires_at: Optional[str] = None
    created_at: str = ""


@public
@dataclass(frozen=True)
class CreatedAPIKey(Model):
    """A key just made. `key` is the secret: it is shown this once, and left out of the repr."""

    key: str = field(default="", repr=False)
    info: APIKey = field(default_factory=APIKey)


@public
@dataclass(frozen=True)
class AccountSession(Model):
    """A login to the dashboard (the runs of agents are `AgentSession`). Times are RFC 3339."""

    id: str = ""
    user_agent: str = ""
    ip: str = ""
    expires_at: str = ""
    created_at: str = ""


Session = AccountSession  # an older name of it
