"""The ports of a sandbox and the URLs of their previews (wire-contract.md 3.1, platform-behaviour.md B, 15)."""

from __future__ import annotations

from typing import Any, Optional

from pydantic import Field
from starlette.responses import Response

from ..platform.errors import invalid
from ..platform.limits import HTTP_PORTS
from .operation import Body, Call, EmptyBody, Model, Operations, json_reply
from .preview_address import url_of

operations = Operations()
_HIGHEST = 65535


class PortOut(Model):
    """A port on which a process listens. `protocol`: `http` for a port that has a preview; `tcp` for any other, whose
    `preview_url` is empty."""

    port: int
    protocol: str
    preview_url: str
    protected: bool
    detected_at: str


class Protect(Body):
    password: str = Field(json_schema_extra={"minLength": 1})


class Protected(Model):
    port: int
    protected: bool
    preview_url: Optional[str]


def _url(call: Call[Any], number: int) -> Optional[str]:
    base = f"{call.request.url.scheme}://{call.request.headers['host']}"
    return url_of(base, call.param("id"), number) if number in HTTP_PORTS else None


@operations.add("GET", "/v1/sandboxes/{id}/ports", "sandboxes.ports", reply=list[PortOut], errors=[409])
async def list_ports(call: Call[EmptyBody]) -> Response:
    """The ports on which the sandbox's processes listen, in the order of their numbers."""
    sandbox_id = call.param("id")
    return json_reply(
        [
            PortOut(
                port=port.port,
                protocol="http" if port.port in HTTP_PORTS else "tcp",
                preview_url=_url(call, port.port) or "",
                protected=call.platform.ports.is_protected(sandbox_id, port.port),
                detected_at=port.detected_at,
            )
            for port in await call.platform.ports.of_sandbox(call.account, sandbox_id)
        ]
    )


@operations.add(
    "POST",
    "/v1/sandboxes/{id}/ports/{port}/protect",
    "sandboxes.protect_port",
    Protect,
    reply=Protected,
    errors=[409],
)
async def protect(call: Call[Protect]) -> Response:
    """Require a password from visitors of a port's preview. It cannot be undone."""
    number = call.param("port")
    if not (number.isascii() and number.isdigit() and len(number) <= 5 and 0 < int(number) <= _HIGHEST):
        raise invalid(f"port: must be a number between 1 and {_HIGHEST}")
    if not call.body.password:
        raise invalid("password: must not be empty")
    port = await call.platform.ports.protect(call.account, call.param("id"), int(number), call.body.password)
    return json_reply(Protected(port=port.port, protected=True, preview_url=_url(call, port.port)))
