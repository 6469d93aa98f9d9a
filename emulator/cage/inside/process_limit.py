"""The limit on the number of processes of one sandbox, as far as init has to enforce it.

Where the kernel limits the processes of a sandbox (`limits.py`), init only explains why a command could not be
started. Elsewhere it counts them at intervals, and ends all of them when there are too many: no command that could
end them could be started any more.
"""

from __future__ import annotations

import errno
import signal
import time

from . import processes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Optional

#: Processes that must be free for a command to be started, since it usually needs more than one.
RESERVED = 16
#: Seconds for which a count of less than half of the limit holds: many commands may be started at the same time, and a
#: count takes as long as the start of one.
_FEW_SECONDS = 0.02


class ProcessLimit:
    """Counts the processes of a sandbox, and ends them when there are too many.

    Args:
        limit: The highest number of processes at a time; 0 for no limit.
        tree: The processes of the sandbox.
        kill_all: Kill all of them.
        report: Called with the number of processes before all of them are ended.
    """

    def __init__(
        self,
        limit: int,
        tree: processes.ProcessTree,
        kill_all: Callable[[], object],
        report: Callable[[int], None],
    ) -> None:
        self._limit = limit
        self._tree = tree
        self._kill_all = kill_all
        self._report = report
        #: The number of processes above which `enforce` ends them; None where the kernel limits them.
        self.watched: Optional[int] = None
        #: Until when `make_room` does not count again.
        self._few_until = 0.0
        self._counts_cheaply = isinstance(tree, processes.ProcessTable)

    def enforce(self) -> None:
        """End all processes if there are more than `watched`."""
        if not self.watched:
            return
        count = len(self._tree.all_pids())
        if count > self.watched:
            self._end_all(count)

    def make_room(self) -> Optional[str]:
        """End all processes if a new command could start hardly any of its own.

        Returns:
            Why the command must not be started; None when it may be.
        """
        if not (self._limit and self._counts_cheaply) or time.monotonic() < self._few_until:
            return None
        count = len(self._tree.all_pids()) if processes.has_children() else 0
        if self._is_reached(count):
            return self._end_all(count)
        if count < self._limit // 2:
            self._few_until = time.monotonic() + _FEW_SECONDS
        return None

    def explain(self, error: Exception) -> str:
        """Return why a command could not be started, after ending all processes if there were too many."""
        count = self._tree.count_tasks() if isinstance(error, OSError) and error.errno == errno.EAGAIN else 0
        return self._end_all(count) if self._is_reached(count) else str(error)

    def _is_reached(self, count: int) -> bool:
        return bool(self._limit) and count >= self._limit - RESERVED

    def _end_all(self, count: int) -> str:
        self._tree.signal_all(signal.SIGSTOP)  # so that they do not multiply while they are killed
        self._kill_all()
        self._report(count)
        return (
            f"the sandbox had {count} processes and threads, and its limit is {self._limit}: all of them were ended so"
            " that it can be used again; repeat the command, and start fewer at a time"
        )
