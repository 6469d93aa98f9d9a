"""/_emulator/commands: stubs of commands and programs. `control_client/commands.py` describes the options."""

from __future__ import annotations

from typing import Any, Literal, Optional, Union

from pydantic import ConfigDict
from starlette.responses import Response

from ...control.patterns import TextPattern
from ...control.stubs import Output, Stub
from ...platform.errors import invalid, not_found
from ..operation import Body, Call, Model, NoBody, json_reply, no_content
from .names import check_sandbox
from .operations import Admin, applies

operations = Admin()


class Regex(Model):
    """A regular expression (Python's), searched for anywhere in the text."""

    regex: str

    model_config = ConfigDict(strict=True, extra="forbid", defer_build=True)


#: The exact text or a glob with `*`, `?` and `[`; or a regular expression.
PatternIn = Union[str, Regex]


def pattern(name: str, given: Optional[PatternIn]) -> Optional[TextPattern]:
    """ValueError for a regular expression that cannot be compiled."""
    return TextPattern.of(name, {"regex": given.regex} if isinstance(given, Regex) else given)


class AddStub(Body):
    """`kind` command: `match` is a pattern of the whole command. `kind` program (also where it is left out, with a
    `program`): `program`, wherever it is called, with patterns of its `args` (joined by spaces) and its `stdin`.
    `sandbox`: only there.

    `output`: a text, or pieces, each after `delay` seconds. `error`: the command cannot be run at all. `times`: how
    often it answers; always, when it is left out. `optional`: it is not reported as unused. `function` and
    `allow_errors` work in the emulator's own process only."""

    kind: Optional[Literal["command", "program"]] = None
    match: Optional[PatternIn] = None
    program: Optional[str] = None
    args: Optional[PatternIn] = None
    stdin: Optional[PatternIn] = None
    sandbox: Optional[str] = None
    output: Union[str, list[str]] = ""
    exit_code: int = 0
    delay: float = 0.0
    error: Optional[str] = None
    times: Optional[int] = None
    optional: bool = False
    function: Optional[str] = None
    allow_errors: bool = False


class StubOut(Model):
    """`used`: how often it has answered. `described`: one line for people."""

    id: str
    account: str
    kind: str
    options: dict[str, Any]
    optional: bool
    used: int
    described: str


def _shown(stub: Stub) -> StubOut:
    options = {
        "match": stub.match and stub.match.json,
        "program": stub.program,
        "args": stub.args and stub.args.json,
        "stdin": stub.stdin and stub.stdin.json,
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
    """The first that matches a command answers. A program is stubbed in every sandbox, also in existing ones."""
    platform, body = call.platform, call.body
    try:
        check_sandbox(call, body.sandbox)
        stub = platform.stubs.add(
            call.account.id,
            kind=body.kind or ("program" if body.program else "command"),
            match=pattern("match", body.match),
            program=body.program,
            args=pattern("args", body.args),
            stdin=pattern("stdin", body.stdin),
            sandbox=body.sandbox,
            output=Output(body.output, body.exit_code, body.delay, body.error),
            times=body.times,
            optional=body.optional,
            function=function_of(call, body.function),
            allow_errors=body.allow_errors,
        )
    except ValueError as error:
        raise invalid(str(error)) from None
    await platform.command_stubs.install(stub)
    return json_reply(_shown(stub), 201)


def function_of(call: Call[Any], handle: Optional[str]) -> Any:
    """The function that a test in this process has registered under that handle, which is valid once.

    Raises:
        ValueError: There is none.
    """
    if handle is None:
        return None
    function = call.platform.functions.pop(handle, None)
    if function is None:
        raise ValueError("function: cannot travel; it needs an emulator in the test's own process")
    return function


@operations.call("GET", "/commands", "commands.list", reply=list[StubOut])
async def listed(call: Call[NoBody]) -> Response:
    """All that apply to the account, in the order in which they are tried: its own first, then those of `*`."""
    return json_reply([_shown(stub) for stub in call.platform.stubs.of(call.account.id)])


def _found(call: Call[Any]) -> Stub:
    stub = call.platform.stubs.get(call.param("id"))
    if stub is None or not applies(call, stub.account):
        raise not_found("stub", call.param("id"))
    return stub


@operations.call("GET", "/commands/{id}", "commands.get", reply=StubOut)
async def get(call: Call[NoBody]) -> Response:
    return json_reply(_shown(_found(call)))


@operations.call("DELETE", "/commands/{id}", "commands.remove")
async def remove(call: Call[NoBody]) -> Response:
    """The next such command really runs."""
    await call.platform.command_stubs.remove(_found(call))
    return no_content()


@operations.call("DELETE", "/commands", "commands.clear")
async def clear(call: Call[NoBody]) -> Response:
    """All that were added for exactly this account, or for `*`."""
    await call.platform.command_stubs.clear(call.account.id)
    return no_content()
