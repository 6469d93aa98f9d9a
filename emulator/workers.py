"""Threads for blocking work, by kind of work, shared fairly between accounts.

Each kind has threads of its own, so that reading a small file never waits for a large copy. Within a kind the accounts
take turns, and no account has more than its share of the threads, so that one account's work never keeps another's
waiting. Work that may take long calls `checkpoint` again and again: that is where it ends when it is stopped, and where
it lets the event loop run.
"""

from __future__ import annotations

import asyncio
import errno
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import IO, Any, Callable, Optional, TypeVar

from .control.current_account import current
from .emulator_log import context_for_thread

T = TypeVar("T")

#: By kind of work: the threads, and how many of them one account may use at once.
THREADS: dict[str, tuple[int, int]] = {
    "small": (32, 8),  # reads and writes of one file, settings
    "walk": (24, 3),  # whatever looks at many files, or makes a large answer: listings, searches, sizes, removals
    "copy": (32, 3),  # snapshots, restores, downloads
}
#: Calls of one account and kind that may wait for a thread.
MOST_WAITING = 10_000
#: How long an idle thread is kept.
IDLE_SECONDS = 10.0
#: How long a stopped call is waited for: it ends at its next checkpoint.
STOP_SECONDS = 5.0
#: At a checkpoint, a thread that has been computing for so long releases the interpreter lock for a moment. Otherwise
#: the event loop would wait for the lock after each of its system calls.
COMPUTING_SECONDS = 0.002
_PAUSE_SECONDS = 0.0002


class CallStopped(OSError):
    """The call was stopped before it was done."""

    def __init__(self, why: str) -> None:
        super().__init__(errno.ECANCELED, why)

    def __reduce__(self) -> tuple[type[CallStopped], tuple[str]]:
        return CallStopped, (str(self),)

    def __str__(self) -> str:
        return str(self.strerror)


class TooManyCalls(OSError):
    """Too many calls of the account wait already."""

    def __init__(self) -> None:
        super().__init__(errno.EAGAIN, f"{MOST_WAITING:,} calls of this account wait for a thread already")


class StopToken:
    """Stops a call, before it begins or at its next checkpoint."""

    def __init__(self) -> None:
        self.reason: Optional[str] = None

    def set(self, reason: str) -> None:
        """Stop the call. The first reason counts."""
        self.reason = self.reason or reason


@dataclass(eq=False)
class _Job:
    owner: str
    call: Callable[[], Any]
    context: Context
    stop: StopToken
    deliver: Callable[[Any, Optional[BaseException]], None]
    computing_since: float = field(default=0.0)


_local = threading.local()


def checkpoint() -> None:
    """In a thread of a `Pool`, raise CallStopped if the call was stopped, and release the interpreter lock if it was
    held for long. Anywhere else, do nothing."""
    job: Optional[_Job] = getattr(_local, "job", None)
    if job is None:
        return
    if job.stop.reason is not None:
        raise CallStopped(job.stop.reason)
    if time.monotonic() - job.computing_since > COMPUTING_SECONDS:
        time.sleep(_PAUSE_SECONDS)
        job.computing_since = time.monotonic()


@contextmanager
def stoppable(stop: StopToken) -> Iterator[None]:
    """In a thread that belongs to no pool, let `stop` end what runs in the block at its next checkpoint."""
    job = _Job("", lambda: None, copy_context(), stop, lambda result, error: None, time.monotonic())
    _local.job = job
    try:
        yield
    finally:
        _local.job = None


