"""What every rule needs, in one object that is handed around instead of globals."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Optional, Protocol, Union

from ..cage.cgroups import MemoryGroups
from ..cage.isolation import IsolationLevel, ProbeResult
from ..cage.provisioning import Provisioner
from ..cage.toolchains import Toolchains
from ..cage.zygote import Zygote
from ..config import EmulatorConfig
from ..control.agent_replies import AgentReplies, AgentReply
from ..control.callbacks import CallbackErrors
from ..control.clock import Clock
from ..control.credentials import LONGEST_CREDENTIAL, credentials_hidden
from ..control.faults import Faults
from ..control.journal import TEXT_CHARACTERS, Journal
from ..control.randomness import Randomness
from ..control.records import CommandRecord
from ..control.redaction import LONGEST, without, without_end
from ..control.stubs import Stub, Stubs
from ..pace import Turns
from ..store import LogEntry, Sandbox, Store
from ..workers import Workers
from .signals import Signals

logger = logging.getLogger(__name__)

#: What may have a function of a test.
Control = Union[Stub, AgentReply]
#: Characters of a command's output that the journal keeps.
OUTPUT_KEPT = 16_384
#: Lines of a sandbox's log, and characters of one.
LOG_LINES, LOG_CHARACTERS = 5000, 8192
#: What has to be searched behind the place where a text is cut, so that nothing hidden stands at its end.
SPARE = max(LONGEST, LONGEST_CREDENTIAL)


class Keeper(Protocol):
    """Where the store is kept beyond the emulator's end."""

    def flush(self) -> None:
        """All that has changed is durable when this returns. OSError when it could not be made so."""


