"""Reads that only show something to a person: they record no event, and do not keep a sandbox from being idle."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_IS_OBSERVING: ContextVar[bool] = ContextVar("caged_observing", default=False)


def is_observing() -> bool:
    """Whether the present call only shows something."""
    return _IS_OBSERVING.get()


@contextmanager
def observing() -> Iterator[None]:
    """Mark the calls in a block as those that only show something."""
    token = _IS_OBSERVING.set(True)
    try:
        yield
    finally:
        _IS_OBSERVING.reset(token)
