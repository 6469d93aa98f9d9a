"""Ready-made sandboxes: built before they are requested, so that a create only has to assign one.

A ready-made sandbox has its directory and its init behind its isolation, and nothing else: it belongs to no account,
has run no command, and is in no list. What cannot be changed after the start of a sandbox is its *kind*, so that a
request gets one of exactly the kind that would be started for it.

An emulator that creates few sandboxes has none of them: how many are kept follows the recent requests. They are built
one at a time, a moment after the last create, and are removed when none was requested for a while, and when something
else needs their descriptors.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import deque
from collections.abc import Awaitable, Hashable
from dataclasses import dataclass
from typing import Callable, Generic, Optional, TypeVar

from .. import descriptors
from .init_client import InitClient, SandboxGone
from .paths import Layout
from .zygote import ZygoteError

logger = logging.getLogger(__name__)

#: How many are kept at most: of one kind, and of all kinds.
MOST_OF_KIND, MOST = 4, 8
#: Seconds in which requests are counted.
COUNTED_SECONDS = 10.0
#: Requests of a kind that are served without keeping a sandbox ready.
REQUESTS_BEFORE = 1
#: Further requests for each sandbox that is kept ready.
REQUESTS_FOR_ONE = 2
#: Seconds after a request before one is built, and the longest that further requests can put that off.
BUILD_DELAY, LONGEST_DELAY = 0.02, 0.2
#: Seconds without a request after which those of a kind are removed.
IDLE_SECONDS = 30.0
#: Kinds whose requests are counted; the one that was not requested for the longest time is forgotten first.
MOST_KINDS = 16

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True)
class ReadySandbox:
    """A sandbox that belongs to nothing yet.

    Attributes:
        id: Its temporary id, which is its host name.
        layout: Its directory.
        init: The client of its init.
        listening: The socket on which init listens for the proxy, if it has one.
    """

    id: str
    layout: Layout
    init: InitClient
    listening: Optional[socket.socket]

    @property
    def descriptors(self) -> int:
        """How many descriptors of this process it holds."""
        return self.init.descriptors + (self.listening is not None)


class _KindPool:
    """The ready-made sandboxes of one kind, and when some were requested."""

    def __init__(self) -> None:
        self.ready: deque[ReadySandbox] = deque()
        self.requests: deque[float] = deque(maxlen=REQUESTS_BEFORE + REQUESTS_FOR_ONE * MOST_OF_KIND)

    def wanted(self, now: float) -> int:
        """How many to keep."""
        while self.requests and self.requests[0] < now - COUNTED_SECONDS:
            self.requests.popleft()
        return max(0, len(self.requests) - REQUESTS_BEFORE) // REQUESTS_FOR_ONE


class SandboxPool(Generic[K]):
    """The ready-made sandboxes of one emulator.

    Args:
        build: Builds one of a kind. It leaves nothing when it fails.
        discard: Ends one, and removes its directory.
    """

    def __init__(
        self, build: Callable[[K], Awaitable[ReadySandbox]], discard: Callable[[ReadySandbox], Awaitable[None]]
    ) -> None:
        self._build = build
        self._discard = discard
        self._by_kind: dict[K, _KindPool] = {}  # the one that was requested last is the last
        self._timer: Optional[asyncio.TimerHandle] = None
        self._idle_timer: Optional[asyncio.TimerHandle] = None
        self._put_off_until = 0.0
        self._building: Optional[asyncio.Task[None]] = None
        self._discarding: set[asyncio.Task[None]] = set()
        self._is_closed = False

    def __len__(self) -> int:
        return sum(len(pool.ready) for pool in self._by_kind.values())

    @property
    def ready(self) -> list[ReadySandbox]:
        """The ready-made sandboxes of all kinds."""
        return [one for pool in self._by_kind.values() for one in pool.ready]

    @property
    def kinds(self) -> list[K]:
        """The kinds whose requests are counted, the one that was requested last at the end."""
        return list(self._by_kind)

    @property
    def is_settled(self) -> bool:
        """Whether none is being built or removed, nor will be until the next request or the end of the idle time."""
        return self._timer is None and self._building is None and not self._discarding

    @property
    def descriptors(self) -> int:
        """How many descriptors of this process they hold."""
        return sum(one.descriptors for one in self.ready)

    def take(self, kind: K) -> Optional[ReadySandbox]:
        """Note a request, and return a ready-made sandbox whose init runs, if there is one. It is the caller's now."""
        if self._is_closed:
            return None
        now = asyncio.get_running_loop().time()
        pool = self._by_kind.pop(kind, None) or _KindPool()
        self._by_kind[kind] = pool
        pool.requests.append(now)
        self._forget_kinds()
        self._schedule(now)
        while pool.ready:
            found = pool.ready.popleft()
            if found.init.is_connected():
                return found
            self._start_discarding(found)
        return None

    def lose(self, init: InitClient) -> None:
        """Remove a ready-made sandbox whose init has ended."""
        for pool in self._by_kind.values():
            for one in list(pool.ready):
                if one.init is init:
                    pool.ready.remove(one)
                    self._start_discarding(one)

    def _forget_kinds(self) -> None:
        while len(self._by_kind) > MOST_KINDS:
            self._empty(self._by_kind.pop(next(iter(self._by_kind))))

    # --- building

    def _schedule(self, now: float) -> None:
        """Build what is wanted in a moment: later when there is another request before that."""
        loop = asyncio.get_running_loop()
        if self._timer is None:
            self._put_off_until = now + LONGEST_DELAY
        else:
            self._timer.cancel()
        self._timer = loop.call_at(min(now + BUILD_DELAY, self._put_off_until), self._start_building)
        if self._idle_timer is None:
            self._idle_timer = loop.call_at(now + IDLE_SECONDS, self._empty_idle)

    def _start_building(self) -> None:
        self._timer = None
        if self._building is None and not self._is_closed:
            self._building = asyncio.get_running_loop().create_task(self._build_wanted())
            self._building.add_done_callback(self._finish_building)

    async def _build_wanted(self) -> None:
        while True:
            now = asyncio.get_running_loop().time()
            lacking = [kind for kind, pool in self._by_kind.items() if len(pool.ready) < pool.wanted(now)]
            if not lacking or not descriptors.has_room_for_ready():
                return
            kind = lacking[-1]
            if len(self) >= MOST and not self._make_room(kind):
                return
            try:
                built = await self._build(kind)
            except (OSError, SandboxGone, ZygoteError) as error:
                logger.info("no sandbox could be made in advance: %s", error)
                if kind in self._by_kind:
                    self._by_kind[kind].requests.clear()  # a create will say why
                continue
            pool = self._by_kind.get(kind)
            if pool is None or not built.init.is_connected():
                self._start_discarding(built)
            else:
                pool.ready.append(built)

    def _make_room(self, kind: K) -> bool:
        """Remove one of the kind that was not requested for the longest time. Returns False where that is `kind`."""
        for other, pool in self._by_kind.items():
            if other == kind:
                return False
            if pool.ready:
                self._start_discarding(pool.ready.popleft())
                pool.requests.clear()
                return True
        return False

    def _finish_building(self, task: asyncio.Task[None]) -> None:
        self._building = None
        if not task.cancelled() and task.exception() is not None:
            logger.error("making sandboxes in advance failed", exc_info=task.exception())

    # --- removing

    def _empty_idle(self) -> None:
        """Remove those of the kinds that were not requested for a while."""
        self._idle_timer = None
        if self._is_closed:
            return
        loop = asyncio.get_running_loop()
        last = 0.0
        for kind, pool in list(self._by_kind.items()):
            if not pool.requests or pool.requests[-1] <= loop.time() - IDLE_SECONDS:
                self._empty(self._by_kind.pop(kind))
            else:
                last = max(last, pool.requests[-1])
        if self._by_kind:
            self._idle_timer = loop.call_at(last + IDLE_SECONDS, self._empty_idle)

    def _empty(self, pool: _KindPool) -> None:
        while pool.ready:
            self._start_discarding(pool.ready.popleft())

    def start_releasing(self) -> None:
        """Begin to remove all. Others are made when more are requested."""
        if self._building is not None:
            self._building.cancel()
        for pool in self._by_kind.values():
            pool.requests.clear()
            self._empty(pool)

    async def release(self) -> None:
        """Remove all, so that others have their descriptors. Others are made when more are requested."""
        building = [] if self._building is None else [self._building]
        self.start_releasing()
        await asyncio.gather(*building, *self._discarding, return_exceptions=True)

    def _start_discarding(self, one: ReadySandbox) -> None:
        async def discard() -> None:
            try:
                await self._discard(one)
            except OSError as error:
                logger.warning("%s cannot be removed: %s", one.layout.directory, error)

        task = asyncio.get_running_loop().create_task(discard())
        self._discarding.add(task)
        task.add_done_callback(self._discarding.discard)

    async def close(self) -> None:
        """Remove all, and keep none from now on. Bounded by what it takes to stop them."""
        self._is_closed = True
        for timer in (self._timer, self._idle_timer):
            if timer is not None:
                timer.cancel()
        self._timer = self._idle_timer = None
        if self._building is not None:
            self._building.cancel()
            await asyncio.gather(self._building, return_exceptions=True)
        for pool in self._by_kind.values():
            self._empty(pool)
        self._by_kind.clear()
        await asyncio.gather(*self._discarding, return_exceptions=True)
