"""The steps of one account, and how many of them are kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from sys import getsizeof
from typing import Any, Callable, Optional

from .step import Step

#: Kept of each account: steps, and bytes of their details. The oldest steps lose their details first.
KEEP = 10_000
KEEP_BYTES = 32 * 1024**2
#: What a step takes besides its detail, about; also one that has lost it.
STEP_BYTES = 1000
_CONTAINERS = (dict, list, tuple)
#: The detail in place of one that was dropped.
DROPPED = {"dropped": f"the steps of the account had more than {KEEP_BYTES // 1024**2} MiB of details"}


class StepLog:
    """The steps of one account, in the order in which they began."""

    def __init__(self) -> None:
        # Of a dict from whose front thousands were removed, the first key is found slowly.
        self._steps: OrderedDict[str, Step] = OrderedDict()
        #: Bytes of the details of those steps that have them, oldest first.
        self._weights: dict[str, int] = {}
        self._bytes = 0
        self._listeners: list[Callable[[Optional[Step]], None]] = []
        #: That of the step that was changed last.
        self.revision = 0
        #: How many steps were dropped because there were more than KEEP.
        self.dropped = 0
        #: Whether nothing is added any more.
        self.is_closed = False

    def __iter__(self) -> Iterator[Step]:
        return iter(list(self._steps.values()))

    def __len__(self) -> int:
        return len(self._steps)

    def get(self, step_id: str) -> Optional[Step]:
        return self._steps.get(step_id)

    def add(self, step: Step) -> None:
        """Add a step, and call the listeners."""
        if self.is_closed:
            return
        self._steps[step.id] = step
        self.changed(step)

    def changed(self, step: Step) -> None:
        """Note that a step was added or changed, and call the listeners. One that was removed stays removed."""
        if step.id not in self._steps:
            return
        self.revision += 1
        step.revision = self.revision
        self._bytes += (weight := _weight(step.detail) + STEP_BYTES) - self._weights.pop(step.id, 0)
        self._weights[step.id] = weight
        while self._bytes > KEEP_BYTES and len(self._weights) > 1:
            self._drop_detail(next(iter(self._weights)))
        while len(self._steps) > KEEP:
            oldest = next(iter(self._steps))
            self._bytes -= self._weights.pop(oldest, 0)
            del self._steps[oldest]
            self.dropped += 1
        for listener in tuple(self._listeners):
            listener(step)

    def _drop_detail(self, step_id: str) -> None:
        self._bytes -= self._weights.pop(step_id)
        self._steps[step_id].detail = dict(DROPPED)

    def clear(self) -> None:
        """Remove all steps. Revisions go on, so that a reader does not take a new step for one that it has seen."""
        self._steps.clear()
        self._weights.clear()
        self._bytes = 0

    def close(self) -> None:
        """Add nothing any more, and call the listeners with None."""
        self.is_closed = True
        for listener in tuple(self._listeners):
            listener(None)

    @contextmanager
    def listening(self, listener: Callable[[Optional[Step]], None]) -> Iterator[None]:
        """Call `listener(step)` during the block for each step that is added or changed, and `listener(None)` when the
        log is closed. It must not wait."""
        self._listeners.append(listener)
        try:
            yield
        finally:
            self._listeners.remove(listener)

    def add_listener(self, listener: Callable[[Optional[Step]], None]) -> None:
        """Call a listener, as `listening` does, until the log is gone."""
        self._listeners.append(listener)

    @property
    def listeners(self) -> int:
        """How many listeners there are."""
        return len(self._listeners)


def _weight(detail: Any) -> int:
    """About how many bytes a dict, list or tuple takes. Keys are shared, and so not counted."""
    weight = getsizeof(detail)
    for value in detail.values() if type(detail) is dict else detail:
        # Most values are texts and numbers, which need no call of this function: each step is weighed several times.
        weight += _weight(value) if type(value) in _CONTAINERS else getsizeof(value)
    return weight
