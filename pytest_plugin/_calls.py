"""The calls of the SDK that this process makes while a test runs, for its trace."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import CodeType
from typing import TYPE_CHECKING, Any, Optional
from urllib.parse import urlsplit

from caged._frames import Place, user_line
from caged._observed_call import ObservedCall
from caged.emulator.control.credentials import redact_credentials
from caged.emulator.control.redaction import Redactor

if TYPE_CHECKING:
    from caged._settings import Settings

#: Calls, and requests of a live run, that are kept of one test.
MOST = 5_000
#: Characters of the error of a call.
ERROR_CHARACTERS = 500
#: A shorter value of an environment is no secret, and would be replaced in every other word.
SHORTEST_SECRET = 8
#: Ends of the names of variables that hold paths.
_PATHS = ("PATH", "DIR", "HOME", "ROOT", "FILE")
_NO_HEADERS: dict[str, str] = {}
#: Modules of the SDK of which one group of calls is not named like the module.
_GROUPS = {"sockets": "sandboxes", "_client": ""}
#: Modules of the SDK whose every function belongs to one call.
_CALLS = {"exec_output": "sandboxes.stream", "exec_stream": "sandboxes.stream", "mcp": "sandboxes.mcp"}


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
        if self._called is None:
            return self.path
        module = Path(self._called.co_filename).stem
        group = _GROUPS.get(module, module)
        return _CALLS.get(module) or ".".join(filter(None, (group, self._called.co_name)))

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
        secrets: Values that were sent as a secret; they are redacted in what this process writes.
    """

    def __init__(self) -> None:
        self.calls: list[CallRecord] = []
        self.requests: list[RequestSeen] = []
        self.dropped = 0
        self.test_file: Optional[str] = None
        self.secrets = Redactor()
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
            self.hide(body)
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

    def hide(self, body: Mapping[str, Any]) -> None:
        """Redact the secrets of a body from now on: which of its values are secrets is not known here, so it is all of
        its environment, but for paths and short words."""
        env, repo = body.get("env"), body.get("repo")
        found = [value for name, value in env.items() if not _is_path(name, value)] if isinstance(env, Mapping) else []
        found += [body.get("repo_token"), body.get("password")]
        if isinstance(repo, str) and "@" in repo:
            found.append(_password(repo))
        values = [one for one in found if isinstance(one, str) and len(one) >= SHORTEST_SECRET]
        if values:
            self.secrets.add(values)

    def redacted(self, text: str) -> str:
        """A text without the secrets that are known, and without credentials of the platform."""
        if self.secrets:
            text = self.secrets.redact_text(text)
        return redact_credentials(text)


def _is_path(name: Any, value: Any) -> bool:
    """Whether a variable holds paths, such as PYTHONPATH; without them a trace could not be read."""
    return str(name).endswith(_PATHS) and isinstance(value, str) and value.startswith(("/", "./", "~/"))


def _password(url: str) -> Optional[str]:
    try:
        parts = urlsplit(url)
        return parts.password or parts.username
    except ValueError:
        return None
