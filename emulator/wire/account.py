"""The account and its API keys (wire-contract.md 3.5)."""

from __future__ import annotations

from typing import Optional

from pydantic import Field
from starlette.responses import Response

from ..platform.errors import invalid
from ..store import AccountRecord, Key
from .operation import Body, Call, EmptyBody, Model, Operations, json_reply, no_content

operations = Operations()
SCOPES = ("full", "read_only")


class AccountOut(Model):
    id: str
    email: str
    name: str
    tier: str
    email_verified: bool
    created_at: str


class CreateKey(Body):
    #: Not only white space, as Python defines it.
    name: str = Field(json_schema_extra={"pattern": r"[^\s\x1c-\x1f\x85]"})
    scope: Optional[str] = Field(None, json_schema_extra={"enum": [*SCOPES, "", None]})


class KeyOut(Model):
    """An API key. `prefix`: the first characters of the secret, which identify it."""

    id: str
    name: str
    prefix: str
    scope: str
    last_used: Optional[str]
    expires_at: Optional[str]
    created_at: str


class CreatedKey(Model):
    """A new API key with its secret, which no other response holds."""

    key: str
    info: KeyOut


def serialize_account(account: AccountRecord) -> AccountOut:
    """The account as clients read it."""
    return AccountOut(
        id=account.id,
        email=account.email,
        name=account.name,
        tier=account.tier,
        email_verified=True,
        created_at=account.created_at,
    )


def serialize_key(key: Key) -> KeyOut:
    """The key as clients read it, without its secret."""
    return KeyOut(
        id=key.id,
        name=key.name,
        prefix=key.secret[:11],
        scope=key.scope,
        last_used=key.last_used,
        expires_at=None,
        created_at=key.created_at,
    )


@operations.add("GET", "/v1/account", "account.get", reply=AccountOut)
async def get(call: Call[EmptyBody]) -> Response:
    return json_reply(serialize_account(call.account))


@operations.add("GET", "/v1/account/keys", "account.list_keys", reply=list[KeyOut])
async def list_keys(call: Call[EmptyBody]) -> Response:
    return json_reply([serialize_key(key) for key in call.platform.accounts.keys(call.account)])


@operations.add("POST", "/v1/account/keys", "account.create_key", CreateKey, reply=CreatedKey, status=201)
async def create_key(call: Call[CreateKey]) -> Response:
    if not call.body.name.strip():
        raise invalid("name: must not be empty")
    scope = call.body.scope or "full"
    if scope not in SCOPES:
        raise invalid(f"scope: {scope!r} is unknown; use one of {', '.join(SCOPES)}")
    key = call.platform.accounts.create_key(call.account, call.body.name, scope)
    return json_reply(CreatedKey(key=key.secret, info=serialize_key(key)), 201)


@operations.add("DELETE", "/v1/account/keys/{id}", "account.revoke_key")
async def revoke_key(call: Call[EmptyBody]) -> Response:
    call.platform.accounts.revoke_key(call.account, call.param("id"))
    return no_content()
