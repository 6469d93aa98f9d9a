"""A trace as OTLP/JSON: what an OpenTelemetry collector or a viewer of traces reads.

Each step is a span. Names and attributes are those of OpenTelemetry's semantic conventions; what these do not have is
named `caged.`. Bodies of requests, and texts of prompts and replies, are left out; command lines and outputs are not.
docs/opentelemetry.md has the mapping.
"""

from __future__ import annotations

import functools
import hashlib
import math
import re
from collections.abc import Iterable
from typing import Any, Optional
from urllib.parse import parse_qsl

from caged._routes import redacted_query, route_of

from ..control.clock import from_rfc3339
from ..control.step import Step
from ..truncation import truncate
from .file import Trace
from .outline import Outline, mappings_of, text_of

#: The version of the semantic conventions.
SCHEMA = "https://opentelemetry.io/schemas/1.37.0"
#: Events of a span, and characters of the output in them.
EVENTS = 128
EVENT_CHARACTERS = 16 * 1024
#: Characters of an attribute.
ATTRIBUTE_CHARACTERS = 4 * 1024
#: Values of the enumerations of OTLP.
INTERNAL, SERVER, CLIENT = 1, 2, 3
STATUS_ERROR = 2
_KINDS = {"request": SERVER, "call": CLIENT}
#: Kinds of steps that the client's side has recorded.
_CLIENT_SIDE = ("test", "call")
_TRACE_ID = re.compile(r"(?!0{32})[0-9a-f]{32}\Z")
_SPAN_ID = re.compile(r"(?!0{16})[0-9a-f]{16}\Z")
_LATEST = 2**63 - 1
_RESULTS = {"passed": "pass", "failed": "fail", "error": "fail"}


def build_otlp(trace: Trace) -> dict[str, Any]:
    """Convert a trace to OTLP/JSON.

    Returns:
        An `ExportTraceServiceRequest`: the spans of the client's side, and those of the emulator, each with a resource
        of its own. Ids are hexadecimal and times are strings, as OTLP/JSON has them.
    """
    return _Conversion(trace).result()