class StoppableFile:
    """A file that is read in a thread of a `Pool`, with a checkpoint before each piece."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, count: int = -1) -> bytes:
        checkpoint()
        return self._file.read(count)


class Pool:
    """The threads of one kind of work. `run` belongs to the event loop."""

    def __init__(self, kind: str, threads: int, share: int) -> None:
        self._kind = kind
        self._most = threads
        self._share = share
        self._changed = threading.Condition()
        #: The waiting calls by account; the account whose turn it is comes first.
        self._waiting: OrderedDict[str, deque[_Job]] = OrderedDict()
        self._running: dict[str, set[_Job]] = {}
        #: `_woken`: the idle threads that were notified and are not running yet.
        self._threads = self._idle = self._woken = 0
        #: Why calls are refused; None while the pool is open.
        self._closed: Optional[str] = None

    async def run(self, call: Callable[..., T], *args: Any, stop: Optional[StopToken] = None) -> T:
        """Return the result of `call(*args)`, made in a thread. When the caller is cancelled, the call is stopped and
        waited for, up to STOP_SECONDS.

        Args:
            stop: With it others can stop the call.

        Raises:
            CallStopped: It was stopped by `stop`, or the pool was closed.
            TooManyCalls: MOST_WAITING calls of the account wait already.
        """
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[T] = loop.create_future()

        def settle(result: Any, error: Optional[BaseException]) -> None:
            if outcome.done():
                return
            if error is None:
                outcome.set_result(result)
            elif isinstance(error, StopIteration):  # which no future can hold
                outcome.set_exception(RuntimeError(f"StopIteration: {error}"))
            else:
                outcome.set_exception(error)

        def deliver(result: Any, error: Optional[BaseException]) -> None:
            try:
                loop.call_soon_threadsafe(settle, result, error)
            except RuntimeError:
                pass  # the loop is closed: the emulator has ended

        job = _Job(current(), lambda: call(*args), context_for_thread(), stop or StopToken(), deliver)
        self._put(job)
        try:
            return await asyncio.shield(outcome)
        except asyncio.CancelledError:
            job.stop.set("its caller was cancelled")
            if not self._withdraw(job):
                await asyncio.wait({outcome}, timeout=STOP_SECONDS)
            if outcome.done() and not outcome.cancelled():
                outcome.exception()  # seen, so that asyncio does not log it
            raise

    def close(self, reason: str) -> None:
        """Stop all calls, and refuse new ones. The threads are not waited for."""
        with self._changed:
            self._closed = reason
            self._changed.notify_all()
            waiting = [job for jobs in self._waiting.values() for job in jobs]
            self._waiting.clear()
            running = [job for jobs in self._running.values() for job in jobs]
        for job in running:
            job.stop.set(reason)
        for job in waiting:
            job.deliver(None, CallStopped(reason))

    def _put(self, job: _Job) -> None:
        with self._changed:
            if self._closed is not None:
                raise CallStopped(self._closed)
            jobs = self._waiting.get(job.owner)
            if jobs is None:
                jobs = self._waiting[job.owner] = deque()
            if len(jobs) >= MOST_WAITING:
                raise TooManyCalls
            jobs.append(job)
            if len(self._running.get(job.owner, ())) >= self._share:
                return  # taken by the thread that finishes one of the account's calls
            if self._idle > self._woken:
                self._woken += 1
                self._changed.notify()
            elif self._threads < self._most:
                self._threads += 1
                threading.Thread(target=self._work, name=f"caged-{self._kind}", daemon=True).start()

    def _withdraw(self, job: _Job) -> bool:
        """Remove a call that has not begun. Return False when it has."""
        with self._changed:
            jobs = self._waiting.get(job.owner)
            if jobs is None or job not in jobs:
                return False
            jobs.remove(job)
            if not jobs:
                del self._waiting[job.owner]
            return True

    def _next(self) -> Optional[_Job]:
        """Return the call whose turn it is; its account goes to the end of the queue."""
        for owner, jobs in self._waiting.items():
            if len(self._running.get(owner, ())) < self._share:
                job = jobs.popleft()
                self._waiting.move_to_end(owner)
                if not jobs:
                    del self._waiting[owner]
                self._running.setdefault(owner, set()).add(job)
                return job
        return None

    def _wait_for_job(self) -> Optional[_Job]:
        """Return the next call; None when the thread is not needed any more."""
        with self._changed:
            deadline = time.monotonic() + IDLE_SECONDS
            while True:
                job = None if self._closed is not None else self._next()
                if job is not None:
                    return job
                left = deadline - time.monotonic()
                if self._closed is not None or left <= 0:
                    self._threads -= 1
                    return None
                self._idle += 1
                self._changed.wait(left)
                self._idle -= 1
                self._woken = max(0, self._woken - 1)

    def _done(self, job: _Job) -> None:
        with self._changed:
            running = self._running[job.owner]
            running.discard(job)
            if not running:
                del self._running[job.owner]

    def _work(self) -> None:
        while True:
            job = self._wait_for_job()
            if job is None:
                return
            result, error = None, None
            _local.job = job
            job.computing_since = time.monotonic()
            try:
                if job.stop.reason is not None:
                    raise CallStopped(job.stop.reason)
                result = job.context.run(job.call)
            except BaseException as failure:
                error = failure
            finally:
                _local.job = None
                self._done(job)
            job.deliver(result, error)
            del job, result, error  # not kept alive while the thread waits


class Workers:
    """The pools of one emulator."""

    def __init__(self) -> None:
        self.small, self.walk, self.copy = (Pool(kind, *THREADS[kind]) for kind in ("small", "walk", "copy"))

    def close(self) -> None:
        """Close all pools."""
        for pool in (self.small, self.walk, self.copy):
            pool.close("the emulator has ended")
