"""GET /healthz: whether it answers, and how it isolates. Not part of the platform's API."""

from __future__ import annotations

from pydantic import BaseModel
from starlette.responses import Response

from caged import __version__

from .operation import Call, NoBody, Operations, json_reply

operations = Operations()


class Health(BaseModel):
    status: str
    version: str
    isolation: str


@operations.add("GET", "/healthz", "health.get", public=True)
async def get(call: Call[NoBody]) -> Response:
    level = call.platform.services.config.isolation_level
    return json_reply(Health(status="ok", version=__version__, isolation=level))
