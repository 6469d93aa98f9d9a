"""A sandbox for the duration of a block: what ``caged.sandboxes.open`` returns."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Generic, NoReturn, Optional, TypeVar

from .._call import Call
from .._errors import CagedError
from .._http import AsyncSession, Session
from .._models.sandboxes import Sandbox
from .._tracebacks import short_tracebacks
from .async_bound_sandbox import AsyncBoundSandbox
from .binding import OpenBlock
from .bound_sandbox import BoundSandbox
from .cancellation import completed
from .failed_creation import CREATION_PATIENCE, creation_error
from .lifecycle import leave

_log = logging.getLogger("caged.sandboxes")

S = TypeVar("S", Session, AsyncSession)
B = TypeVar("B", BoundSandbox, AsyncBoundSandbox)


class _Opening(Generic[S, B]):
    """What both kinds have.

    Args:
        call: Creates the sandbox.
        keep: Whether it is kept at the end.
    """

    def __init__(self, session: S, call: Call[Sandbox], keep: bool) -> None:
        self._session: S = session
        self._call = call
        self._opened = OpenBlock(keep, call.body or {})
        self._fate = "it was kept, because of keep=True" if keep else "it is destroyed; keep=True keeps it"
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
        self._box = BoundSandbox(self._session, sandbox, self._opened)
        if sandbox.status == "error":
            try:
                raise self._session.run(creation_error(self._session.settings, sandbox, self._fate))
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
            self._session.run(leave(box._binding, error))


@short_tracebacks
class AsyncSandboxOpening(_Opening[AsyncSession, AsyncBoundSandbox], AbstractAsyncContextManager[AsyncBoundSandbox]):
    """A sandbox that is created when an ``async with`` block begins, and destroyed when it ends."""

    _statement = "async with"

    async def __aenter__(self) -> AsyncBoundSandbox:
        self._enter()
        task, cancellation = await completed(self._session.send(self._call), CREATION_PATIENCE)
        if task.cancelled():
            _log.warning(
                "the creation of a sandbox was cancelled, and had no answer within %g s: the sandbox may exist",
                CREATION_PATIENCE,
            )
        if cancellation is not None and (task.cancelled() or task.exception() is not None):
            raise cancellation
        sandbox = task.result()
        self._box = AsyncBoundSandbox(self._session, sandbox, self._opened)
        try:
            if cancellation is not None:
                raise cancellation
            if sandbox.status == "error":
                raise await self._session.run(creation_error(self._session.settings, sandbox, self._fate))
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
        task, cancellation = await completed(self._session.run(leave(box._binding, error)))
        if cancellation is not None and not isinstance(error, asyncio.CancelledError):
            if not task.cancelled():
                task.exception()  # seen
            raise cancellation
        task.result()
