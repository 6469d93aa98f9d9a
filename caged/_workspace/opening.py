"""A sandbox for the duration of a block: what ``caged.sandboxes.open`` returns."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Generic, NoReturn, Optional, TypeVar

from .._call import Call
from .._core import Plan, perform
from .._errors import CagedError, CagedSandboxError, caused_by
from .._http import AsyncSession, Session
from .._models.sandboxes import Sandbox
from .._resources.sandboxes import destroy, logs
from .._settings import Settings
from .._tracebacks import short_tracebacks
from .async_bound_sandbox import AsyncBoundSandbox
from .bound_sandbox import BoundSandbox
from .completion import completed

_log = logging.getLogger("caged.sandboxes")

_REASON_ENTRIES = 10
_LONGEST_REASON = 2000
#: Seconds that the answer of a creation is waited for after it was cancelled.
CREATION_PATIENCE = 30.0

S = TypeVar("S", Session, AsyncSession)
B = TypeVar("B", BoundSandbox, AsyncBoundSandbox)


def creation_error(settings: Settings, sandbox: Sandbox, keep: bool) -> Plan[CagedSandboxError]:
    """The error for a sandbox that was created with status ``error``, with the reason from its log."""
    try:
        entries = yield from perform(settings, logs(sandbox.id, _REASON_ENTRIES))
        reason = "\n".join(entry.message for entry in entries).strip()[-_LONGEST_REASON:] or "its log is empty"
    except CagedError as problem:
        reason = f"its log cannot be read: {problem}"
    fate = "it was kept, because of keep=True" if keep else "it is destroyed; keep=True keeps it"
    return CagedSandboxError(
        f"sandbox {sandbox.id} could not be set up ({fate}). The end of its log:\n{reason}", sandbox_id=sandbox.id
    )


def remove(settings: Settings, sandbox_id: str, error: Optional[BaseException]) -> Plan[None]:
    """Destroy a sandbox, if it is still there.

    Args:
        error: What ends the block. It is not replaced by a failure, which is noted on it and logged.
    """
    from .._api_errors import CagedNotFoundError

    try:
        yield from perform(settings, destroy(sandbox_id))
    except CagedNotFoundError:
        pass
    except CagedError as problem:
        text = f"sandbox {sandbox_id} could not be destroyed and may still exist: {problem}"
        if error is None:
            raise caused_by(problem, CagedSandboxError(text, sandbox_id=sandbox_id)) from None
        _log.warning("%s", text)
        if hasattr(error, "add_note"):
            error.add_note(text)


class _Opening(Generic[S, B]):
    """What both kinds have.

    Args:
        call: Creates the sandbox.
        keep: Whether it is kept at the end.
    """

    def __init__(self, session: S, call: Call[Sandbox], keep: bool) -> None:
        self._session: S = session
        self._call = call
        self._keep = keep
        self._entered = False
        self._box: Optional[B] = None

    def _enter(self) -> None:
        if self._entered:
            raise CagedError("this sandbox was opened before; call sandboxes.open(...) again for another one")
        self._entered = True

    def __repr__(self) -> str:
        return f"<{type(self).__name__}, {'entered' if self._entered else 'not entered'}>"

    if not TYPE_CHECKING:  # to a checker, it would stand for every name there could be

        def __getattr__(self, name: str) -> NoReturn:
            raise AttributeError(
                f"the sandbox does not exist yet, and has no attribute {name!r}; enter it: "
                f"`{self._statement} caged.sandboxes.open(...) as box:`, and use box"
            )


@short_tracebacks
class SandboxOpening(_Opening[Session, BoundSandbox], AbstractContextManager[BoundSandbox]):
    """A sandbox that is created when a ``with`` block begins, and destroyed when it ends."""

    _statement = "with"

    def __enter__(self) -> BoundSandbox:
        self._enter()
        sandbox = self._session.send(self._call)
        self._box = BoundSandbox(self._session, sandbox, keep=self._keep)
        if sandbox.status == "error":
            try:
                raise self._session.run(creation_error(self._session.settings, sandbox, self._keep))
            except BaseException as error:
                self._leave(error)
                raise
        return self._box

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self._leave(error)

    def _leave(self, error: Optional[BaseException]) -> None:
        box = self._box
        if box is not None and not box.keep:
            self._session.run(remove(self._session.settings, box.id, error))


@short_tracebacks
class AsyncSandboxOpening(_Opening[AsyncSession, AsyncBoundSandbox], AbstractAsyncContextManager[AsyncBoundSandbox]):
    """A sandbox that is created when an ``async with`` block begins, and destroyed when it ends."""

    _statement = "async with"

    async def __aenter__(self) -> AsyncBoundSandbox:
        self._enter()
        task, cancelled = await completed(self._session.send(self._call), CREATION_PATIENCE)
        if task.cancelled():
            _log.warning(
                "the creation of a sandbox was cancelled, and had no answer within %g s: the sandbox may exist",
                CREATION_PATIENCE,
            )
            raise asyncio.CancelledError
        if cancelled and task.exception() is not None:
            raise asyncio.CancelledError
        sandbox = task.result()
        self._box = AsyncBoundSandbox(self._session, sandbox, keep=self._keep)
        try:
            if cancelled:
                raise asyncio.CancelledError
            if sandbox.status == "error":
                raise await self._session.run(creation_error(self._session.settings, sandbox, self._keep))
        except BaseException as error:
            await self._leave(error)
            raise
        return self._box

    async def __aexit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        await self._leave(error)

    async def _leave(self, error: Optional[BaseException]) -> None:
        box = self._box
        if box is None or box.keep:
            return
        task, cancelled = await completed(self._session.run(remove(self._session.settings, box.id, error)))
        if cancelled and error is None:
            raise asyncio.CancelledError
        task.result()
