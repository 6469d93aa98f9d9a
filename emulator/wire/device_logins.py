"""Device login of the command line client (wire-other-clients.md 2.4). No key is needed.

The client branches on `error`: authorization_pending, access_denied, expired_token; any other value ends its login.
"""

from __future__ import annotations

from typing import Any, Optional

from pydantic import ConfigDict, Field
from starlette.responses import PlainTextResponse, Response

from ..cage.peers import Address
from ..platform.device_logins import EXPIRES_SECONDS, INTERVAL_SECONDS, refused
from ..platform.errors import ApiError
from .operation import Body, Call, EmptyBody, Model, Operations, json_reply

operations = Operations()


class AskForCode(Body):
    pass


class AskForToken(Body):
    model_config = ConfigDict(json_schema_extra={"required": ["device_code"]})

    device_code: Optional[str] = Field(None, json_schema_extra={"type": "string", "minLength": 1})


class Code(Model):
    """A device code. The client opens `<verification_url>?code=<user_code>` in a browser. Times are in seconds."""

    device_code: str
    user_code: str
    verification_url: str
    expires_in: int
    interval: int


class Token(Model):
    """The result of a login. `access_token` is an API key."""

    access_token: str
    token_type: str
    account_id: str
    email: str


def _addresses(call: Call[Any]) -> tuple[Optional[Address], Optional[Address]]:
    """The addresses of the client's end and of the emulator's end of the connection."""
    client, server = call.request.client, call.request.scope.get("server")
    return (
        (client.host, client.port) if client else None,
        (server[0], server[1]) if server and server[1] is not None else None,
    )


def _require_no_page(call: Call[Any]) -> None:
    """Reject a request of a web page with 403.

    A preview's page has the same origin as this API, and only the command line client logs in here.
    """
    headers = call.request.headers
    for name in ("origin", "referer", "sec-fetch-site", "sec-fetch-mode"):
        if name in headers:
            raise ApiError(
                403, f"a web page cannot log in ({name} is {headers[name]!r}); use `caged login`", error="access_denied"
            )


@operations.add("POST", "/v1/auth/device/code", "auth.device_code", AskForCode, public=True, reply=Code)
async def code(call: Call[AskForCode]) -> Response:
    _require_no_page(call)
    device = await call.platform.device_logins.begin(*_addresses(call))
    return json_reply(
        Code(
            device_code=device.device_code,
            user_code=device.user_code,
            verification_url=f"{call.request.url.scheme}://{call.request.headers['host']}/device",
            expires_in=EXPIRES_SECONDS,
            interval=INTERVAL_SECONDS,
        )
    )


@operations.add(
    "POST", "/v1/auth/device/token", "auth.device_token", AskForToken, public=True, reply=Token, errors=[400]
)
async def token(call: Call[AskForToken]) -> Response:
    _require_no_page(call)
    if not call.body.device_code:
        raise refused("invalid_request", "device_code: is required")
    account, secret = await call.platform.device_logins.redeem(call.body.device_code, *_addresses(call))
    return json_reply(Token(access_token=secret, token_type="Bearer", account_id=account.id, email=account.email))


@operations.add("GET", "/device", "auth.device_page", public=True, reply=str, query={"code": str})
async def page(call: Call[EmptyBody]) -> Response:
    about = call.platform.device_logins.describe(call.query("code") or "")
    return PlainTextResponse(f"Caged emulator, device login\n{about}\n")
