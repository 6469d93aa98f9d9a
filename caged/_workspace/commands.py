"""Commands in a bound sandbox: separate streams, exact bytes of any size, a time limit that ends all processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any, Optional, Union

from .. import _arguments as arguments
from .. import _timing
from .._constants import EXEC_TIMEOUT
from .._core import CallPlan
from .._errors import (
    CagedCommandError,
    CagedCommandTimeoutError,
    CagedError,
    CagedSandboxError,
    CagedTimeoutError,
    caused_by,
)
from .._models.sandboxes import ExecResult
from .._naming import public
from .._tracebacks import short_tracebacks
from .binding import AsyncBound, Binding, Bound, new_name
from .command_output import STARTED, PrintedResult, Streams, read_result
from .command_script import (
    INLINE,
    LONGEST_SCRIPT,
    SENT_IN_SCRIPT,
    Command,
    CommandSpec,
    StandardInput,
    checked_command,
    command_line,
    files_of,
    inline_input,
    long_program,
    script,
    streams,
)
from .paths import SandboxPath
from .pieces import fetch, put
from .process_kill import end_processes
from .scratch import SCRATCH

Input = Union[str, bytes, IO[bytes], IO[str]]


@public
@dataclass(frozen=True)
class RunResult(Streams):
    """The result of a command.

    Attributes:
        stdout_bytes, stderr_bytes: What it printed.
        exit_code: 128+n after signal n.
        duration: Seconds from the request to the answer.
    """

    exit_code: int = 0
    duration: float = 0.0

    @property
    def ok(self) -> bool:
        """True when the command exited with 0."""
        return self.exit_code == 0


def run(
    binding: Binding,
    command: Any,
    cwd: Any,
    env: Any,
    stdin: Any,
    user: Any,
    timeout: Any,
    check: bool,
) -> CallPlan[RunResult]:
    """Run a command to its end."""
    spec = checked_command(command, cwd, env, user)
    limit = EXEC_TIMEOUT if timeout is None else arguments.seconds("timeout", timeout)
    arguments.boolean("check", check)
    name = new_name()
    try:
        source = yield from send_stdin(binding, name, stdin)
        finished = binding.take_finished()
        sent = yield from fitting_script(
            binding, name, spec, lambda long: script(spec, name, source, long, finished), LONGEST_SCRIPT
        )
        begun = _timing.now()
        try:
            answer = yield from binding.send(sent, limit)
        except CagedTimeoutError:
            raise (yield from _timeout_error(binding, name, command_line(command), limit)) from None
        duration = _timing.now() - begun
        stdout, stderr = yield from _read(binding, spec, name, answer)
    finally:
        binding.finished.append(name)
    result = RunResult(stdout, stderr, answer.exit_code, duration)
    if check and not result.ok:
        raise CagedCommandError(command_line(command), answer.exit_code, result.stdout, result.stderr)
    return result


def _timeout_error(
    binding: Binding, name: str, command: str, limit: Optional[float]
) -> CallPlan[CagedCommandTimeoutError]:
    """End a command that takes too long. Returns the error to raise."""
    try:
        stdout, stderr = yield from end_processes(binding, name)
    except CagedError as problem:
        return CagedCommandTimeoutError(command, limit, b"", b"", failure=str(problem))
    return CagedCommandTimeoutError(command, limit, stdout, stderr)


def fitting_script(
    binding: Binding, name: str, spec: CommandSpec, make: Callable[[bool], str], limit: int
) -> CallPlan[str]:
    """The script of a command. A long command, and long variables, are put into a file.

    Args:
        make: Makes the script; its argument is whether they are in the file.
        limit: Bytes of the script.
    """
    made = make(False)
    if len(made.encode()) <= limit:
        return made
    yield from put(binding, f"{files_of(name)}.c", long_program(spec))
    return make(True)


def send_stdin(binding: Binding, name: str, stdin: Any) -> CallPlan[StandardInput]:
    """Bring the standard input into the sandbox, unless it is short."""
    if stdin is None:
        return StandardInput()
    if isinstance(stdin, str):
        stdin = arguments.text("stdin", stdin).encode()
    if isinstance(stdin, (bytes, bytearray, memoryview)):
        content = bytes(stdin)
        if len(content) <= SENT_IN_SCRIPT:
            return inline_input(name, content)
        yield from put(binding, f"{files_of(name)}.0", content)
    elif callable(getattr(stdin, "read", None)):
        yield from put(binding, f"{files_of(name)}.0", stdin)
    else:
        raise CagedError(f"stdin must be str, bytes or an open file, not {type(stdin).__name__}")
    return StandardInput(f"<{files_of(name)}.0")


def _read(binding: Binding, spec: CommandSpec, name: str, answer: ExecResult) -> CallPlan[tuple[bytes, bytes]]:
    """The streams, of what the script printed."""
    try:
        printed = read_result(name, answer.output)
    except ValueError:
        if STARTED not in answer.output.split():
            raise binding.failure(answer.output) from None
        printed = yield from _read_files(binding, name, answer.exit_code)
    if not ({STARTED, "@cwd", "@user"}.intersection(printed.marks) or spec.user):
        raise binding.failure(answer.output)
    stdout, stderr = printed.stdout, printed.stderr
    if INLINE + 1 in (len(stdout), len(stderr)):
        stdout, stderr = yield from _fetch(binding, name, answer.exit_code)
    check_marks(binding, spec, printed.marks, answer.exit_code, stderr)
    if printed.is_lost:
        raise CagedSandboxError(
            f"the command ran in sandbox {binding.sandbox_id} and exited with {answer.exit_code}, but it has removed "
            f"the files of its output in {SCRATCH}; what it printed is lost"
        )
    return stdout, stderr


def _read_files(binding: Binding, name: str, exit_code: int) -> CallPlan[PrintedResult]:
    """The result of a command whose script has not printed it, see `command_script`."""
    ran = f"the command ran and exited with {exit_code}, but its output could not be "
    try:
        output = yield from binding.execute("read output", f"{streams(name)}:\n", repeatable=True)
    except CagedError as problem:
        raise caused_by(problem, CagedSandboxError(f"{ran}fetched: {problem}")) from None
    try:
        return read_result(name, f"{STARTED}\n{output}")
    except ValueError:
        raise binding.failure(output, f"{ran}read: ") from None


def _fetch(binding: Binding, name: str, exit_code: int) -> CallPlan[tuple[bytes, bytes]]:
    """Both streams of a command that printed much."""
    try:
        stdout = yield from fetch(binding, f"{files_of(name)}.1")
        stderr = yield from fetch(binding, f"{files_of(name)}.2")
    except CagedError as problem:
        text = f"the command ran and exited with {exit_code}, but its output could not be fetched: {problem}"
        raise caused_by(problem, CagedSandboxError(text)) from None
    # Where this fails, a later command removes them.
    with suppress(CagedError):
        yield from binding.execute("remove output", f"rm -f {files_of(name)}.*")
    return stdout, stderr


def check_marks(binding: Binding, spec: CommandSpec, marks: Sequence[str], exit_code: int, stderr: bytes) -> None:
    """Raise an error unless the command was started.

    Args:
        marks: What the script printed before it.
        exit_code, stderr: Of `su`, where it was not.
    """
    if STARTED in marks:
        return
    if "@cwd" in marks:
        raise CagedError(f"the working directory {spec.cwd!r} cannot be entered in sandbox {binding.sandbox_id}")
    if "@user" in marks:
        raise CagedError(f"sandbox {binding.sandbox_id} has no user {spec.user!r}")
    reason = stderr.decode("utf-8", "replace").strip() or f"su exited with {exit_code}"
    raise CagedSandboxError(f"sandbox {binding.sandbox_id} cannot run commands as {spec.user!r}: {reason}")


@short_tracebacks
class Commands(Bound):
    """Commands of a bound sandbox."""

    def run(
        self,
        command: Command,
        *,
        cwd: Optional[SandboxPath] = None,
        env: Optional[Mapping[str, str]] = None,
        stdin: Optional[Input] = None,
        user: Optional[str] = None,
        timeout: Optional[float] = None,
        check: bool = False,
    ) -> RunResult:
        """Run a command, and wait until it exits.

        Processes that it leaves in the background live on; what they print later is lost.

        Args:
            command: A line for the shell, or a list of words, which are quoted.
            cwd: Working directory; None means ``/workspace``.
            env: Variables besides those of the sandbox.
            stdin: Text, bytes, or an open file, which is read from where it stands; None means an empty input.
            user: Name of a user of the sandbox; None means the one whom the platform runs commands as.
            timeout: Seconds, above 0; None means 300. Then the command and all processes that it started are ended.
            check: True raises an error for another exit code than 0.

        Raises:
            CagedCommandError: `check` is True, and the command failed.
            CagedCommandTimeoutError: It took too long; the error has what it printed until then.
            CagedSandboxError: The sandbox cannot run commands, or not as this user.
            CagedError: An argument that cannot be used, an unknown user, or a working directory that cannot be entered.
        """
        return self._run(run(self._binding, command, cwd, env, stdin, user, timeout, check))


@short_tracebacks
class AsyncCommands(AsyncBound):
    """Commands of a bound sandbox; every method is described in `Commands`."""

    async def run(
        self,
        command: Command,
        *,
        cwd: Optional[SandboxPath] = None,
        env: Optional[Mapping[str, str]] = None,
        stdin: Optional[Input] = None,
        user: Optional[str] = None,
        timeout: Optional[float] = None,
        check: bool = False,
    ) -> RunResult:
        """See `Commands.run`."""
        return await self._run(run(self._binding, command, cwd, env, stdin, user, timeout, check))