class _Conversion:
    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._outline = Outline(trace)
        self._steps = [step for step, _depth in self._outline.walk()]
        self._epoch = self._find_epoch()
        seed = f"{trace.header.title}\n{trace.header.wall}\n{trace.header.start}"
        known = {found for found in map(_trace_id, self._steps) if found}
        #: The trace of what belongs to no other.
        self._own_trace = known.pop() if len(known) == 1 else _digest(seed, 32)
        self._root_id = _digest(f"{seed}\nroot", 16)
        self._span_ids = self._make_span_ids(seed)
        self._traces = self._find_traces()

    def result(self) -> dict[str, Any]:
        spans = {True: [self._root()], False: []}
        for step in self._steps:
            spans[step.kind in _CLIENT_SIDE].append(self._span(step))
        return {
            "resourceSpans": [
                self._resource("caged-client", spans[True]),
                *([self._resource("caged-emulator", spans[False])] if spans[False] else []),
            ]
        }

    def _resource(self, service: str, spans: list[dict[str, Any]]) -> dict[str, Any]:
        header = self._trace.header
        found = {
            "service.name": service,
            "service.version": header.version,
            "caged.target": header.target,
            "caged.isolation": header.isolation,
        }
        return {
            "resource": {"attributes": _attributes(found)},
            "scopeSpans": [{"scope": {"name": "caged", "version": _text(header.version)}, "spans": spans}],
            "schemaUrl": SCHEMA,
        }

    # --- ids and times

    def _make_span_ids(self, seed: str) -> dict[int, str]:
        """The id of each step's span, by `id(step)`. A call's is the one that its requests have sent."""
        found: dict[int, str] = {}
        used = {self._root_id}
        for number, step in enumerate(self._steps):
            span_id = str(step.id) if _SPAN_ID.match(str(step.id)) else _digest(f"{seed}\n{step.id}", 16)
            if span_id in used:
                span_id = _digest(f"{seed}\n{step.id}\n{number}", 16)
            used.add(span_id)
            found[id(step)] = span_id
        return found

    def _find_traces(self) -> dict[int, str]:
        """The trace of each step, by `id(step)`: the one that its request's header names, or that of its parent."""
        found: dict[int, str] = {}
        for step in self._steps:  # a parent comes first
            above = self._outline.parent(step)
            inherited = self._own_trace if above is None else found.get(id(above), self._own_trace)
            found[id(step)] = _trace_id(step) or inherited
        return found

    def _find_epoch(self) -> int:
        """Nanoseconds since 1970 at 0 of the steps' clock."""
        header = self._trace.header
        for wall, start in [(header.wall, header.start), *((step.wall, step.start) for step in self._steps)]:
            if wall:
                try:
                    return round(from_rfc3339(wall) * 1000) * 10**6 - _nanoseconds(start)
                except (ValueError, OverflowError):
                    continue
        return 0

    def _time(self, start: Any, after: Any = 0.0) -> str:
        return str(min(max(self._epoch + _nanoseconds(start) + _nanoseconds(after), 0), _LATEST))

    def _end(self, step: Step) -> float:
        """When a step ended, by the steps' clock; the end of the trace for one that runs."""
        if step.duration_ms is None:
            return max(self._last, step.start)
        return step.start + step.duration_ms / 1000

    @functools.cached_property
    def _last(self) -> float:
        header = self._trace.header
        ends = [step.start + (step.duration_ms or 0.0) / 1000 for step in self._steps]
        return max([header.start + header.duration_ms / 1000, *ends])

    # --- spans

    def _root(self) -> dict[str, Any]:
        header = self._trace.header
        ends_at = header.start + header.duration_ms / 1000 if header.duration_ms else self._last
        found: dict[str, Any] = {
            "test.case.name": header.title,
            "test.case.result.status": _RESULTS.get(header.outcome),
            "caged.outcome": header.outcome,
            "caged.cost_usd": float(header.cost_usd),
            "caged.notes": list(header.notes),
        }
        has_failed = header.outcome in ("failed", "error")
        return {
            "traceId": self._own_trace,
            "spanId": self._root_id,
            "name": _text(header.title) or "trace",
            "kind": INTERNAL,
            "startTimeUnixNano": self._time(header.start or self._outline.begin),
            "endTimeUnixNano": self._time(max(ends_at, header.start or self._outline.begin)),
            "attributes": _attributes(found),
            "status": {"code": STATUS_ERROR, "message": _text(header.error_summary)} if has_failed else {},
        }

    def _span(self, step: Step) -> dict[str, Any]:
        trace_id = self._traces[id(step)]
        events, dropped = self._events(step)
        span: dict[str, Any] = {
            "traceId": trace_id,
            "spanId": self._span_ids[id(step)],
            "name": _text(_name(step)),
            "kind": _KINDS.get(step.kind, INTERNAL),
            "startTimeUnixNano": self._time(step.start),
            "endTimeUnixNano": self._time(self._end(step)),
            "attributes": _attributes({**_common(step), **_of_kind(step)}),
            "status": _status(step),
        }
        parent, link = self._parent(step, trace_id)
        if parent:
            span["parentSpanId"] = parent
        if link:
            span["links"] = [link]
        if events:
            span["events"] = events
        if dropped:
            span["droppedEventsCount"] = dropped
        return span

    def _parent(self, step: Step, trace_id: str) -> tuple[str, Optional[dict[str, Any]]]:
        """The id of the span above; and a link in its place where that is of another trace."""
        above = self._outline.parent(step)
        if above is None and _trace_id(step) and _SPAN_ID.match(str(step.parent)):
            return step.parent, None  # a span of the client, which has exported it itself
        parent_id = self._root_id if above is None else self._span_ids[id(above)]
        parent_trace = self._own_trace if above is None else self._traces[id(above)]
        if parent_trace == trace_id:
            return parent_id, None
        return "", {"traceId": parent_trace, "spanId": parent_id}

    def _events(self, step: Step) -> tuple[list[dict[str, Any]], int]:
        """The events of a step, and how many were left out."""
        found: list[dict[str, Any]] = []
        left, count = EVENT_CHARACTERS, 0
        for seconds, name, attributes in _happenings(step):
            count += 1
            size = sum(map(len, attributes.values()))
            if len(found) >= EVENTS or size > left:
                continue
            left -= size
            time = self._time(step.start, seconds)
            found.append({"timeUnixNano": time, "name": name, "attributes": _attributes(attributes)})
        return found, count - len(found)


def _happenings(step: Step) -> Iterable[tuple[Any, str, dict[str, str]]]:
    """Seconds since the step began, the name, and the attributes of each event."""
    output = step.detail.get("output")
    for piece in output if isinstance(output, list) else ():
        if isinstance(piece, (list, tuple)) and len(piece) == 2:
            text = str(piece[1])
            for at in range(0, len(text), ATTRIBUTE_CHARACTERS):
                yield piece[0], "caged.output", {"caged.output.text": text[at : at + ATTRIBUTE_CHARACTERS]}
    end = (step.duration_ms or 0.0) / 1000
    for change in mappings_of(step, "changes"):
        attributes = {"caged.file.path": str(change.get("path")), "caged.file.change": str(change.get("change"))}
        yield end, "caged.file_change", attributes
    misses = step.detail.get("near_misses")
    for miss in misses if isinstance(misses, list) else ():
        yield 0.0, "caged.near_miss", {"caged.near_miss.text": str(miss)}


