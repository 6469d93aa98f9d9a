"""Background processes of a bound sandbox: start, find again, look, wait, signal, read what they print."""

from __future__ import annotations

import base64
import codecs
import math
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Optional, Union

from .. import _arguments as arguments
from .. import _timing
from .._api_errors import CagedServerError
from .._constants import EXEC_TIMEOUT
from .._core import CallPlan
from .._errors import (
    CagedConnectionError,
    CagedError,
    CagedProcessLostError,
    CagedSandboxError,
    CagedTimeoutError,
    printed_output,
    shortened_command,
)
from .._http import AsyncSession, Session
from .._naming import public
from .._tracebacks import short_tracebacks
from .binding import AsyncBound, Binding, Bound, decode_base64, new_name
from .command_output import Streams, decode
from .command_script import LONGEST_SCRIPT, Command, checked_command, command_line, files_of
from .commands import Input, check_marks, fitting_script, send_stdin
from .paths import SandboxPath
from .pieces import fetch, put
from .process_kill import end_lost_start, removal_of_processes, send_signal
from .process_script import BLOCK, State, list_script, output_script, parsed_state, start_script, wait_script
from .script_header import helper_header
from .signals import signal_number

Signal = Union[int, str]

_START_TIMEOUT = 60.0
#: Bytes of a command that are sent in the script.
_COMMAND_IN_SCRIPT = 8 * 1024
#: Seconds that one request waits inside the sandbox for something to happen.
_LOOK = 5.0
_LOOK_TIMEOUT = 60.0


@public
@dataclass(frozen=True)
class ProcessOutput(Streams):
    """What a background process has printed until now.

    Attributes:
        stdout_bytes, stderr_bytes: Its streams, exact.
    """


@public
@dataclass(frozen=True)
class OutputChunk:
    """A piece of what a background process prints.

    Attributes:
        stream: ``stdout`` or ``stderr``.
        data: The bytes.
        text: As UTF-8; what is not becomes U+FFFD. A character that is not complete comes with the next chunk.
    """

    stream: Literal["stdout", "stderr"]
    data: bytes
    text: str


@dataclass(frozen=True)
class ProcessRecord:
    """What identifies a process.

    Attributes:
        name: Of its files in the sandbox.
        started: In ticks since boot. No other process with this pid has been started then.
        command: As it was given, as one string.
    """

    name: str
    pid: int
    started: int
    command: str


def start(binding: Binding, command: Any, cwd: Any, env: Any, stdin: Any, user: Any) -> CallPlan[ProcessRecord]:
    """Start a command, and return when it runs."""
    spec = checked_command(command, cwd, env, user)
    given = command_line(command)
    name = new_name()
    title = f"start {given}"
    try:
        source = yield from send_stdin(binding, name, stdin)
        encoded: Optional[str] = base64.b64encode(given.encode()).decode()
        if encoded is not None and len(encoded) > _COMMAND_IN_SCRIPT:
            yield from put(binding, f"{files_of(name)}.l", encoded.encode())
            encoded = None
        limit = LONGEST_SCRIPT - len(helper_header(title))
        script = yield from fitting_script(
            binding, name, spec, lambda long: start_script(spec, name, source, long, encoded, _sandbox(binding)), limit
        )
    except BaseException:
        binding.finished.append(name)
        raise
    try:
        begun = binding.execute(title, script, _START_TIMEOUT)
        output = yield from binding.interruptible(begun, removal_of_processes(name))
    except (CagedConnectionError, CagedSandboxError, CagedServerError, CagedTimeoutError):
        # Whether it runs is not known, and no object for it is returned.
        yield from end_lost_start(binding, name)
        raise
    line, _, rest = output.partition("\n")
    words = line.split()
    if words[:1] == ["@started"] and len(words) == 6:
        return ProcessRecord(name, int(words[1]), int(words[2]), given)
    check_marks(binding, spec, [word for word in words if word != "@started"], 1, decode_base64(binding, rest))
    raise binding.failure(output)


def find_all(binding: Binding) -> CallPlan[list[tuple[ProcessRecord, State]]]:
    """All processes that were started, those that have ended included, the oldest first."""
    output = yield from binding.execute("list processes", list_script(_sandbox(binding)))
    found = []
    for part in output.split("@")[1:]:
        first, _, rest = part.partition("\n")
        name, _, encoded = rest.partition("\n")
        try:
            state = parsed_state(f"@{first}".split())
        except ValueError:  # a program has written into its file
            continue
        if state.pid:
            found.append((ProcessRecord(name, state.pid, state.started, _command_of(encoded)), state))
    return sorted(found, key=lambda one: one[0].started)