@dataclass
class Services:
    config: EmulatorConfig
    store: Store
    clock: Clock
    randomness: Randomness
    journal: Journal
    faults: Faults
    stubs: Stubs
    agent_replies: AgentReplies
    toolchains: Toolchains
    zygote: Zygote
    provisioner: Provisioner
    run_dir: Path
    #: Where the sandboxes' directories and the snapshots are: the state directory, or the run's.
    files_dir: Path
    #: Threads for what blocks.
    workers: Workers
    #: Opens the calls about the emulator itself.
    admin_key: str = ""
    base_url: str = ""
    #: The newest lines of the emulator's own log: so many, about one account and the emulator itself, or `*`.
    log_tail: Callable[[int, str], list[str]] = lambda count, account: []
    #: Where control groups can be made for sandboxes; None: not here, or limits are off.
    memory: Optional[MemoryGroups] = None
    #: None: nothing survives the emulator.
    keeper: Optional[Keeper] = None
    #: What was found out about isolation when the emulator was started.
    probe_results: list[ProbeResult] = field(default_factory=list)
    #: Where events go; set by the platform.
    recorder: Callable[[Sandbox, str, dict[str, Any], float], None] = lambda *_: None
    #: Functions of a test in this process, by the handle that travels in their place.
    functions: dict[str, Callable[..., Any]] = field(default_factory=dict)
    #: Local addresses of the connections that this process has opened on behalf of sandboxes.
    relayed: set[tuple[str, int]] = field(default_factory=set)
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)
    turns: Turns = field(default_factory=Turns)
    signals: Signals = field(init=False)
    callback_errors: CallbackErrors = field(init=False)

    def __post_init__(self) -> None:
        self.signals = Signals()
        self.callback_errors = CallbackErrors(self.randomness)

    @property
    def isolation(self) -> IsolationLevel:
        return self.provisioner.isolation

    def commit(self) -> None:
        """Makes durable what has changed: before it is told, and before what cannot be undone is done."""
        if self.keeper is not None:
            self.keeper.flush()

    def in_background(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Runs work that nobody waits for; stopping the emulator waits for it."""
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.error("background work failed", exc_info=task.exception())

    def record(self, sandbox: Sandbox, kind: str, data: dict[str, Any], duration_ms: float = 0.0) -> None:
        """Something happened in a sandbox: an event of one of the kinds of wire-contract.md 3.7, e.g. `command`."""
        self.recorder(sandbox, kind, data, duration_ms)

    def ran(
        self,
        sandbox: Sandbox,
        data: dict[str, Any],
        duration_ms: float,
        source: str = "exec",
        output: Optional[str] = None,
        stub: str = "",
        truncated: bool = False,
    ) -> None:
        """A command was run, or typed: an event with `data` (`command`, `exit_code` and more), and a line of the
        journal."""
        self.record(sandbox, "command", data, duration_ms)
        command = redacted(sandbox, data["command"], TEXT_CHARACTERS)
        said = None if output is None else redacted(sandbox, output, OUTPUT_KEPT, mark=False)
        self.journal.add_command(
            CommandRecord(
                self.clock.timestamp(),
                sandbox.account_id,
                sandbox.id,
                command,
                data.get("exit_code"),
                source,
                round(duration_ms, 3),
                said,
                stub,
                truncated,
            )
        )

    def happened(self, sandbox: Sandbox, action: str, message: str, kind: str = "lifecycle", **more: Any) -> None:
        """A step in a sandbox's life: a line in its log, of type `kind`, and a lifecycle event."""
        self.note(sandbox, message, kind)
        self.record(sandbox, "lifecycle", {"action": action, "message": message, **more})

    def failed(self, sandbox: Sandbox, message: str) -> None:
        """Something went wrong in a sandbox: a line in its log and an error event."""
        self.note(sandbox, message, "error")
        self.record(sandbox, "error", {"message": message})

    def callback_failed(self, sandbox: Sandbox, control: Control, error: BaseException) -> str:
        """Record that the function of a stub or reply raised, or that the reply's files could not be written, so that
        the test can be failed by it.

        Returns:
            The exception, in one line or more.
        """
        recorded = self.callback_errors.add(
            at=self.clock.timestamp(),
            account=sandbox.account_id,
            sandbox=sandbox.id,
            control=control.id,
            described=str(control),
            error=error,
            allowed=control.allow_errors,
        )
        logger.error("%s: %s failed: %s", sandbox.id, control, recorded.error)
        return recorded.error

    def note(self, sandbox: Sandbox, message: str, kind: str = "lifecycle") -> None:
        """Adds a line to a sandbox's log, secrets and credentials masked."""
        sandbox.logs.append(LogEntry(self.clock.timestamp(), kind, redacted(sandbox, message, LOG_CHARACTERS)))
        del sandbox.logs[:-LOG_LINES]


def hidden_values(sandbox: Sandbox) -> list[str]:
    """What nobody may see: the values of the sandbox's secrets and its repository's credentials, longest first."""
    hidden = [sandbox.env.get(name, "") for name in sandbox.secrets]
    if sandbox.repo is not None:
        _url, _user, token = sandbox.repo.split_credentials()
        hidden.append(token or "")
    return sorted(filter(None, hidden), key=len, reverse=True)


def mask(sandbox: Sandbox, text: str) -> str:
    """`text` without the values of the sandbox's secrets and of its repository's credentials."""
    return without(text, hidden_values(sandbox), "***")


def redacted(sandbox: Sandbox, text: str, most: int, mark: bool = True) -> str:
    """What the journal, a log or an event may say of a text: at most so many characters, secrets and credentials
    masked, nothing that is not Unicode. `mark`: whether a cut text says so at its end.

    No more than what is kept is searched, however long the text is.
    """
    return redact(text, hidden_values(sandbox), most, mark)


def redact(text: str, hidden: Sequence[str], most: int, mark: bool = True) -> str:
    """See `redacted`. `hidden`: what is masked besides credentials, longest first."""
    piece = text[: most + SPARE].encode("utf-8", "replace").decode("utf-8")
    piece = credentials_hidden(without(piece, hidden, "***"))
    if len(text) > most + SPARE:
        piece = without_end(piece, SPARE, "***")
    elif len(piece) <= most:
        return piece
    piece = piece[:most]
    return f"{piece} … ({len(text) - len(piece)} more characters)" if mark else piece
