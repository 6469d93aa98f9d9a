"""Observation of the calls that a process makes.

There are two observers: the pytest plugin's, which records which line made which call, and OpenTelemetry, for which
`_spans` makes a span of each call. The first is off until `install` is called. The second is on when the program has
imported OpenTelemetry's API, without which it cannot have a tracer provider; the SDK itself never imports it first.
While both are off, a call costs two comparisons. An observer can add headers to the requests of a call and sees how it
ended; it changes nothing else.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Optional, Protocol

from ._observed_call import ObservedCall

if TYPE_CHECKING:
    from ._settings import Settings

_NO_HEADERS: Mapping[str, str] = {}


class Observer(Protocol):
    """Sees the calls of all clients of this process."""

    def begin(
        self, settings: Settings, path: str, body: Optional[Mapping[str, Any]], traceparent: str
    ) -> Optional[ObservedCall]:
        """Observe a call that begins; None for one of no interest.

        Args:
            settings: Those of the client.
            path: Below ``/v1``.
            body: What is sent as JSON; None for nothing.
            traceparent: The header of that name (W3C Trace Context) for the call's span, where OpenTelemetry has made
                one; else empty.
        """


class _ObservedTwice(ObservedCall):
    """A call that both observers see. `span`: that of OpenTelemetry."""

    __slots__ = ("_call", "_span", "headers")

    def __init__(self, call: ObservedCall, span: ObservedCall) -> None:
        self._call, self._span = call, span
        self.headers = {**span.headers, **call.headers}

    def answered(self, status: int) -> None:
        self._call.answered(status)
        self._span.answered(status)

    def retried(self, error: BaseException, delay: float) -> None:
        self._call.retried(error, delay)
        self._span.retried(error, delay)

    def end(self, error: Optional[BaseException], result: Any = None) -> None:
        try:
            self._call.end(error, result)
        finally:
            self._span.end(error, result)


_observer: Optional[Observer] = None
#: The call that the present one is a part of, such as the opening of a socket, which needs a ticket first.
_current: ContextVar[Optional[ObservedCall]] = ContextVar("caged_observed_call", default=None)


def install(observer: Optional[Observer]) -> Optional[Observer]:
    """Make an observer that of this process; None removes it. Returns the one before."""
    global _observer
    before, _observer = _observer, observer
    return before


def begin(
    settings: Settings,
    method: str,
    path: str,
    query: Optional[Mapping[str, Any]] = None,
    body: Optional[Mapping[str, Any]] = None,
    scheme: str = "http",
) -> Optional[ObservedCall]:
    """Observe a call that begins, unless it is a part of one that is observed already.

    Args:
        scheme: ``http``, or ``ws`` for a WebSocket.
    """
    has_spans = "opentelemetry.trace" in sys.modules
    if (_observer is None and not has_spans) or _current.get() is not None:
        return None
    span = None
    if has_spans:
        from . import _spans

        span = _spans.begin(settings, method, path, query, scheme)
    call = None
    if _observer is not None:
        try:
            call = _observer.begin(settings, path, body, "" if span is None else span.traceparent)
        except BaseException as problem:
            if span is not None:
                span.end(problem)
            raise
    if call is None or span is None:
        return span if call is None else call
    return _ObservedTwice(call, span)


def headers() -> Mapping[str, str]:
    """The headers of the call that the present request is a part of."""
    observed = _current.get()
    return _NO_HEADERS if observed is None else observed.headers


@contextmanager
def observing(settings: Settings, path: str, query: Optional[Mapping[str, Any]] = None) -> Iterator[None]:
    """Observe a block, which opens a WebSocket, as one call, with all the requests that it makes."""
    observed = begin(settings, "GET", path, query, scheme="ws")
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
        observed.answered(101)
        observed.end(None)
    finally:
        try:
            _current.reset(token)
        except ValueError:
            pass  # an abandoned coroutine, which is closed in another context


if os.environ.get("CAGED_RECORD_CALLS"):
    from . import _call_file

    install(_call_file.from_environment())
