"""What a bound sandbox is and the calls by id, without the id."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic, Optional, TypeVar, Union, overload

from .. import _arguments as arguments
from .._core import CallPlan, perform
from .._errors import CagedError
from .._literals import SandboxStatus
from .._models.sandboxes import ExecResult, LogEntry, Port, Sandbox
from .._resources import sandbox_calls as sandboxes
from .._tracebacks import short_tracebacks
from .binding import AsyncBound, Binding, Bound
from .failed_creation import remove

T = TypeVar("T")


class CachedField(Generic[T]):
    """A field of `Sandbox`, as the API last answered; it is read without a request."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    if TYPE_CHECKING:

        @overload
        def __get__(self, box: None, owner: type) -> CachedField[T]: ...
        @overload
        def __get__(self, box: Union[Bound, AsyncBound], owner: type) -> T: ...

    def __get__(self, box: Any, owner: type) -> Any:
        if box is None:
            return self
        sandbox = box._binding.sandbox
        if sandbox is None:
            raise CagedError(f"{self._name} of sandbox {box.id} is not known yet; call info() first")
        return getattr(sandbox, self._name)


class SandboxAttributes:
    """What a bound sandbox knows without a request.

    The fields are those of `Sandbox`, and described there. They are as old as the last answer of `create`, `get` or
    `info`; `pause`, `resume`, `destroy` and the end of the block set `status`. To read one before the first answer,
    which is so after ``bind(sandbox_id)``, is a `CagedError`.
    """

    _binding: Binding

    status: CachedField[SandboxStatus] = CachedField()
    template: CachedField[str] = CachedField()
    ip: CachedField[Optional[str]] = CachedField()
    cpus: CachedField[int] = CachedField()
    memory_mb: CachedField[int] = CachedField()
    disk_gb: CachedField[int] = CachedField()
    network_mode: CachedField[str] = CachedField()
    repo_url: CachedField[Optional[str]] = CachedField()
    budget: CachedField[Optional[float]] = CachedField()
    init_script: CachedField[Optional[str]] = CachedField()
    timeout: CachedField[Optional[int]] = CachedField()
    config: CachedField[Optional[dict[str, Any]]] = CachedField()
    created_at: CachedField[str] = CachedField()
    started_at: CachedField[Optional[str]] = CachedField()
    stopped_at: CachedField[Optional[str]] = CachedField()
    cost: CachedField[float] = CachedField()
    llm_cost: CachedField[float] = CachedField()
    total_cost: CachedField[float] = CachedField()

    @property
    def keep(self) -> bool:
        """Whether the end of the ``with`` block leaves the sandbox alone; may be set in the block. True for a sandbox
        that no block has opened."""
        return self._binding.opened is None or self._binding.opened.keep

    @keep.setter
    def keep(self, keep: bool) -> None:
        arguments.boolean("keep", keep)
        if self._binding.opened is not None:
            self._binding.opened.keep = keep
        elif not keep:
            raise CagedError(f"sandbox {self._binding.sandbox_id} was not opened by a block; call destroy() at the end")


def info(binding: Binding) -> CallPlan[Sandbox]:
    """Look the sandbox up."""
    sandbox = yield from perform(binding.settings, sandboxes.get(binding.sandbox_id))
    binding.sandbox = sandbox
    return sandbox


def pause(binding: Binding) -> CallPlan[None]:
    yield from perform(binding.settings, sandboxes.pause(binding.sandbox_id))
    _set_status(binding, "paused")


def resume(binding: Binding) -> CallPlan[None]:
    yield from perform(binding.settings, sandboxes.resume(binding.sandbox_id))
    _set_status(binding, "running")


def destroy(binding: Binding) -> CallPlan[None]:
    yield from perform(binding.settings, sandboxes.destroy(binding.sandbox_id))
    _set_status(binding, "destroyed")


def leave(binding: Binding, error: Optional[BaseException]) -> CallPlan[None]:
    """Destroy the sandbox at the end of its block, if it is still there.

    Args:
        error: See `remove`.
    """
    if (yield from remove(binding.settings, binding.sandbox_id, error)):
        _set_status(binding, "destroyed")


def _set_status(binding: Binding, status: SandboxStatus) -> None:
    if binding.sandbox is not None:
        binding.sandbox = replace(binding.sandbox, status=status)


@short_tracebacks
class Lifecycle(Bound, SandboxAttributes):
    """The calls of ``caged.sandboxes`` for a bound sandbox."""

    def info(self) -> Sandbox:
        """The sandbox as it is now. Its fields become the attributes of this object.

        Raises:
            CagedNotFoundError: It is unknown or destroyed.
        """
        return self._run(info(self._binding))

    def exec(self, command: str, *, timeout: Optional[float] = None) -> ExecResult:
        """Run a shell command by the API's own call: one merged text as output. See `Sandboxes.exec`, and `run`.

        Args:
            command: For ``bash -c``, in ``/workspace``.
            timeout: Seconds to wait for the answer, default 300; the command goes on.

        Raises:
            CagedTimeoutError: No answer in time.
        """
        return self._session.send(sandboxes.exec_(self.id, command, timeout))

    def logs(self, tail: Optional[int] = None) -> list[LogEntry]:
        """The newest entries of the sandbox's log, oldest first.

        Args:
            tail: How many; None means the platform's 100.

        Raises:
            CagedNotFoundError: The sandbox does not exist.
        """
        return self._session.send(sandboxes.logs(self.id, tail))

    def ports(self) -> list[Port]:
        """The ports on which the sandbox's programs listen, with their preview URLs.

        Raises:
            CagedNotFoundError: The sandbox does not exist.
            CagedAPIError: 409, it is not running.
        """
        return self._session.send(sandboxes.ports(self.id))

    def pause(self) -> None:
        """Pause the sandbox; it costs nothing until it is resumed.

        Raises:
            CagedAPIError: 409, it is not running.
        """
        self._run(pause(self._binding))

    def resume(self) -> None:
        """Resume the paused sandbox.

        Raises:
            CagedAPIError: 409, it is not paused, or its budget is spent.
        """
        self._run(resume(self._binding))

    def destroy(self) -> None:
        """Delete the sandbox and everything in it, for good; its snapshots stay.

        The end of a ``with`` block does it, too, and accepts that it is done.

        Raises:
            CagedNotFoundError: It is destroyed already.
        """
        self._run(destroy(self._binding))


@short_tracebacks
class AsyncLifecycle(AsyncBound, SandboxAttributes):
    """The calls of ``caged.sandboxes`` for a bound sandbox; every method is described in `Lifecycle`."""

    async def info(self) -> Sandbox:
        """See `Lifecycle.info`."""
        return await self._run(info(self._binding))

    async def exec(self, command: str, *, timeout: Optional[float] = None) -> ExecResult:
        """See `Lifecycle.exec`."""
        return await self._session.send(sandboxes.exec_(self.id, command, timeout))

    async def logs(self, tail: Optional[int] = None) -> list[LogEntry]:
        """See `Lifecycle.logs`."""
        return await self._session.send(sandboxes.logs(self.id, tail))

    async def ports(self) -> list[Port]:
        """See `Lifecycle.ports`."""
        return await self._session.send(sandboxes.ports(self.id))

    async def pause(self) -> None:
        """See `Lifecycle.pause`."""
        await self._run(pause(self._binding))

    async def resume(self) -> None:
        """See `Lifecycle.resume`."""
        await self._run(resume(self._binding))

    async def destroy(self) -> None:
        """See `Lifecycle.destroy`."""
        await self._run(destroy(self._binding))
