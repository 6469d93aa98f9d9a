"""Sign-up and login (platform-behaviour.md B 1), and dashboard sessions (wire-contract.md 3.5)."""

from __future__ import annotations

from typing import Optional

from pydantic import Field
from starlette.responses import Response

from ..control.clock import rfc3339
from ..platform.logins import EMAIL, EMAIL_MOST, PASSWORD_LEAST, PASSWORD_MOST
from ..store import AccountRecord, LoginSession
from .account import AccountOut, serialize_account
from .operation import Body, Call, EmptyBody, Model, Operations, json_reply, no_content

operations = Operations()


class Signup(Body):
    email: str = Field(json_schema_extra={"pattern": f"^{EMAIL}$", "maxLength": EMAIL_MOST})
    password: str = Field(json_schema_extra={"minLength": PASSWORD_LEAST, "maxLength": PASSWORD_MOST})
    name: Optional[str] = None


class Credentials(Body):
    email: str
    password: str


class LoggedIn(Model):
    """A login to the dashboard. `token` is used like an API key: `Authorization: Bearer <token>`."""

    token: str
    expires_at: str
    account: AccountOut


class SessionOut(Model):
    """A dashboard session."""

    id: str
    user_agent: str
    ip: str
    expires_at: str
    created_at: str


def _visitor(call: Call[Signup] | Call[Credentials]) -> tuple[str, str]:
    """The user agent and the address of the client."""
    client = call.request.client
    return call.request.headers.get("user-agent", ""), client.host if client else ""


def _logged_in(account: AccountRecord, login: LoginSession, status: int) -> Response:
    return json_reply(
        LoggedIn(token=login.key.secret, expires_at=rfc3339(login.expires), account=serialize_account(account)), status
    )


@operations.add("POST", "/signup", "auth.signup", Signup, public=True, reply=LoggedIn, status=201, errors=[409])
async def signup(call: Call[Signup]) -> Response:
    body = call.body
    account, login = await call.platform.logins.signup(body.email, body.password, body.name or "", *_visitor(call))
    return _logged_in(account, login, 201)


@operations.add("POST", "/login", "auth.login", Credentials, public=True, reply=LoggedIn, errors=[401])
async def login(call: Call[Credentials]) -> Response:
    account, opened = await call.platform.logins.login(call.body.email, call.body.password, *_visitor(call))
    return _logged_in(account, opened, 200)


@operations.add("GET", "/v1/account/sessions", "account.list_sessions", reply=list[SessionOut])
async def list_sessions(call: Call[EmptyBody]) -> Response:
    return json_reply(
        [
            SessionOut(
                id=login.id,
                user_agent=login.user_agent,
                ip=login.ip,
                expires_at=rfc3339(login.expires),
                created_at=login.created_at,
            )
            for login in call.platform.logins.of(call.account)
        ]
    )


@operations.add("DELETE", "/v1/account/sessions/{id}", "account.revoke_session")
async def revoke_session(call: Call[EmptyBody]) -> Response:
    call.platform.logins.revoke(call.account, call.param("id"))
    return no_content()
