"""Waiting for a port or a status of a sandbox; the error says what there was in its place."""

from __future__ import annotations

from typing import Any, Optional, Union, get_args

from .. import _arguments as arguments
from .. import _timing
from .._constants import PORT_WAIT_TIMEOUT, SANDBOX_POLL_FIRST, SANDBOX_POLL_LONGEST, STATUS_WAIT_TIMEOUT
from .._core import CallPlan, Pause, perform
from .._errors import CagedError, CagedSandboxError, CagedTimeoutError
from .._literals import SandboxStatus
from .._models.sandboxes import Sandbox
from .._naming import did_you_mean
from .._resources import sandbox_calls as sandboxes
from .._tracebacks import short_tracebacks
from .binding import AsyncBound, Binding, Bound
from .lifecycle import info
from .processes import AsyncProcess, Process, ProcessRecord, describe_output, describe_process, look

_LAST_PORT = 65535
_STATUSES = get_args(SandboxStatus)
#: Statuses that a sandbox does not leave by itself, so that a wait for another one is an error at once. The contract
#: has no call either, apart from destroy; only a resume after an emulator's restart leaves `stopped`.
_FINAL = ("stopped", "error")
_LOG_ENTRIES = 5
_LONGEST_LOG = 2000


class _Patience:
    """The time of one wait.

    Attributes:
        limit: Seconds.
        is_over: Whether they have passed, as of the last `pause`.
    """

    def __init__(self, timeout: Any) -> None:
        limit = arguments.seconds("timeout", timeout)
        if limit is None:
            raise CagedError("timeout must be a number of seconds above 0, not None: this wait always has an end")
        self.limit = limit
        self.is_over = False
        self._deadline = _timing.now() + limit
        self._pause = SANDBOX_POLL_FIRST

    def pause(self) -> CallPlan[None]:
        left = self._deadline - _timing.now()
        if left <= 0:
            self.is_over = True
            return
        yield Pause(min(self._pause, left))
        self._pause = min(self._pause * 1.5, SANDBOX_POLL_LONGEST)


def wait_for_port(binding: Binding, port: Any, timeout: Any, process: Any) -> CallPlan[str]:
    """Request the ports until one is there. Returns its preview URL."""
    if not 1 <= arguments.integer("port", port) <= _LAST_PORT:
        raise CagedError(f"port must be 1 to {_LAST_PORT}, not {port}")
    record = _record(binding, process)
    patience = _Patience(timeout)
    while True:
        listening = yield from perform(binding.settings, sandboxes.ports(binding.sandbox_id))
        for one in listening:
            if one.port == port:
                return one.preview_url
        if record is not None:
            state = yield from look(binding, record)
            if state.exit_code is not None:
                printed = yield from describe_output(binding, record)
                raise CagedSandboxError(
                    f"{describe_process(binding, record)} exited with {state.exit_code} before something listened on "
                    f"port {port}{printed}",
                    sandbox_id=binding.sandbox_id,
                )
        if patience.is_over:
            others = ", ".join(str(one.port) for one in listening) or "none"
            message = (
                f"nothing listens on port {port} of sandbox {binding.sandbox_id} after {patience.limit:g} s; ports on "
                f"which something listens: {others}"
            )
            if record is None:
                message += yield from _end_of_log(binding)
            else:
                message += f"\n{describe_process(binding, record)} runs"
                message += yield from describe_output(binding, record)
            raise CagedTimeoutError(message, timeout=patience.limit)
        yield from patience.pause()


def _record(binding: Binding, process: Any) -> Optional[ProcessRecord]:
    if process is None:
        return None
    if not isinstance(process, (Process, AsyncProcess)):
        raise CagedError(f"process must be what start() has returned, not {type(process).__name__}")
    if process._binding.sandbox_id != binding.sandbox_id:
        raise CagedError(f"process {process.pid} is of sandbox {process._binding.sandbox_id}, not {binding.sandbox_id}")
    return process._record