def _sandbox(binding: Binding) -> str:
    """The id of a sandbox, as one word of a script."""
    return arguments.segment("sandbox_id", binding.sandbox_id)


def _command_of(encoded: str) -> str:
    """The command of a record; empty if the record is not complete, after the disk was full for example."""
    try:
        return decode(encoded).decode("utf-8", "replace")
    except ValueError:
        return ""


def find(binding: Binding, pid: Any) -> CallPlan[ProcessRecord]:
    """The process with a number: the one that runs, or the newest that had it."""
    arguments.integer("pid", pid)
    everything = yield from find_all(binding)
    matching = [
        (state.status == "running", record.started, record) for record, state in everything if record.pid == pid
    ]
    if not matching:
        pids = ", ".join(str(record.pid) for record, _ in everything) or "none"
        raise CagedError(f"start() has started no process {pid} in sandbox {binding.sandbox_id}; its processes: {pids}")
    return max(matching, key=lambda one: one[:2])[2]


def describe_process(binding: Binding, record: ProcessRecord) -> str:
    """Return what a message calls a process."""
    return f"process {record.pid} ({shortened_command(record.command)}) of sandbox {binding.sandbox_id}"


def look(binding: Binding, record: ProcessRecord, seconds: float = 0.0) -> CallPlan[State]:
    """The state of a process when it has ended, or after so many seconds.

    Raises:
        CagedProcessLostError: How it ended is not known.
    """
    script = wait_script(record.name, _rounds(seconds))
    output = yield from binding.execute(f"look at process {record.pid}", script, _LOOK_TIMEOUT + seconds)
    return _checked(binding, record, _state(binding, output))


def _state(binding: Binding, printed: str) -> State:
    """The state that a script has printed."""
    try:
        return parsed_state(printed.split())
    except ValueError:
        raise binding.failure(printed) from None


def _rounds(seconds: float) -> int:
    """The rounds of `pause` in the scripts: 20 of 0.02 s, then 0.1 s each."""
    return math.ceil(seconds / 0.02) if seconds < 0.4 else 16 + math.ceil(seconds / 0.1)


def _checked(binding: Binding, record: ProcessRecord, state: State) -> State:
    if state.status == "lost":
        raise CagedProcessLostError(
            f"{describe_process(binding, record)} was lost: there is no record of its exit code or that it runs; the "
            "sandbox was restarted, what watches the process was killed, or its records were removed or replaced, by a "
            "restore for example",
            sandbox_id=binding.sandbox_id,
            pid=record.pid,
            command=record.command,
        )
    return state


def wait(binding: Binding, record: ProcessRecord, timeout: Any) -> CallPlan[int]:
    """Wait until a process ends. Returns its exit code."""
    limit = None if timeout is None else arguments.seconds("timeout", timeout)
    deadline = math.inf if limit is None else _timing.now() + limit
    while True:
        left = max(0.0, deadline - _timing.now())
        state = yield from look(binding, record, min(left, _LOOK))
        if state.exit_code is not None:
            return state.exit_code
        if _timing.now() >= deadline:
            printed = yield from describe_output(binding, record)
            raise CagedTimeoutError(
                f"{describe_process(binding, record)} still runs after {limit:g} s{printed}", timeout=limit
            )


def describe_output(binding: Binding, record: ProcessRecord) -> CallPlan[str]:
    """The end of a message: the last lines that a process has printed."""
    path = files_of(record.name)
    output = yield from binding.execute(
        f"read output of process {record.pid}",
        f"{{ tail -c 4000 {path}.1|base64;}} 2>/dev/null;echo @;{{ tail -c 4000 {path}.2|base64;}} 2>/dev/null;:",
    )
    stdout, _, stderr = output.partition("@")
    return printed_output((decode_base64(binding, stdout), "stdout"), (decode_base64(binding, stderr), "stderr"))


def kill(binding: Binding, record: ProcessRecord, signal: Any) -> CallPlan[None]:
    """Send a signal to all processes that a command has started."""
    yield from send_signal(binding, record.name, signal_number(signal))


def read_output(binding: Binding, record: ProcessRecord) -> CallPlan[ProcessOutput]:
    """All that a process has printed until now."""
    reader = OutputReader(binding, record)
    contents = []
    _, pieces = yield from reader.read(0.0)
    for number, piece in enumerate(pieces, 1):
        if len(piece) < OutputReader.LONGEST:
            contents.append(piece)
        else:
            contents.append((yield from fetch(binding, f"{files_of(record.name)}.{number}")))
    return ProcessOutput(contents[0], contents[1])


