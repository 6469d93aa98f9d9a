"""Plans: what every call does, without I/O: build the request, classify the outcome, decide on retries.

A plan is a generator, such as `perform`. It yields an action (`Request`: send this; `Pause`: wait this long) and
receives its outcome; its return value is the result of the call. A third action, `LocalWork`, is for plans that work on
local files. The two sessions in `_http` only carry out the actions, so the sync and the async client cannot differ, and
a helper made of several calls is one `yield from` after another.
"""

from __future__ import annotations

import json
import random
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any, Callable, Optional, TypeVar, Union, cast
from urllib.parse import urlencode

import httpx

from . import _observation, _timing
from ._call import Call, ClientDefault
from ._constants import API_PREFIX, BACKOFF_FIRST, BACKOFF_LONGEST, RETRY_AFTER_LONGEST, RETRY_STATUSES
from ._decoding import api_error, decode
from ._errors import CagedConnectionError, CagedError, CagedTimeoutError, caused_by
from ._observed_call import ObservedCall
from ._settings import Settings

T = TypeVar("T")

# Nothing has left the machine when these are raised: any call may be tried again.
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
# The request may have been carried out although no answer came.
_DROPPED = (httpx.NetworkError, httpx.RemoteProtocolError)


@dataclass(frozen=True, eq=False)
class Request:
    """Send this."""

    method: str
    url: str
    headers: Mapping[str, str]
    content: Optional[bytes]
    timeout: Optional[float]


@dataclass(frozen=True, eq=False)
class Pause:
    """Wait this many seconds."""

    seconds: float


@dataclass(frozen=True, eq=False)
class LocalWork:
    """Do this, which blocks: a session for asyncio does it in a thread."""

    function: Callable[[], Any]

    def outcome(self) -> Union[LocalResult, Exception]:
        """Do it."""
        try:
            return LocalResult(self.function())
        except Exception as problem:
            return problem


@dataclass(frozen=True, eq=False)
class LocalResult:
    """What local work returned."""

    value: Any


Action = Union[Request, Pause, LocalWork]
Outcome = Union[httpx.Response, LocalResult, Exception, None]
CallPlan = Generator[Action, Outcome, T]


def locally(function: Callable[[], T]) -> CallPlan[T]:
    """Do work on local files as an action of a plan. Returns its result, and raises what it raises.

    It may take some 100 ms at most: a coroutine that is cancelled does not wait for it.
    """
    outcome = yield LocalWork(function)
    if isinstance(outcome, LocalResult):
        return cast(T, outcome.value)
    assert isinstance(outcome, Exception)
    raise outcome


def perform(settings: Settings, call: Call[T], deadline: Optional[float] = None) -> CallPlan[T]:
    """Carry out one call, with retries.

    Args:
        deadline: A moment of `_timing.now` after which no retry may begin.
    """
    observed = _observation.begin(settings, call.method, call.path, call.query, call.body)
    if observed is None:
        return (yield from _attempts(settings, call, deadline, None))
    try:
        result = yield from _attempts(settings, call, deadline, observed)
    except BaseException as problem:
        observed.end(problem)
        raise
    observed.end(None, result)
    return result


def _attempts(
    settings: Settings, call: Call[T], deadline: Optional[float], observed: Optional[ObservedCall]
) -> CallPlan[T]:
    request = build(settings, call, _observation.headers() if observed is None else observed.headers)
    retries = 0
    maybe_done = False
    while True:
        outcome = yield request
        cause: Optional[Exception] = None
        error: CagedError
        wanted: Optional[float] = None
        if isinstance(outcome, httpx.Response):
            if observed is not None:
                observed.answered(outcome.status_code)
            if 200 <= outcome.status_code < 300:
                return decode(call, outcome)
            if maybe_done and call.method == "DELETE" and outcome.status_code == 404:
                return call.decode(None)  # the lost first attempt did it
            failure = api_error(call, outcome)
            error, wanted = failure, failure.retry_after
            again = call.repeatable and outcome.status_code in RETRY_STATUSES
        else:
            assert isinstance(outcome, Exception)
            cause = outcome
            error = transport_error(call, cause, request.timeout, settings)
            never_sent = isinstance(cause, _NEVER_SENT)
            dropped = isinstance(cause, _DROPPED) and not never_sent
            maybe_done = maybe_done or dropped
            again = never_sent or (dropped and call.repeatable)
        delay = _delay(retries, wanted)
        if not again or retries >= settings.max_retries or delay is None:
            raise caused_by(cause, error)
        if deadline is not None and _timing.now() + delay >= deadline:
            raise caused_by(cause, error)
        retries += 1
        if observed is not None:
            observed.retried(error, delay)
        yield Pause(delay)


def build(settings: Settings, call: Call[Any], more_headers: Mapping[str, str]) -> Request:
    """Build the request of a call.

    Raises:
        CagedError: The body cannot be written as JSON.
    """
    url = f"{settings.base_url}{API_PREFIX}{call.path}"
    given = {name: value for name, value in call.query.items() if value is not None} if call.query else None
    headers = dict(more_headers)
    content = None
    if call.body is not None:
        headers["Content-Type"] = "application/json"
        content = _json_bytes(call, call.body)
    timeout = settings.timeout if isinstance(call.timeout, ClientDefault) else call.timeout
    return Request(call.method, f"{url}?{urlencode(given)}" if given else url, headers, content, timeout)


#: By whether a body is ASCII. `json.dumps` would make an encoder for each body.
_ENCODERS = {
    ascii_only: json.JSONEncoder(ensure_ascii=ascii_only, allow_nan=False, separators=(",", ":"))
    for ascii_only in (True, False)
}


def _json_bytes(call: Call[Any], body: Mapping[str, Any]) -> bytes:
    # The encoder of ASCII is four times as fast, which counts for megabytes of base64.
    ascii_only = all(isinstance(value, str) and value.isascii() for value in body.values())
    try:
        return _ENCODERS[ascii_only].encode(body).encode("utf-8")
    except (TypeError, ValueError, RecursionError) as problem:
        raise CagedError(f"{call}: the request cannot be written as JSON: {problem}") from None


def transport_error(call: Call[Any], cause: Exception, timeout: Optional[float], settings: Settings) -> CagedError:
    """The error for a failure below HTTP."""
    if isinstance(cause, httpx.TimeoutException):
        limit = "" if timeout is None else f" after {timeout}s"
        unsent = isinstance(cause, _NEVER_SENT)
        what = "no connection" if unsent else "no answer"
        return CagedTimeoutError(f"{call} timed out{limit}: {what}", timeout=timeout)
    if isinstance(cause, httpx.InvalidURL):
        return CagedError(f"{call}: this address cannot be requested: {cause}")
    reason = str(cause) or type(cause).__name__
    if isinstance(cause, httpx.ConnectError):
        return CagedConnectionError(f"{call}: cannot connect to {settings.base_url}: {reason}")
    return CagedConnectionError(f"{call}: the connection failed: {reason}")


def _delay(retries: int, wanted: Optional[float]) -> Optional[float]:
    """Seconds until the next attempt; None when the server's Retry-After is too long to wait for."""
    if wanted is not None:
        return wanted if wanted <= RETRY_AFTER_LONGEST else None
    return random.uniform(0, min(BACKOFF_LONGEST, BACKOFF_FIRST * 2.0 ** min(retries, 30)))
