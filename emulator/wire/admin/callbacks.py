"""/_emulator/callback-errors: exceptions that functions of a test raised."""

from __future__ import annotations

from starlette.responses import Response

from ...control.callbacks import CallbackError
from ...control.queries import CallbackErrorQuery
from ...control.records import CallbackErrorRecord
from ..operation import Call, EmptyBody
from .controls import RemovedOut, refusing, removed_reply
from .names import check_sandbox
from .operations import AdminOperations
from .record_lists import record_list

operations = AdminOperations()


@record_list(
    operations,
    "/callback-errors",
    "callback_errors.list",
    CallbackErrorRecord,
    "CallbackErrorOut",
    query=CallbackErrorQuery,
)
async def list_errors(call: Call[EmptyBody]) -> list[CallbackError]:
    """Oldest first. `control`: of one stub or reply; `sandbox`: raised for it; `last`: the newest so many."""
    sandbox = call.query("sandbox")
    errors = call.platform.callback_errors.list(call.account.id, call.query("control"))
    found = [one for one in errors if sandbox in (None, one.sandbox)]
    if not found:
        with refusing():
            check_sandbox(call, sandbox)
    return found


@operations.call("DELETE", "/callback-errors", "callback_errors.clear", reply=RemovedOut, query={"control": str})
async def clear(call: Call[EmptyBody]) -> Response:
    """Remove all; with `control`, those of one stub or reply."""
    return removed_reply(call.platform.callback_errors.clear(call.account.id, call.query("control")))
