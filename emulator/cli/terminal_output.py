"""What the command line may write to a terminal and to nothing else: colours, and the progress of long work."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, Callable

#: Seconds that something takes before its progress is shown, and between two updates.
DELAY, INTERVAL = 0.5, 0.2
_ERASE = "\r\x1b[K"


def has_colours(stream: IO[Any]) -> bool:
    """Whether colours may be written: to a terminal that has some, unless NO_COLOR (https://no-color.org) is set."""
    return is_terminal(stream) and not os.environ.get("NO_COLOR")


def is_terminal(stream: IO[Any]) -> bool:
    """Whether a stream is a terminal on which lines can be replaced."""
    try:
        return stream.isatty() and os.environ.get("TERM") != "dumb"
    except ValueError:  # it is closed
        return False


@contextmanager
def progress(what: str, detail: Callable[[], str] = lambda: "") -> Iterator[None]:
    """Show a line on stderr while the block takes long, if stderr is a terminal. It is gone afterwards.

    Args:
        what: What is being done, such as `exporting`.
        detail: Returns how far it is; called in another thread.
    """
    if not is_terminal(sys.stderr):
        yield
        return
    done = threading.Event()
    thread = threading.Thread(target=_show, args=(what, detail, done), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@contextmanager
def transfer(what: str, whole: int = 0) -> Iterator[Callable[[int], None]]:
    """As `progress`, for bytes. The block calls what it gets with the number that were transferred so far.

    Args:
        whole: How many bytes there are; 0 where that is not known.
    """
    count = 0

    def note(number: int) -> None:
        nonlocal count
        count = number

    def detail() -> str:
        done = f"{count / 1e6:.1f} MB" if count else ""
        return f"{done} of {whole / 1e6:.1f} MB" if count and whole else done

    with progress(what, detail):
        yield note


def _show(what: str, detail: Callable[[], str], done: threading.Event) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals))  # they are for the main thread
    began, shown, wait = time.monotonic(), False, DELAY
    while not done.wait(wait):
        wait = INTERVAL
        parts = [what, detail(), f"{time.monotonic() - began:.0f} s"]
        shown = _write(f"{_ERASE}{'  '.join(filter(None, parts))}")
    if shown:
        _write(_ERASE)


def _write(text: str) -> bool:
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except (OSError, ValueError):
        return False  # the terminal is gone
    return True
