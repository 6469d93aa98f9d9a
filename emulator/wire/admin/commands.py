"""/_emulator/commands: what is answered in place of commands and programs. The options are those of
`control/stubs.py`."""

from __future__ import annotations

from typing import Any, Literal, Optional, Union

from starlette.responses import Response

from ...control.scope import EVERYBODY
from ...control.stubs import Output, Stub
from ...platform import standing_in
from ...platform.refusal import invalid, not_found
from ..operation import Body, Call, Model, NoBody, json_reply, no_content
from .operations import Admin

operations = Admin()


class AddStub(Body):
    """`kind` command: `match` is the whole command. `kind` program (also where it is left out, with a `program`):
    `program`, wherever it is called, with its `args`
    (joined by spaces) and its `stdin`. Each is exact, or a pattern with * ? [, or, with `regex`, a regular expression
    found somewhere. `sandbox`: only there.

    `output`: a text, or pieces, each after `delay` seconds. `error`: it cannot be run at all. `times`: so often;
    always, when it is left out. `optional`: nobody minds when it is never used. `function`: of an emulator in the same
    process, never from elsewhere."""

    kind: Optional[Literal["command", "program"]] = None
    match: Optional[str] = None
    program: Optional[str] = None
    args: Optional[str] = None
    stdin: Optional[str] = None
    regex: bool = False
    sandbox: Optional[str] = None
    output: Union[str, list[str]] = ""
    exit_code: int = 0
    delay: float = 0.0
    error: Optional[str] = None
    times: Optional[int] = None
    optional: bool = False
    function: Optional[str] = None


class StubOut(Model):
    """`used`: so often. `described`: one line for people."""

    id: str
    account: str
    kind: str
    options: dict[str, Any]
    optional: bool
    used: int
    described: str


def _shown(stub: Stub) -> StubOut:
    options = {
        "match": stub.match,
        "program": stub.program,
        "args": stub.args,
        "stdin": stub.stdin,
        "regex": stub.regex or None,
        "sandbox": stub.sandbox,
        "output": stub.output.output or None,
        "exit_code": stub.output.exit_code or None,
        "delay": stub.output.delay or None,
        "error": stub.output.error,
        "times": stub.times,
    }
    return StubOut(
        id=stub.id,
        account=stub.account,
        kind=stub.kind,
        options={name: value for name, value in options.items() if value is not None},
        optional=stub.optional,
        used=stub.used,
        described=str(stub),
    )


@operations.call("POST", "/commands", "commands.add", AddStub, reply=StubOut, status=201)
async def add(call: Call[AddStub]) -> Response:
    """The first that fits a command, in the order they came, answers. A program is stood in for in every sandbox, also
    in those that there are."""
    services, body = call.platform.services, call.body
    try:
        stub = services.stubs.add(
            call.account.id,
            kind=body.kind or ("program" if body.program else "command"),
            match=body.match,
            program=body.program,
            args=body.args,
            stdin=body.stdin,
            regex=body.regex,
            sandbox=body.sandbox,
            output=Output(body.output, body.exit_code, body.delay, body.error),
            times=body.times,
            optional=body.optional,
            function=function_of(call, body.function),
        )
    except ValueError as error:
        raise invalid(str(error)) from None
    await standing_in.added(services, stub)
    return json_reply(_shown(stub), 201)


def function_of(call: Call[Any], handle: Optional[str]) -> Any:
    """What a test in this process has left under that handle, which is good for one call. ValueError otherwise."""
    if handle is None:
        return None
    function = call.platform.services.functions.pop(handle, None)
    if function is None:
        raise ValueError("function: cannot travel; it needs an emulator in the test's own process")
    return function


@operations.call("GET", "/commands", "commands.list", reply=list[StubOut])
async def listed(call: Call[NoBody]) -> Response:
    """In the order in which they are tried."""
    return json_reply([_shown(stub) for stub in call.platform.services.stubs.of(call.account.id)])


def _found(call: Call[Any]) -> Stub:
    stub = call.platform.services.stubs.get(call.param("id"))
    if stub is None or (call.query("account") and call.account.id not in (stub.account, EVERYBODY)):
        raise not_found("stub", call.param("id"))
    return stub


@operations.call("GET", "/commands/{id}", "commands.get", reply=StubOut)
async def get(call: Call[NoBody]) -> Response:
    return json_reply(_shown(_found(call)))


@operations.call("DELETE", "/commands/{id}", "commands.remove")
async def remove(call: Call[NoBody]) -> Response:
    """The next such command really runs."""
    await standing_in.removed(call.platform.services, _found(call))
    return no_content()


@operations.call("DELETE", "/commands", "commands.clear")
async def clear(call: Call[NoBody]) -> Response:
    """All of the account's."""
    await standing_in.clear(call.platform.services, call.account.id)
    return no_content()
