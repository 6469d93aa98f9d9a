"""Observation of the calls that a process makes: the pytest plugin records with it which line made which request.

It is off until `install` is called, and costs a comparison per call then. An observer can add headers to the requests
of a call and sees how it ended; it changes nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Optional, Protocol

if TYPE_CHECKING:
    from ._settings import Settings


class ObservedCall(Protocol):
    """A call that is being made.

    Attributes:
        headers: Sent with each of its requests.
    """

    @property
    def headers(self) -> Mapping[str, str]: ...

    def end(self, error: Optional[BaseException]) -> None:
        """Note that it has ended. `error`: what it raises; `GeneratorExit` for one that was abandoned."""


class Observer(Protocol):
    """Sees the calls of all clients of this process."""

    def begin(self, settings: Settings, path: str, body: Optional[Mapping[str, Any]]) -> Optional[ObservedCall]:
        """Observe a call that begins; None for one of no interest.

        Args:
            settings: Those of the client.
            path: Below ``/v1``.
            body: What is sent as JSON; None for nothing.
        """


_observer: Optional[Observer] = None
#: The call that the present one is a part of, such as the opening of a socket, which needs a ticket first.
_current: ContextVar[Optional[ObservedCall]] = ContextVar("caged_observed_call", default=None)
_NO_HEADERS: Mapping[str, str] = {}


def install(observer: Optional[Observer]) -> Optional[Observer]:
    """Make an observer that of this process; None removes it. Returns the one before."""
    global _observer
    before, _observer = _observer, observer
    return before


def begin(settings: Settings, path: str, body: Optional[Mapping[str, Any]] = None) -> Optional[ObservedCall]:
    """Observe a call that begins, unless it is a part of one that is observed already."""
    if _observer is None or _current.get() is not None:
        return None
    return _observer.begin(settings, path, body)


def headers() -> Mapping[str, str]:
    """The headers of the call that the present request is a part of."""
    if _observer is None:
        return _NO_HEADERS
    observed = _current.get()
    return _NO_HEADERS if observed is None else observed.headers


@contextmanager
def observing(settings: Settings, path: str) -> Iterator[None]:
    """Observe a block as one call, with all the requests that it makes."""
    observed = begin(settings, path)
    if observed is None:
        yield
        return
    token = _current.set(observed)
    try:
        yield
    except BaseException as problem:
        observed.end(problem)
        raise
    else:
        observed.end(None)
    finally:
        try:
            _current.reset(token)
        except ValueError:
            pass  # an abandoned coroutine, which is closed in another context
