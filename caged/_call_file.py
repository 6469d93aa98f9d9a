"""A record of the calls that a process makes, in a file: `caged-emulator trace record` makes steps of them.

It is used where the environment variable CAGED_RECORD_CALLS names the file when this package is imported; the requests
of calls to CAGED_BASE_URL then have a header `traceparent`, by which the emulator knows what caused them.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Optional

from ._frames import call_name, user_line
from ._observed_call import ObservedCall

if TYPE_CHECKING:
    from ._settings import Settings

VARIABLE = "CAGED_RECORD_CALLS"
#: Characters of the error of a call.
ERROR_CHARACTERS = 500


class RecordedCall(ObservedCall):
    """A call whose begin is in the file already."""

    __slots__ = ("_file", "_has_ended", "_id", "headers")

    def __init__(self, file: CallFile, id: str, traceparent: str) -> None:
        self._file, self._id, self._has_ended = file, id, False
        self.headers = {"traceparent": traceparent}

    def end(self, error: Optional[BaseException], result: Any = None) -> None:
        """Note that it has ended."""
        if self._has_ended:
            return
        self._has_ended = True
        text = ""
        if isinstance(error, GeneratorExit):
            text = "it was interrupted"
        elif error is not None:
            text = f"{type(error).__name__}: {str(error)[:ERROR_CHARACTERS]}".rstrip(": ")
        self._file.write({"id": self._id, "ended": time.perf_counter(), "error": text})


class CallFile:
    """An observer that writes calls to a file, two lines of JSON for each. A file that cannot be written has no effect.

    Args:
        path: The file, which exists.
        base_url: Only calls to this server are recorded.
    """

    def __init__(self, path: str, base_url: str) -> None:
        self._trace_id = os.urandom(16).hex()
        self._path = path
        self._base_url = base_url.rstrip("/")

    def begin(
        self, settings: Settings, path: str, body: Optional[Mapping[str, Any]], traceparent: str
    ) -> Optional[RecordedCall]:
        """Record a call that begins. `traceparent`: the header for its span, where OpenTelemetry has made one."""
        if settings.base_url != self._base_url:
            return None
        place, called, _nearest = user_line()
        if not traceparent:
            traceparent = f"00-{self._trace_id}-{os.urandom(8).hex()}-01"  # not counted: a fork would count on
        _version, trace_id, id, _flags = traceparent.split("-")
        begin = {
            "id": id,
            "trace_id": trace_id,
            "path": path,
            "name": call_name(called, path),
            "place": place,
            "began": time.perf_counter(),
        }
        return RecordedCall(self, id, traceparent) if self.write(begin) else None

    def write(self, entry: dict[str, Any]) -> bool:
        """Add a line. Returns whether that was possible."""
        try:
            file = os.open(self._path, os.O_WRONLY | os.O_APPEND | getattr(os, "O_CLOEXEC", 0))
        except OSError:
            return False
        try:
            os.write(file, (json.dumps(entry) + "\n").encode())
            return True
        except OSError:
            return False
        finally:
            os.close(file)


def from_environment() -> Optional[CallFile]:
    """The observer that the environment requests; None without one."""
    path, base_url = os.environ.get(VARIABLE), os.environ.get("CAGED_BASE_URL")
    return CallFile(path, base_url) if path and base_url else None
