"""/_emulator/callback-errors: exceptions that functions of a test raised."""

from __future__ import annotations

import dataclasses

from starlette.responses import Response

from ...control.queries import CallbackErrorQuery, parameters_of
from ...control.records import CallbackErrorRecord
from ...control.schema import record_model
from ..operation import Call, EmptyBody, Model, json_reply, no_content
from .controls import last_of
from .operations import AdminOperations

operations = AdminOperations()
CallbackErrorOut = record_model("CallbackErrorOut", CallbackErrorRecord, Model)
_NAMES = [field.name for field in dataclasses.fields(CallbackErrorRecord)]


@operations.call(
    "GET",
    "/callback-errors",
    "callback_errors.list",
    reply=list[CallbackErrorOut],  # type: ignore[valid-type]
    query=parameters_of(CallbackErrorQuery),
)
async def list_errors(call: Call[EmptyBody]) -> Response:
    """Oldest first. `control`: of one stub or reply; `sandbox`: raised for it; `last`: the newest so many."""
    sandbox = call.query("sandbox")
    errors = [
        one
        for one in call.platform.callback_errors.list(call.account.id, call.query("control"))
        if sandbox in (None, one.sandbox)
    ]
    return json_reply(
        [CallbackErrorOut(**{name: getattr(one, name) for name in _NAMES}) for one in last_of(call, errors)]
    )


@operations.call("DELETE", "/callback-errors", "callback_errors.clear", query={"control": str})
async def clear(call: Call[EmptyBody]) -> Response:
    """Remove all; with `control`, those of one stub or reply."""
    call.platform.callback_errors.clear(call.account.id, call.query("control"))
    return no_content()
