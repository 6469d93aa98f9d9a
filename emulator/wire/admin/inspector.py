"""/_emulator/inspector/links: links that log in to the inspector."""

from __future__ import annotations

from starlette.responses import Response

from ...platform.inspector_logins import TOKEN_SECONDS
from ..operation import Call, EmptyBody, Model, json_reply
from .operations import AdminOperations

operations = AdminOperations()


class InspectorLink(Model):
    """`url` logs in once. It is a secret."""

    url: str
    expires_in_seconds: int


@operations.call("POST", "/inspector/links", "inspector.create_link", reply=InspectorLink, status=201, errors=[409])
async def create_link(call: Call[EmptyBody]) -> Response:
    """Create a link that logs in a browser on this machine once. 409 where the emulator does not listen on the loopback
    address."""
    return json_reply(
        InspectorLink(url=call.platform.inspector_logins.new_link(), expires_in_seconds=TOKEN_SECONDS), 201
    )
