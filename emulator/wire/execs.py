"""Run a command in a sandbox: POST /v1/sandboxes/{id}/exec (wire-contract.md 3.2)."""

from __future__ import annotations

import json
from typing import Any, Optional

from starlette.responses import Response

from ..platform import limits
from ..platform.errors import invalid
from .client_disconnect import cancel_on_disconnect
from .large_bodies import CHARACTERS, LargeJson, json_object
from .operation import Body, Call, Model, Operations

operations = Operations()

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class Exec(Body):
    sizes = {"command": limits.BODY_BYTES}

    command: str


class ExecOut(Model):
    """The outcome of a command. `error` is present only when the command could not be run at all."""

    output: str
    exit_code: int
    error: Optional[str]

    def model_dump_json(self, **_options: Any) -> str:
        return super().model_dump_json(exclude_none=True)


@operations.add("POST", "/v1/sandboxes/{id}/exec", "sandboxes.exec", Exec, reply=ExecOut)
async def run(call: Call[Exec]) -> Response:
    if "\0" in call.body.command:
        raise invalid("command: must not contain a NUL character")
    work = call.platform.execs.run(call.account, call.param("id"), call.body.command, call.injection)
    outcome = await cancel_on_disconnect(call.request, work)
    fields: dict[str, Any] = {"output": outcome.output, "exit_code": outcome.exit_code}
    if outcome.error is not None:
        fields["error"] = outcome.error
    if len(outcome.output) > CHARACTERS:
        return LargeJson(await call.platform.workers.walk.run(json_object, fields))
    # Not by the model, which takes twice as long; its definition is the document's (openapi_schemas.py).
    return Response(_encode(fields).encode("utf-8", "replace"), media_type="application/json")
