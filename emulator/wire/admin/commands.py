"""/_emulator/commands: stubs of commands and programs. `control/stubs.py` describes the options."""

from __future__ import annotations

from typing import Any, Optional

from pydantic import Field
from starlette.responses import Response

from ...control.schema import options_model, record_model, values_in
from ...control.stubs import Stub, StubInfo
from ..operation import Body, Call, Model
from .controls import add_operations, refusing, reply_with
from .names import check_sandbox
from .operations import AdminOperations

operations = AdminOperations()
#: How a function of the emulator's own process is named in a request.
FUNCTION = {
    "function": (
        Optional[str],
        Field(default=None, description="The registered function that answers; only in the emulator's own process."),
    )
}
AddStub = options_model(
    "AddStub",
    Stub,
    Body,
    "`kind` command: `match` is a pattern of the whole command. `kind` program: `program`, wherever it is called, with"
    " patterns of its `args` and its `stdin`.",
    more=FUNCTION,
)
StubOut = record_model("StubOut", StubInfo, Model)


@operations.call("POST", "/commands", "commands.add", AddStub, reply=StubOut, status=201)
async def add(call: Call[Body]) -> Response:
    """The first that matches a command answers. A program is stubbed in every sandbox, also in existing ones."""
    with refusing():
        options = values_in(Stub, call.body)
        check_sandbox(call, options["sandbox"])
        function = function_of(call)
        stub = call.platform.stubs.add(call.account.id, **options, function=function)
    await call.platform.command_stubs.install(stub)
    return reply_with(StubOut, stub, 201)


def function_of(call: Call[Body]) -> Any:
    """The function that code in this process has registered under the handle in the body, which is valid once.

    Raises:
        ValueError: There is none.
    """
    handle = call.body.model_dump()["function"]
    if handle is None:
        return None
    function = call.platform.functions.pop(handle, None)
    if function is None:
        raise ValueError("function: cannot be sent; it needs an emulator in the caller's own process")
    return function


add_operations(
    operations,
    "commands",
    "stub",
    StubOut,
    lambda platform: platform.stubs,
    lambda platform, stub: platform.command_stubs.remove(stub),
)