class OutputReader:
    """Reads what a process prints, as it comes.

    Attributes:
        running: Whether the process ran when it was last read.
        ended: Whether the process has ended and everything is read.
    """

    #: Bytes of each stream that come at once, at the beginning of a file.
    LONGEST = 256 * BLOCK

    def __init__(self, binding: Binding, record: ProcessRecord) -> None:
        self.running = True
        self.ended = False
        self._binding = binding
        self._record = record
        self._offsets = [0, 0]
        self._decoders = [codecs.getincrementaldecoder("utf-8")("replace") for _ in range(2)]

    def read(self, seconds: float) -> CallPlan[tuple[State, list[bytes]]]:
        """The next bytes of both streams; waits for them so many seconds."""
        script = output_script(self._record.name, self._offsets[0], self._offsets[1], _rounds(seconds))
        title = f"read output of process {self._record.pid}"
        output = yield from self._binding.execute(title, script, _LOOK_TIMEOUT + seconds)
        line, _, rest = output.partition("\n")
        state = _state(self._binding, line)
        pieces = []
        for number, encoded in enumerate(rest.split("@")):
            data = decode_base64(self._binding, encoded)[self._offsets[number] % BLOCK :]
            self._offsets[number] += len(data)
            pieces.append(data)
        return state, pieces

    def next_chunks(self, seconds: float = _LOOK) -> CallPlan[list[OutputChunk]]:
        """The next chunks; none when it ran and printed nothing for so many seconds, or when it has ended.

        Raises:
            CagedProcessLostError: How it ended is not known. All that it has printed was returned before.
        """
        state, pieces = yield from self.read(seconds)
        self.running = state.status == "running"
        self.ended = not self.running and not any(pieces)
        chunks = []
        for number, (stream, data) in enumerate(zip(_STREAMS, pieces)):
            text = self._decoders[number].decode(data, self.ended)
            if data or text:
                chunks.append(OutputChunk(stream, data, text))
        if self.ended and not chunks:
            _checked(self._binding, self._record, state)
        return chunks


_STREAMS: tuple[Literal["stdout", "stderr"], ...] = ("stdout", "stderr")


class _ProcessAttributes:
    def __init__(self, binding: Binding, record: ProcessRecord) -> None:
        self.pid = record.pid
        self.command = record.command
        self._binding = binding
        self._record = record
        self._exit_code: Optional[int] = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}(pid={self.pid}, command={self.command!r})"


@public
@short_tracebacks
class Process(_ProcessAttributes):
    """A command in the background, made by `BoundSandbox.start`.

    It lives until it exits, is killed, or its sandbox is destroyed, and does not depend on this object or the client:
    `BoundSandbox.processes` and `BoundSandbox.process` find it again.

    Attributes:
        pid: Of the command's shell, inside the sandbox.
        command: As it was given, as one string.
    """

    def __init__(self, session: Session, binding: Binding, record: ProcessRecord) -> None:
        super().__init__(binding, record)
        self._session = session

    def poll(self) -> Optional[int]:
        """The exit code, 128+n after signal n; None while it runs.

        Raises:
            CagedProcessLostError: It does not run, and how it ended is not known, or its records are not there, after
                a restore for example; then it may run.
        """
        if self._exit_code is None:
            self._exit_code = self._session.run(look(self._binding, self._record)).exit_code
        return self._exit_code

    def wait(self, timeout: Optional[float] = EXEC_TIMEOUT) -> int:
        """Wait until it ends, and return the exit code.

        Args:
            timeout: Seconds, above 0; default 300. None means no limit. The process runs on after it.

        Raises:
            CagedTimeoutError: It still runs; the message has the end of what it printed.
            CagedProcessLostError: How it ended is not known.
        """
        if self._exit_code is None:
            self._exit_code = self._session.run(wait(self._binding, self._record, timeout))
        return self._exit_code

    def kill(self, signal: Signal = "KILL") -> None:
        """Send a signal to it and to all processes that it has started, also those that have left it.

        Whether they end is up to them, unless the signal is KILL: then this returns when all have ended. A process that
        has ended is not an error.

        Args:
            signal: A name such as ``TERM`` or ``SIGTERM``, or a number of Linux.
        """
        self._session.run(kill(self._binding, self._record, signal))

    def output(self) -> ProcessOutput:
        """All that it has printed until now. It is there after the end of the process, too."""
        return self._session.run(read_output(self._binding, self._record))

    def stream(self) -> Iterator[OutputChunk]:
        """What it prints, from the beginning, as it comes, until it ends.

        The order within a stream is exact; between the streams it is not known.

        Raises:
            CagedProcessLostError: At the end: how it ended is not known.
        """
        reader = OutputReader(self._binding, self._record)
        while not reader.ended:
            yield from self._session.run(reader.next_chunks())


