"""The log of one emulator, collected from the standard `logging` module.

Modules of the emulator log with `logging.getLogger(__name__)`, so every logger is a child of `caged.emulator`. A
process may have several emulators; each adds one handler there, an `EmulatorLog`, which takes only the records of its
own emulator. A record belongs to the emulator whose event loop is running; in a thread without such a loop, to the one
that the context names (a context variable, which the emulator's worker threads inherit).

Records do not reach the root logger: an emulator inside a test suite prints nothing and does not appear in pytest's
`caplog`. To see them elsewhere, add a handler to the logger `caged.emulator`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from typing import Callable, NamedTuple, Optional

from .control.clock import Clock
from .control.current_account import ALL_ACCOUNTS, current
from .control.journal import cut

#: Lines that an emulator keeps in memory, and characters of a line.
LOG_LINES, LOG_CHARACTERS = 1000, 16 * 1024

_PACKAGE = __name__.rpartition(".")[0]
logging.getLogger(_PACKAGE.rpartition(".")[0])  # made later, it would become the parent again
_package_logger = logging.getLogger(_PACKAGE)
# Not `propagate = False`: to a logger that does not propagate, pytest (since 9.2) adds its own handlers.
_package_logger.parent = None
_package_logger.addHandler(logging.NullHandler())  # without any, `logging` prints warnings to stderr
if _package_logger.level == logging.NOTSET:
    _package_logger.setLevel(logging.INFO)  # else the root logger's level, WARNING, would apply

_selected: ContextVar[Optional[EmulatorLog]] = ContextVar("caged_emulator_log", default=None)
_of_loop: dict[asyncio.AbstractEventLoop, EmulatorLog] = {}


class LogOutput(NamedTuple):
    """Where lines of an emulator's log go: `write` is called with each whose level is at least `level`."""

    write: Callable[[str], None]
    level: int = logging.NOTSET


class EmulatorLog(logging.Handler):
    """Keeps the newest lines of one emulator's log, and passes each line on to the outputs.

    Args:
        clock: The emulator's clock; a line begins with the time of the account that it is about.
        outputs: What gets each line besides.
    """

    def __init__(self, clock: Clock, outputs: Sequence[LogOutput] = ()) -> None:
        super().__init__()
        self._clock = clock
        #: Each line with the id of the account that it is about; empty: the emulator itself.
        self._lines: deque[tuple[str, str]] = deque(maxlen=LOG_LINES)
        self._outputs = outputs
        _enable_loggers()
        _package_logger.addHandler(self)

    def use_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take the records of everything that runs on `loop`, until `detach`."""
        _of_loop[loop] = self

    @contextmanager
    def selected(self) -> Iterator[None]:
        """Take the records of the block, where it does not run on an emulator's event loop."""
        token = _selected.set(self)
        try:
            yield
        finally:
            _selected.reset(token)

    def detach(self) -> None:
        """Take no more records. The lines stay. Harmless to repeat."""
        _package_logger.removeHandler(self)
        for loop in [loop for loop, log in list(_of_loop.items()) if log is self]:
            _of_loop.pop(loop, None)

    def tail(self, count: int, account: str = ALL_ACCOUNTS) -> list[str]:
        """Return the newest lines, oldest first.

        Args:
            count: How many at most.
            account: Only lines about this account or about the emulator itself; `*`: all lines.
        """
        lines = [line for about, line in list(self._lines) if account in (about, ALL_ACCOUNTS) or not about]
        return lines[-count:]

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record belongs to this emulator."""
        return _current() is self and bool(super().filter(record))

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = cut(self.format(record), LOG_CHARACTERS)
            line = f"{self._clock.timestamp()} {record.levelname.lower()}: {text}"
            self._lines.append((current(), line))
            for output in self._outputs:
                if record.levelno >= output.level:
                    output.write(line)
        except Exception:
            self.handleError(record)


def context_for_thread() -> Context:
    """A copy of the current context, for a thread that works for the emulator whose event loop is running."""
    context = copy_context()
    context.run(_selected.set, _current())
    return context


def _current() -> Optional[EmulatorLog]:
    """The log of the emulator that is at work here, if any."""
    # The loop comes first: a call from another thread brings that thread's context along.
    log = _of_loop.get(asyncio._get_running_loop()) if _of_loop else None  # type: ignore[arg-type]
    return log if log is not None else _selected.get()


def _enable_loggers() -> None:
    """Undo what `logging.config.dictConfig` does by default to the loggers that exist when it is called."""
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if isinstance(logger, logging.Logger) and (name + ".").startswith(f"{_PACKAGE}."):
            logger.disabled = False
