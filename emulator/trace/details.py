"""The details of steps, by kind: which keys the `detail` of a step has, and what they mean. docs/trace-format.md and
docs/trace-schema.json are derived from this."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Optional

from ..control.records import CommandSource, value


@dataclass
class FileChangeDetail:
    """A file that was changed."""

    path: str = value("Its path in the sandbox.")
    change: Literal["added", "changed", "removed"] = value("What happened to it.")
    before: Optional[str] = value("Its text before, redacted.", default=None)
    after: Optional[str] = value("Its text after, redacted.", default=None)
    note: Optional[str] = value("Why a text is missing.", default=None)


@dataclass
class OutputCut:
    """A gap in an output."""

    after: int = value("Characters of `output` before the gap.")
    characters: int = value("Characters that the gap has, about.")


@dataclass
class SourceDetail:
    """The place of a call in the code."""

    path: str = value("The file.")
    line: int = value("The number of the line.")
    code: Optional[list[tuple[int, str]]] = value("Numbers of lines and lines around it.", default=None)


@dataclass
class AnyDetail:
    """Keys that the detail of any step may have. A key is absent where it does not apply, and as long as it is not
    known while the step runs."""

    changes: Optional[list[FileChangeDetail]] = value(
        "Files of /workspace that a command, a prompt or a restore changed; only where that is switched on.",
        default=None,
    )
    changes_note: Optional[str] = value("What was not scanned for `changes`.", default=None)
    near_misses: Optional[list[str]] = value(
        "Why the faults, stubs or replies that were set up for it did not apply, the nearest first.", default=None
    )
    error: Optional[str] = value("Why it could not be done, or was not completed.", default=None)
    dropped: Optional[str] = value("Why the rest of the detail is missing: it was dropped.", default=None)


@dataclass
class TestDetail:
    """`test`: a phase of a test."""

    __test__ = False

    phase: Optional[str] = value("`setup`, `call` or `teardown`.", default=None)
    outcome: Optional[str] = value("Its outcome.", default=None)


@dataclass
class CallDetail:
    """`call`: a call of the SDK. The id of the step is that of the span in the `traceparent` header of its requests."""

    call: str = value("The method, such as `sandboxes.exec`.")
    trace_id: Optional[str] = value("The trace's id in that header: 32 hexadecimal digits.", default=None)
    arguments: Optional[Any] = value("Its arguments, redacted.", default=None)
    source: Optional[SourceDetail] = value("The line of the test that made it.", default=None)
    nearest_source: Optional[SourceDetail] = value(
        "The nearest line of the user's code, such as one of the application under test, where it is another one.",
        default=None,
    )


@dataclass
class RequestDetail:
    """`request`: an HTTP request, or a WebSocket. Its `parent` is the span that its `traceparent` header names."""

    method: str = value("HTTP method.")
    path: str = value("Path, redacted.")
    operation: str = value("The SDK's name of the operation; `preview` for a preview.")
    trace_id: Optional[str] = value(
        "The trace's id in a valid `traceparent` header: 32 hexadecimal digits.", default=None
    )
    query: Optional[str] = value("Query string, redacted.", default=None)
    status: Optional[int] = value("HTTP status; 0: not answered, 101: a WebSocket.", default=None)
    request: Optional[str] = value("Body of the request, redacted.", default=None)
    response: Optional[str] = value("Body of the response, redacted.", default=None)
    warnings: Optional[list[str]] = value("What was accepted although a client should not rely on it.", default=None)


@dataclass
class CommandDetail:
    """`command`: a command, or a call of a stubbed program."""

    command: str = value("The command, redacted.")
    source: Literal[CommandSource, "program"] = value("What ran it.")
    exit_code: Optional[int] = value("Exit code; null where there is none, or it was not seen.", default=None)
    truncated: Optional[bool] = value("Whether the output that the client got was cut at its limit.", default=None)
    output: Optional[list[tuple[float, str]]] = value(
        "What it printed, redacted: seconds since it began, and a piece.", default=None
    )
    output_cut: Optional[OutputCut] = value("The part of the output that is not kept.", default=None)


@dataclass
class PromptDetail:
    """`prompt`: a prompt to an agent."""

    agent: str = value("The platform's name of the agent.")
    program: str = value("The command.")
    prompt: str = value("The prompt, redacted.")
    arguments: Optional[list[str]] = value("Words of the command line.", default=None)
    cwd: Optional[str] = value("Working directory.", default=None)
    reply: Optional[str] = value("What it printed, redacted.", default=None)
    exit_code: Optional[int] = value("Exit code; -1: it ended before the reply, or was not seen.", default=None)
    session: Optional[str] = value("Id of the agent's session; empty where it made none.", default=None)
    model: Optional[str] = value("The session's model.", default=None)
    tokens_in: Optional[int] = value("Tokens of the prompt.", default=None)
    tokens_out: Optional[int] = value("Tokens of the reply.", default=None)
    cost_usd: Optional[float] = value("What it cost, in USD.", default=None)


@dataclass
class EventDetail:
    """`file`, `sandbox`, `error` and `event`: an event of a sandbox, or one that a client reported."""

    event: str = value("Its type: `file_op`, `lifecycle`, `error`, `network`, `tool_call`, `other` and so on.")
    session: str = value("Id of the agent's session; empty where it belongs to none.")
    data: Any = value("What the event says, redacted.")


@dataclass
class ControlDetail:
    """`control`: a call that changed a control, such as a fault or the clock."""

    operation: str = value("The operation of the admin API.")
    path: str = value("Path.")
    body: Any = value("Body, redacted; a text where it is not shown.")
    all_accounts: bool = value("Whether it was about all accounts.")
    status: Optional[int] = value("HTTP status.", default=None)


@dataclass
class AlertDetail:
    """`alert`: an alert of the platform."""

    rule: str = value("The type of its rule.")
    severity: str = value("`info`, `warning` or `critical`.")
    message: str = value("Its text.")
    alert: str = value("Its id.")
    session: str = value("Id of the agent's session; empty without one.")
    meta: dict[str, str] = value("More about it.")


#: By kind of step.
DETAILS: dict[str, type] = {
    "test": TestDetail,
    "call": CallDetail,
    "request": RequestDetail,
    "command": CommandDetail,
    "prompt": PromptDetail,
    "file": EventDetail,
    "sandbox": EventDetail,
    "control": ControlDetail,
    "alert": AlertDetail,
    "event": EventDetail,
    "error": EventDetail,
}
