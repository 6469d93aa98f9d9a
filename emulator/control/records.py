"""Records: what the emulator reports of the past and of what there is.

Each record is described once, by the fields of its dataclass. The HTTP models (`schema.py`), the objects that the
Python controls return and the tables of the command line (`cli/tables.py`) are derived from them.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any, Literal, Optional, get_args

from caged._literals import EventType

from .names import alternatives

#: The ways by which a command comes into a sandbox.
CommandSource = Literal["exec", "helper", "stream", "terminal", "mcp", "build"]
SOURCES: tuple[str, ...] = get_args(CommandSource)
#: The types of events as the platform names them.
NAMED_EVENT_TYPES: tuple[str, ...] = get_args(get_args(EventType)[0])
#: The type as which an event of any other type is recorded.
OTHER_EVENT_TYPE = "other"
EVENT_TYPES = (*NAMED_EVENT_TYPES, OTHER_EVENT_TYPE)
_HELP, _COLUMN, _LONG = "help", "column", "is_long"


def value(help: str = "", *, column: bool = False, is_long: bool = False, default: Any = dataclasses.MISSING) -> Any:
    """Make the field of a value in a record.

    Args:
        help: What it is, as a sentence or noun phrase that ends with a full stop.
        column: Whether a table on the command line shows it.
        is_long: Whether the table shows it last, where it has more space.
        default: Its default; a list stands for a new one each time.
    """
    metadata = {_HELP: help, _COLUMN: column, _LONG: is_long}
    if isinstance(default, list):
        return dataclasses.field(default_factory=list, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def columns_of(record: type) -> tuple[str, ...]:
    """The names of the values that a table shows, long ones last."""
    shown = [field for field in dataclasses.fields(record) if field.metadata.get(_COLUMN)]
    return tuple(field.name for field in sorted(shown, key=lambda field: bool(field.metadata[_LONG])))


def help_of(record: type) -> dict[str, str]:
    """The help text of each value that has one."""
    texts = {field.name: field.metadata.get(_HELP, "") for field in dataclasses.fields(record)}
    return {name: text for name, text in texts.items() if text}


@dataclass
class RequestRecord:
    """One request."""

    at: str = value("When it came, by the account's clock (RFC 3339).", column=True)
    method: str = value("HTTP method.", column=True)
    path: str = value("Path.", column=True)
    operation: str = value("The SDK's name of the operation, such as `sandboxes.exec`.", column=True)
    account: str = value("Id of the account; empty for a request that was not authenticated.", default="")
    status: int = value("HTTP status; 0: it was not answered.", column=True, default=0)
    warnings: list[str] = value("What was accepted although a client should not rely on it.", default=[])
    query: str = value("Query string.", default="")
    sandbox: str = value("Id of the sandbox that the path names.", column=True, default="")
    fault: str = value("Id of the fault that triggered on it.", column=True, default="")
    duration_ms: float = value("Real time until the answer, in milliseconds.", column=True, default=0.0)
    request: str = value(
        "The request's body as text, cut after 64 KiB, secrets redacted; empty for streams.", default=""
    )
    response: str = value("The answer's body, like `request`.", default="")

    def json(self) -> Any:
        """Decode the request's body.

        Raises:
            ValueError: It is not JSON.
        """
        return json.loads(self.request)

    def response_json(self) -> Any:
        """Decode the answer's body.

        Raises:
            ValueError: It is not JSON.
        """
        return json.loads(self.response)

    def __str__(self) -> str:
        query = f"?{self.query}" if self.query else ""
        fault = f" ({self.fault})" if self.fault else ""
        return f"{self.at} {self.method} {self.path}{query} -> {self.status or 'no answer'}{fault}"


@dataclass(frozen=True)
class SharedControl:
    """A control that applies to all accounts: a fault, a stub, an agent's reply, a fake repository, a prepared sandbox,
    or the time."""

    path: str = value("Where it is removed by a DELETE, below /_emulator.")
    id: str = value("Its id; of the time, one for each change.")
    owner: str = value("Who added it, by the header `Caged-Owner`; empty without one.", column=True)
    described: str = value("The control in one line.", column=True, is_long=True)
    unused: bool = value("Whether it was never used and is not optional.", column=True)


@dataclass(frozen=True)
class CommandRecord:
    """One command."""

    at: str = value("When it was over, by the account's clock (RFC 3339).", column=True)
    account: str = value("Id of the account.")
    sandbox: str = value("Id of the sandbox.", column=True)
    command: str = value("The command.", column=True, is_long=True)
    exit_code: Optional[int] = value("Exit code; null where it has none.", column=True)
    source: str = value(f"{alternatives(SOURCES)}; a helper is a script of the SDK.", column=True)
    duration_ms: float = value("How long it ran, in milliseconds, by the account's clock.", column=True)
    output: Optional[str] = value("Of exec only, cut after 16 Ki characters.", default=None)
    stub: str = value("Id of the stub that answered it.", column=True, default="")
    truncated: bool = value("Whether the output was cut in the answer, too.", default=False)

    def __str__(self) -> str:
        return f"{self.at} {self.sandbox} $ {self.command} ({self.source}, exit {self.exit_code})"


@dataclass(frozen=True)
class PromptRecord:
    """A prompt to an agent, with its reply."""

    at: str = value("When it was answered, by the account's clock (RFC 3339).", column=True)
    account: str = value("Id of the account.")
    sandbox: str = value("Id of the sandbox.", column=True)
    session: str = value("Id of the agent's session.")
    agent: str = value("The platform's name of the agent.", column=True)
    program: str = value("The command by which it was called.")
    prompt: str = value("The prompt.", column=True, is_long=True)
    arguments: list[str] = value("The program's arguments.")
    cwd: str = value("The working directory.")
    reply: str = value("The text of the reply.", column=True, is_long=True)
    exit_code: int = value("Exit code of the program.", column=True)
    tokens_in: int = value("Tokens of the session.")
    tokens_out: int = value("Tokens of the session.")
    cost_usd: float = value("Cost of the reply, in USD.", column=True)

    def __str__(self) -> str:
        return f"{self.at} {self.sandbox} {self.agent} {self.prompt!r} -> {self.reply!r} (${self.cost_usd:.4f})"


@dataclass(frozen=True)
class EventRecord:
    """An event as the platform records it."""

    id: str = value("Id of the event.")
    account: str = value("Id of the account.")
    sandbox: str = value("Id of the sandbox.", column=True)
    session: str = value("Id of the agent's session; empty outside of one.", column=True)
    type: str = value(f"{alternatives(EVENT_TYPES)}.", column=True)
    at: str = value("When it was over, by the account's clock (RFC 3339).", column=True)
    duration_ms: float = value("How long it took, in milliseconds.", column=True)
    data: Any = value("What happened, by type.", column=True, is_long=True)


@dataclass(frozen=True)
class CallbackErrorRecord:
    """An exception that the function of a stub or a reply raised, or a wrong value that it returned, or a reply's file
    that could not be written."""

    id: str = value("Id of the record.")
    at: str = value("When it happened, by the account's clock (RFC 3339).", column=True)
    account: str = value("Id of the account.")
    sandbox: str = value("Id of the sandbox.", column=True)
    control: str = value("Id of the stub or reply.", column=True)
    described: str = value("The stub or reply, in one line.")
    error: str = value("The last line of the traceback.", column=True, is_long=True)
    traceback: str = value("The traceback.")
    allowed: bool = value("Whether it was added with `allow_errors`.", column=True)

    def __str__(self) -> str:
        return f"{self.described} failed in {self.sandbox}:\n{self.traceback}"


@dataclass(frozen=True)
class SandboxRecord:
    """A sandbox that there is."""

    id: str = value("Id of the sandbox.", column=True)
    account: str = value("Id of its account.", column=True)
    status: str = value("Its status, such as `running`.", column=True)
    template: str = value("Its template.", column=True)
    created_at: str = value("When it was created, by the account's clock (RFC 3339).", column=True)


@dataclass(frozen=True)
class SnapshotRecord:
    """A snapshot that there is."""

    id: str = value("Id of the snapshot.", column=True)
    account: str = value("Id of its account.", column=True)
    sandbox: str = value("Id of the sandbox that it was taken of, which may be gone.", column=True)
    name: str = value("Its name.", column=True)
    description: str = value("Its description.")
    status: str = value("Its status.", column=True)
    automatic: bool = value("Whether it was taken because its sandbox was paused.")


@dataclass(frozen=True)
class SocketRecord:
    """An open connection into a sandbox."""

    account: str = value("Id of the account.", column=True)
    sandbox: str = value("Id of the sandbox.", column=True)
    kind: str = value("`terminal`, `stream` (the terminal of a streaming exec) or `mcp`.", column=True)
    opened_at: str = value("When it was opened, by the account's clock (RFC 3339).", column=True)


@dataclass(frozen=True)
class CommitRecord:
    """A commit of a fake repository."""

    id: str = value("Its id: 40 hexadecimal digits.", column=True)
    author: str = value("Name of its author.", column=True)
    email: str = value("Email address of its author.")
    at: str = value("When it was made, as its author's clock says (RFC 3339).", column=True)
    parents: list[str] = value("Ids of the commits before it.")
    message: str = value("Its message, without the last line break.", column=True, is_long=True)

    @property
    def subject(self) -> str:
        """The first line of its message."""
        return self.message.split("\n", 1)[0]

    def __str__(self) -> str:
        return f"{self.id[:10]} {self.subject}"


@dataclass(frozen=True)
class PushRecord:
    """One branch or tag that a push from a sandbox changed in a fake repository."""

    at: str = value("When it was pushed, by the account's clock (RFC 3339).", column=True)
    sandbox: str = value("Id of the sandbox.", column=True)
    ref: str = value("The whole name, such as `refs/heads/main`.", column=True)
    before: str = value("Id of its commit before; empty where the push created it.")
    after: str = value("Id of its commit now; empty where the push deleted it.", column=True)

    @property
    def branch(self) -> str:
        """The name of the branch; empty for a tag."""
        return self.ref[len("refs/heads/") :] if self.ref.startswith("refs/heads/") else ""

    def __str__(self) -> str:
        what = f"to {self.after[:10]}" if self.after else "deleted"
        return f"{self.at} {self.sandbox}: {self.ref} {what}"


@dataclass(frozen=True)
class LogLine:
    """A line of a sandbox's log."""

    timestamp: str = value("When it was written, by the account's clock (RFC 3339).", column=True)
    type: str = value("Its type, such as `lifecycle`.", column=True)
    message: str = value("Its text.", column=True)

    def __str__(self) -> str:
        return f"{self.timestamp} {self.type}: {self.message}"
