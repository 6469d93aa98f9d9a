"""GET /healthz: the emulator's version and how it isolates. Not part of the platform's API."""

from __future__ import annotations

from starlette.responses import Response

from caged import __version__

from ..cage.probe import describe
from .operation import Call, EmptyBody, Model, Operations, json_reply

operations = Operations()


class Health(Model):
    status: str
    version: str
    isolation: str
    isolation_refused: list[str]


@operations.add("GET", "/healthz", "health.get", public=True, reply=Health)
async def get(call: Call[EmptyBody]) -> Response:
    platform = call.platform
    rejected = [describe(result) for result in platform.probe_results if not result.works]
    return json_reply(
        Health(status="ok", version=__version__, isolation=platform.isolation.level, isolation_refused=rejected)
    )