def _name(step: Step) -> str:
    """The name of a span: one of few, so that spans can be grouped by it."""
    detail = step.detail
    if step.kind == "request":
        route = _route(step)
        return f"{text_of(step, 'method')} {route or text_of(step, 'operation')}".strip() or "request"
    if step.kind == "call":
        return text_of(step, "call") or "call"
    if step.kind == "command":
        words = [word for word in text_of(step, "command").split() if not re.match(r"\w+=", word)]
        return f"run {words[0].rpartition('/')[2]}" if words else "run"
    parts = {
        "test": ("test", detail.get("phase")),
        "prompt": ("invoke_agent", detail.get("agent")),
        "control": ("control", detail.get("operation")),
        "alert": ("alert", detail.get("rule")),
    }.get(step.kind, (step.kind, detail.get("event")))
    return " ".join(str(part) for part in parts if part)


def _route(step: Step) -> str:
    path = text_of(step, "path")
    if not path.startswith("/v1/"):
        return ""
    found = route_of(text_of(step, "method"), path[3:])
    return f"/v1{found.template}" if found else ""


def _common(step: Step) -> dict[str, Any]:
    return {
        "caged.step.id": step.id,
        "caged.step.kind": step.kind,
        "caged.step.title": None if step.kind == "prompt" else step.title,  # which is the prompt's text
        "caged.step.is_running": True if step.status == "running" else None,
        "caged.account.id": step.account,
        "caged.sandbox.id": step.sandbox,
        "caged.controls": list(step.controls),
    }


def _of_kind(step: Step) -> dict[str, Any]:
    """The attributes of a step by its kind, without those that are shown as events."""
    detail = step.detail
    if step.kind == "request":
        query = parse_qsl(text_of(step, "query"), keep_blank_values=True)
        return {
            "http.request.method": detail.get("method"),
            "http.route": _route(step),
            "http.response.status_code": detail.get("status") or None,
            "url.path": detail.get("path"),
            "url.query": redacted_query(query) if query else None,
            "error.type": _error_type(step, detail.get("status")),
            "caged.operation": detail.get("operation"),
        }
    if step.kind == "call":
        source = detail.get("source")
        source = source if isinstance(source, dict) else {}
        return {
            "caged.operation": detail.get("call"),
            "code.file.path": source.get("path"),
            "code.line.number": source.get("line"),
            "error.type": text_of(step, "error").partition(":")[0] or _error_type(step, None),
        }
    if step.kind == "command":
        return {
            "process.command_line": detail.get("command"),
            "process.exit.code": detail.get("exit_code"),
            "error.type": _error_type(step, detail.get("exit_code")),
            "caged.command.source": detail.get("source"),
        }
    if step.kind == "prompt":
        return {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.agent.name": detail.get("agent"),
            "gen_ai.conversation.id": detail.get("session"),
            "gen_ai.response.model": detail.get("model"),
            "gen_ai.usage.input_tokens": detail.get("tokens_in"),
            "gen_ai.usage.output_tokens": detail.get("tokens_out"),
            "process.exit.code": detail.get("exit_code"),
            "error.type": _error_type(step, detail.get("exit_code")),
            "caged.cost_usd": detail.get("cost_usd"),
        }
    if step.kind == "test":
        return {"test.case.name": step.test, "caged.test.outcome": detail.get("outcome")}
    names = ("event", "session", "operation", "path", "rule", "severity", "alert", "all_accounts")
    found = {f"caged.{step.kind}.{name}": detail.get(name) for name in names}
    return {**found, "error.type": _error_type(step, None)}


def _error_type(step: Step, code: Any) -> Optional[str]:
    if step.status != "error":
        return None
    return str(code) if code else "_OTHER"


def _status(step: Step) -> dict[str, Any]:
    if step.status != "error":
        return {}
    status = step.detail.get("status")
    if step.kind == "request" and isinstance(status, int) and 100 <= status < 500:
        return {}  # by the conventions, what a client did wrong is not an error of a server
    message = text_of(step, "error")
    return {"code": STATUS_ERROR, **({"message": _text(message)} if message else {})}


# --- values


def _attributes(values: dict[str, Any]) -> list[dict[str, Any]]:
    """Attributes without those that are not known."""
    return [
        {"key": name, "value": converted}
        for name, value in values.items()
        if value not in (None, "", []) and (converted := _any_value(value)) is not None
    ]


def _any_value(value: Any) -> Optional[dict[str, Any]]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)} if -_LATEST <= value <= _LATEST else {"stringValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value} if math.isfinite(value) else None
    if isinstance(value, (list, tuple)):
        return {"arrayValue": {"values": [{"stringValue": _text(str(one))} for one in value]}}
    return {"stringValue": _text(str(value))}


def _text(text: str) -> str:
    """A text that can be sent as UTF-8, cut to the longest attribute."""
    text = text.encode("utf-8", "replace").decode("utf-8")
    return truncate(text, ATTRIBUTE_CHARACTERS, includes_mark=True)


def _trace_id(step: Step) -> str:
    found = text_of(step, "trace_id")
    return found if _TRACE_ID.match(found) else ""


def _digest(text: str, digits: int) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:digits]


def _nanoseconds(seconds: Any) -> int:
    return round(seconds * 10**9) if isinstance(seconds, (int, float)) and math.isfinite(seconds) else 0
