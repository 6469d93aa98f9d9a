"""The calls of the SDK that this process makes while a test runs, for its trace."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import CodeType
from typing import TYPE_CHECKING, Any, Optional

from caged._frames import Place, call_name, user_line
from caged._observed_call import ObservedCall
from caged.emulator.trace.redaction import TraceRedactor

if TYPE_CHECKING:
    from caged._settings import Settings

#: Calls, and requests of a live run, that are kept of one test.
MOST = 5_000
#: Characters of the error of a call.
ERROR_CHARACTERS = 500
_NO_HEADERS: dict[str, str] = {}


class CallRecord(ObservedCall):
    """One call.

    Attributes:
        id: Id of its step, which is the id of the span in its header `traceparent`.
        trace_id: Id of the trace in that header.
        path: Below `/v1`.
        place: The line of the test that made it.
        nearest: The nearest line of the user's code, such as one of the application under test.
        began, ended: By `time.perf_counter`; `ended` is None while it runs.
        error: What it raised.
        headers: Sent with its requests.
    """

    __slots__ = ("_called", "began", "ended", "error", "headers", "id", "nearest", "path", "place", "trace_id")

    def __init__(
        self,
        trace_id: str,
        id: str,
        path: str,
        place: Optional[Place],
        called: Optional[CodeType],
        headers: Mapping[str, str],
        nearest: Optional[Place] = None,
    ) -> None:
        self.nearest = nearest
        self.trace_id, self.id, self.path, self.place, self.headers = trace_id, id, path, place, headers
        self._called = called
        self.error = ""
        self.ended: Optional[float] = None
        self.began = time.perf_counter()

    @property
    def name(self) -> str:
        """The name of the call, such as `sandboxes.exec`."""
        return call_name(self._called, self.path)

    def end(self, error: Optional[BaseException], result: Any = None) -> None:
        """Note that it has ended; the observer's part of the SDK's interface."""
        if self.ended is not None:
            return
        self.ended = time.perf_counter()
        if isinstance(error, GeneratorExit):
            self.error = "it was interrupted"
        elif error is not None:
            text = str(error)[:ERROR_CHARACTERS]
            self.error = f"{type(error).__name__}: {text}" if text else type(error).__name__


class RequestSeen:
    """One request of a live run, as this process sees it. `status`: 0 where there was no answer."""

    __slots__ = ("began", "ended", "error", "method", "parent", "path", "status")

    def __init__(self, method: str, path: str, status: int, error: str, began: float, parent: str) -> None:
        self.method, self.path, self.status, self.error = method, path, status, error
        self.began, self.ended, self.parent = began, time.perf_counter(), parent


class CallLog:
    """Records calls to the run's target, whichever client makes them; the SDK's observer.

    Attributes:
        test_file: The file of the test that runs: a call counts as made by its line, also where that line called other
            code first.
        dropped: How many calls and requests were not recorded, because there were more than MOST.
        redactor: Knows what was sent as a secret; it is redacted in what this process writes.
    """

    def __init__(self) -> None:
        self.calls: list[CallRecord] = []
        self.requests: list[RequestSeen] = []
        self.dropped = 0
        self.test_file: Optional[str] = None
        self.redactor = TraceRedactor()
        #: Whether the header is sent, by the base URL of a target.
        self._targets: dict[str, bool] = {}
        self._is_paused = False
        self._trace_id = os.urandom(16).hex()
        self._prefix = os.urandom(4).hex()
        self._numbers = itertools.count(1)

    def observe(self, base_url: str, is_emulator: bool) -> None:
        """Record calls to a server from now on; only an emulator gets the header `traceparent`."""
        self._targets[base_url.rstrip("/")] = is_emulator

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Record nothing during a block: the plugin makes the calls itself."""
        self._is_paused = True
        try:
            yield
        finally:
            self._is_paused = False

    def clear(self) -> None:
        """Begin with the next test, which is a trace of its own."""
        self._trace_id = os.urandom(16).hex()
        self.calls.clear()
        self.requests.clear()
        self.dropped = 0

    def begin(
        self, settings: Settings, path: str, body: Optional[Mapping[str, Any]], traceparent: str = ""
    ) -> Optional[CallRecord]:
        """Record a call that begins. `traceparent`: the header for its span, where OpenTelemetry has made one."""
        sends_header = self._targets.get(settings.base_url)
        if sends_header is None or self._is_paused:
            return None
        if body is not None:
            self.redactor.hide(body)
        if len(self.calls) >= MOST:
            self.dropped += 1
            return None
        place, called, nearest = user_line(self.test_file)
        if not traceparent:
            traceparent = f"00-{self._trace_id}-{self._prefix}{next(self._numbers) & 0xFFFFFFFF:08x}-01"
        _version, trace_id, span, _flags = traceparent.split("-")
        headers = {"traceparent": traceparent} if sends_header else _NO_HEADERS
        record = CallRecord(trace_id, span, path, place, called, headers, nearest)
        self.calls.append(record)
        return record

    def requested(self, method: str, path: str, status: int, error: str, began: float) -> None:
        """Record a request of a live run that has just been answered, or has failed."""
        if self._is_paused:
            return
        if len(self.requests) >= MOST:
            self.dropped += 1
            return
        call = next((one for one in reversed(self.calls) if one.ended is None and path.endswith(one.path)), None)
        self.requests.append(RequestSeen(method, path, status, error, began, call.id if call else ""))
