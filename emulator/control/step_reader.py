"""Steps of an account as they are added and changed, for one reader, however slowly it reads."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Callable, Optional

from .step import Step
from .step_log import KEEP, StepLog


class StepReader:
    """Reads the steps of a log in the order of their revisions. A step that is changed again before it is read is read
    once, as it is then, so that no more waits for a slow reader than the log has.

    Args:
        log: The steps.
        since: The revision that the reader has seen.
        wanted: Which steps it reads.

    Attributes:
        ended: Set when the log was closed: the account was deleted, or the emulator stops.
    """

    def __init__(self, log: StepLog, since: int, wanted: Callable[[Step], bool]) -> None:
        self._log = log
        self._since = since
        self._wanted = wanted
        self._waiting: dict[str, Step] = {}
        self._wake = asyncio.Event()
        self.ended = asyncio.Event()
        if log.is_closed:
            self.ended.set()

    @property
    def has_ended(self) -> bool:
        return self.ended.is_set()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Read what there is, and what is added and changed during the block."""
        for step in sorted(self._log, key=lambda step: step.revision):
            if step.revision > self._since:
                self._note(step)
        with self._log.listening(self._note):
            yield

    def take(self) -> Optional[Step]:
        """Return the next step; None when there is none yet."""
        while self._waiting:
            step = self._waiting.pop(next(iter(self._waiting)))
            if self._log.get(step.id) is step:
                return step
        return None

    async def wait(self, seconds: float) -> bool:
        """Wait until there may be a step to take, or the log is closed. False: there was neither within the time."""
        self._wake.clear()
        if self._waiting or self.has_ended:
            return True
        try:
            await asyncio.wait_for(self._wake.wait(), seconds)
        except asyncio.TimeoutError:
            return False
        return True

    def _note(self, step: Optional[Step]) -> None:
        if step is None:
            self.ended.set()
        else:
            self._waiting.pop(step.id, None)
            if self._wanted(step):
                self._waiting[step.id] = step
                self._forget_removed()
        self._wake.set()

    def _forget_removed(self) -> None:
        if len(self._waiting) > 2 * KEEP:
            self._waiting = {name: step for name, step in self._waiting.items() if self._log.get(name) is step}