@public
@short_tracebacks
class AsyncProcess(_ProcessAttributes):
    """The attributes, methods and errors of `Process`, awaited; ``async for chunk in process.stream()``."""

    def __init__(self, session: AsyncSession, binding: Binding, record: ProcessRecord) -> None:
        super().__init__(binding, record)
        self._session = session

    async def poll(self) -> Optional[int]:
        """See `Process.poll`."""
        if self._exit_code is None:
            self._exit_code = (await self._session.run(look(self._binding, self._record))).exit_code
        return self._exit_code

    async def wait(self, timeout: Optional[float] = EXEC_TIMEOUT) -> int:
        """See `Process.wait`."""
        if self._exit_code is None:
            self._exit_code = await self._session.run(wait(self._binding, self._record, timeout))
        return self._exit_code

    async def kill(self, signal: Signal = "KILL") -> None:
        """See `Process.kill`."""
        await self._session.run(kill(self._binding, self._record, signal))

    async def output(self) -> ProcessOutput:
        """See `Process.output`."""
        return await self._session.run(read_output(self._binding, self._record))

    async def stream(self) -> AsyncIterator[OutputChunk]:
        """See `Process.stream`."""
        reader = OutputReader(self._binding, self._record)
        while not reader.ended:
            for chunk in await self._session.run(reader.next_chunks()):
                yield chunk


@short_tracebacks
class Processes(Bound):
    """Background processes of a bound sandbox."""

    def start(
        self,
        command: Command,
        *,
        cwd: Optional[SandboxPath] = None,
        env: Optional[Mapping[str, str]] = None,
        stdin: Optional[Input] = None,
        user: Optional[str] = None,
    ) -> Process:
        """Start a command in the background, and return when it runs.

        Interrupted before that, or where the answer is lost, it ends the command, as far as the sandbox answers.

        Args:
            command: A line for the shell, or a list of words, which are quoted.
            cwd: Working directory; None means ``/workspace``.
            env: Variables besides those of the sandbox.
            stdin: Text, bytes, or an open file, which is read to its end before; None means an empty input.
            user: Name of a user of the sandbox; None means the one whom the platform runs commands as.

        Raises:
            CagedSandboxError: The sandbox cannot run commands, or not as this user.
            CagedError: An argument that cannot be used, an unknown user, or a working directory that cannot be entered.
        """
        record = self._run(start(self._binding, command, cwd, env, stdin, user))
        return Process(self._session, self._binding, record)

    def processes(self) -> list[Process]:
        """All processes that `start` has started in this sandbox, by any client, the oldest first.

        Those that have ended are among them; `Process.poll` tells them apart.
        """
        found = self._run(find_all(self._binding))
        return [Process(self._session, self._binding, record) for record, _ in found]

    def process(self, pid: int) -> Process:
        """A process that `start` has started, by any client.

        Args:
            pid: Its pid (`Process.pid`). If that was reused: of the running process with it, else of the newest.

        Raises:
            CagedError: No such process.
        """
        return Process(self._session, self._binding, self._run(find(self._binding, pid)))


@short_tracebacks
class AsyncProcesses(AsyncBound):
    """Background processes of a bound sandbox; every method is described in `Processes`."""

    async def start(
        self,
        command: Command,
        *,
        cwd: Optional[SandboxPath] = None,
        env: Optional[Mapping[str, str]] = None,
        stdin: Optional[Input] = None,
        user: Optional[str] = None,
    ) -> AsyncProcess:
        """See `Processes.start`."""
        record = await self._run(start(self._binding, command, cwd, env, stdin, user))
        return AsyncProcess(self._session, self._binding, record)

    async def processes(self) -> list[AsyncProcess]:
        """See `Processes.processes`."""
        found = await self._run(find_all(self._binding))
        return [AsyncProcess(self._session, self._binding, record) for record, _ in found]

    async def process(self, pid: int) -> AsyncProcess:
        """See `Processes.process`."""
        return AsyncProcess(self._session, self._binding, await self._run(find(self._binding, pid)))