def _end_of_log(binding: Binding) -> CallPlan[str]:
    """The end of a message: the last entries of the sandbox's log."""
    try:
        entries = yield from perform(binding.settings, sandboxes.logs(binding.sandbox_id, _LOG_ENTRIES))
    except CagedError as problem:
        return f"\nits log cannot be read: {problem}"
    text = "\n".join(entry.message for entry in entries).strip()[-_LONGEST_LOG:]
    return f"\nThe end of its log:\n{text or '(empty)'}"


def wait_until(binding: Binding, status: Any, timeout: Any) -> CallPlan[Sandbox]:
    """Request the sandbox until it has a status."""
    from .._api_errors import CagedNotFoundError

    if status not in _STATUSES:
        hint = did_you_mean(str(status), _STATUSES)
        raise CagedError(f"status must be one of {', '.join(_STATUSES)}, not {status!r}{hint}")
    patience = _Patience(timeout)
    while True:
        try:
            sandbox = yield from info(binding)
        except CagedNotFoundError:
            if status == "destroyed":
                return Sandbox(id=binding.sandbox_id, status="destroyed")
            raise
        if sandbox.status == status:
            return sandbox
        final = sandbox.status == "destroyed" or (sandbox.status in _FINAL and status != "destroyed")
        if final or patience.is_over:
            log = yield from _end_of_log(binding)
            if final:
                raise CagedSandboxError(
                    f"sandbox {binding.sandbox_id} is {sandbox.status} and will not be {status}{log}",
                    sandbox_id=binding.sandbox_id,
                )
            raise CagedTimeoutError(
                f"sandbox {binding.sandbox_id} is {sandbox.status}, not {status}, after {patience.limit:g} s{log}",
                timeout=patience.limit,
            )
        yield from patience.pause()


@short_tracebacks
class Waiting(Bound):
    """Waits of a bound sandbox."""

    def wait_for_port(
        self, port: int, timeout: float = PORT_WAIT_TIMEOUT, *, process: Optional[Union[Process, AsyncProcess]] = None
    ) -> str:
        """Wait until a program of the sandbox listens on a port, and return its preview URL.

        The platform has previews of the ports 80, 3000, 4200, 5000, 5173, 8000, 8080 and 8888; for others the URL is
        empty.

        Args:
            port: 1 to 65535.
            timeout: Seconds, above 0; default 30.
            process: What should listen there, of `start`. When it exits, the wait ends at once.

        Raises:
            CagedTimeoutError: Nothing listens there when the time is up. The message has the ports on which something
                does, and the end of what `process` has printed, or of the sandbox's log.
            CagedSandboxError: `process` has exited; the message has the end of what it has printed.
            CagedProcessLostError: How `process` ended is not known.
            CagedAPIError: 409, the sandbox does not run.
        """
        return self._run(wait_for_port(self._binding, port, timeout, process))

    def wait_until(self, status: SandboxStatus, timeout: float = STATUS_WAIT_TIMEOUT) -> Sandbox:
        """Wait until the sandbox has a status, and return it as it is then.

        Args:
            status: One of pending, running, paused, stopped, error, destroyed.
            timeout: Seconds, above 0; default 60.

        Raises:
            CagedTimeoutError: It has another one when the time is up. The message has the end of the sandbox's log.
            CagedSandboxError: It has one that it never leaves, such as ``error``.
            CagedNotFoundError: It does not exist, and `status` is not ``destroyed``.
        """
        return self._run(wait_until(self._binding, status, timeout))


@short_tracebacks
class AsyncWaiting(AsyncBound):
    """Waits of a bound sandbox; every method is described in `Waiting`."""

    async def wait_for_port(
        self, port: int, timeout: float = PORT_WAIT_TIMEOUT, *, process: Optional[Union[Process, AsyncProcess]] = None
    ) -> str:
        """See `Waiting.wait_for_port`."""
        return await self._run(wait_for_port(self._binding, port, timeout, process))

    async def wait_until(self, status: SandboxStatus, timeout: float = STATUS_WAIT_TIMEOUT) -> Sandbox:
        """See `Waiting.wait_until`."""
        return await self._run(wait_until(self._binding, status, timeout))
