"""Device login, as the command line client asks for it (wire-other-clients.md 2.4). No key is needed.

The client goes by the word in `error`: authorization_pending, access_denied, expired_token; it gives up at any other.
"""

from __future__ import annotations

from typing import Optional

from pydantic import ConfigDict, Field
from starlette.responses import PlainTextResponse, Response

from ..platform.devices import EXPIRES_SECONDS, INTERVAL_SECONDS, refused
from .operation import Body, Call, Model, NoBody, Operations, json_reply

operations = Operations()


class AskForCode(Body):
    pass


class AskForToken(Body):
    model_config = ConfigDict(json_schema_extra={"required": ["device_code"]})

    device_code: Optional[str] = Field(None, json_schema_extra={"type": "string", "minLength": 1})


class Code(Model):
    """The client opens `<verification_url>?code=<user_code>` in a browser. Times in seconds."""

    device_code: str
    user_code: str
    verification_url: str
    expires_in: int
    interval: int


class Token(Model):
    """`access_token` is an API key."""

    access_token: str
    token_type: str
    account_id: str
    email: str


@operations.add("POST", "/v1/auth/device/code", "auth.device_code", AskForCode, public=True, reply=Code)
async def code(call: Call[AskForCode]) -> Response:
    client = call.request.client
    device = call.platform.devices.begin(client.host if client else "")
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
    if not call.body.device_code:
        raise refused("invalid_request", "device_code: is required")
    account, secret = call.platform.devices.redeem(call.body.device_code)
    return json_reply(Token(access_token=secret, token_type="Bearer", account_id=account.id, email=account.email))


@operations.add("GET", "/device", "auth.device_page", public=True, reply=str, query={"code": str})
async def page(call: Call[NoBody]) -> Response:
    about = call.platform.devices.told(call.query("code") or "")
    return PlainTextResponse(f"Caged emulator, device login\n{about}\n")
