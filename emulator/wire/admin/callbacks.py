"""/_emulator/callback-errors: exceptions that functions of a test raised."""

from __future__ import annotations

from starlette.responses import Response

from ..operation import Call, Model, NoBody, json_reply, no_content
from .operations import Admin

operations = Admin()


class CallbackErrorOut(Model):
    """`control`: id of the stub or reply whose function raised; `described`: the same in one line. `error`: the last
    line of `traceback`. `allowed`: it was added with `allow_errors`."""

    id: str
    at: str
    account: str
    sandbox: str
    control: str
    described: str
    error: str
    traceback: str
    allowed: bool


@operations.call(
    "GET", "/callback-errors", "callback_errors.list", reply=list[CallbackErrorOut], query={"control": str}
)
async def listed(call: Call[NoBody]) -> Response:
    """Oldest first; with `control`, of one stub or reply."""
    errors = call.platform.callback_errors.of(call.account.id, call.query("control"))
    names = CallbackErrorOut.model_fields
    return json_reply([CallbackErrorOut(**{name: getattr(one, name) for name in names}) for one in errors])


@operations.call("DELETE", "/callback-errors", "callback_errors.clear", query={"control": str})
async def clear(call: Call[NoBody]) -> Response:
    """With `control`, those of one stub or reply."""
    call.platform.callback_errors.clear(call.account.id, call.query("control"))
    return no_content()
