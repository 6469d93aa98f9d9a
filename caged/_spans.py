"""OpenTelemetry: a span for each call, by the semantic conventions of HTTP clients.

Loaded with the first call after the program has imported OpenTelemetry's API. A span has no bodies, no keys, and no
values of the query but numbers. A failure in here is logged and changes nothing of the call.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Optional
from urllib.parse import urlsplit

from opentelemetry import context, propagate, trace
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, TracerProvider

from ._api_errors import CagedAPIError
from ._constants import API_PREFIX
from ._observed_call import ObservedCall
from ._routes import Route, redacted_query, route_of
from ._version import __version__

if TYPE_CHECKING:
    from ._settings import Settings

#: The version of the semantic conventions that names and attributes are of.
SCHEMA = "https://opentelemetry.io/schemas/1.37.0"
#: By scheme.
_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
#: Set while another library makes the spans of requests, or wants none. Each is private to the API's package, and a
#: version may lack it.
_SUPPRESS_ALL: Optional[str] = getattr(context, "_SUPPRESS_INSTRUMENTATION_KEY", None)
_SUPPRESS_HTTP: Optional[str] = getattr(context, "_SUPPRESS_HTTP_INSTRUMENTATION_KEY", None)
#: Names of instrumentations that are switched off, separated by commas.
ENV_DISABLED = "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"

_log = logging.getLogger("caged.spans")
_reported: set[str] = set()
_tracer: Optional[tuple[TracerProvider, Tracer]] = None


def begin(
    settings: Settings, method: str, path: str, query: Optional[Mapping[str, Any]], scheme: str
) -> Optional[CallSpan]:
    """Begin the span of a call and make it the current one; None where no span is wanted."""
    if _is_disabled():
        return None
    try:
        return CallSpan(settings, method, path, query, scheme)
    except Exception:
        _report("the span of a call could not be made")
        return None


def _report(problem: str) -> None:
    """Log the exception that is handled. Each problem is a warning once: it is likely to come with each call."""
    level = logging.DEBUG if problem in _reported else logging.WARNING
    _reported.add(problem)
    _log.log(level, problem, exc_info=True)


def _is_disabled() -> bool:
    if _SUPPRESS_ALL is not None and context.get_value(_SUPPRESS_ALL):
        return True
    disabled = os.environ.get(ENV_DISABLED)
    return bool(disabled) and "caged" in [name.strip() for name in str(disabled).split(",")]


class CallSpan(ObservedCall):
    """The span of one call. Retries are events of it.

    Attributes:
        traceparent: The value of the header of that name; empty where no provider has made the span.
    """

    __slots__ = ("_is_over", "_resends", "_span", "_status", "_token", "_within", "headers", "traceparent")

    def __init__(
        self, settings: Settings, method: str, path: str, query: Optional[Mapping[str, Any]], scheme: str
    ) -> None:
        route = route_of(method, path)
        template = "" if route is None else f"{API_PREFIX}{route.template}"
        above = trace.get_current_span().get_span_context()
        self._span: Span = _the_tracer().start_span(
            f"{method} {template}".strip(),
            kind=SpanKind.CLIENT,
            attributes=_attributes(settings, method, path, query, scheme, route),
        )
        self._resends = 0
        self._status: Optional[int] = None
        self._is_over = False
        made = trace.set_span_in_context(self._span)
        self.headers: Mapping[str, str] = _injected(made)
        own = self._span.get_span_context()
        is_own = own.is_valid and own.span_id != above.span_id
        self.traceparent = f"00-{own.trace_id:032x}-{own.span_id:016x}-{own.trace_flags:02x}" if is_own else ""
        # The call is one span: instrumentation of the HTTP library must make no second one.
        self._within = made if _SUPPRESS_HTTP is None else context.set_value(_SUPPRESS_HTTP, True, made)
        self._token = context.attach(self._within)

    def answered(self, status: int) -> None:
        self._status = status

    def retried(self, error: BaseException, delay: float) -> None:
        self._resends += 1
        self._status = None  # of the attempt before
        attributes: dict[str, Any] = {"error.type": _error_type(error), "caged.retry.delay_ms": round(delay * 1000)}
        if isinstance(error, CagedAPIError):
            attributes["http.response.status_code"] = error.status
        self._span.add_event("caged.retry", attributes)

    def end(self, error: Optional[BaseException], result: Any = None) -> None:
        if self._is_over:
            return
        self._is_over = True
        # An abandoned coroutine is closed in another context, where there is nothing to detach.
        if context.get_current() is self._within:
            context.detach(self._token)
        try:
            self._finish(error, result)
        except Exception:
            _report("the span of a call could not be ended")

    def _finish(self, error: Optional[BaseException], result: Any) -> None:
        span = self._span
        if self._resends:
            span.set_attribute("http.request.resend_count", self._resends)
        status = error.status if isinstance(error, CagedAPIError) else self._status
        if status is not None:
            span.set_attribute("http.response.status_code", status)
        if error is not None:
            span.set_attribute("error.type", _error_type(error))
            span.set_status(StatusCode.ERROR)  # without a description: a message may have a secret
        created = _CREATED.get(type(result).__name__)
        if created is not None and isinstance(result.id, str):
            span.set_attribute(created, result.id)
        span.end()


def _injected(made: context.Context) -> dict[str, str]:
    """The headers of the propagators that the program has chosen."""
    headers: dict[str, str] = {}
    try:
        propagate.inject(headers, context=made)
    except Exception:
        _report("the headers of a span could not be made")
    return headers


#: The attribute for the id of what a call has returned, by its type.
_CREATED = {"Sandbox": "caged.sandbox.id", "Snapshot": "caged.snapshot.id"}


def _error_type(error: BaseException) -> str:
    """The value of `error.type`: the status of an answer, or the class of the error."""
    if isinstance(error, CagedAPIError):
        return str(error.status)
    if isinstance(error, GeneratorExit):
        return "interrupted"
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _the_tracer() -> Tracer:
    global _tracer
    provider = trace.get_tracer_provider()
    if _tracer is None or _tracer[0] is not provider:
        _tracer = provider, provider.get_tracer("caged", __version__, schema_url=SCHEMA)
    return _tracer[1]


def _attributes(
    settings: Settings,
    method: str,
    path: str,
    query: Optional[Mapping[str, Any]],
    scheme: str,
    route: Optional[Route],
) -> dict[str, Any]:
    base = urlsplit(settings.base_url)
    scheme = f"{scheme}s" if settings.is_encrypted else scheme
    pairs = [(name, str(value)) for name, value in (query or {}).items() if value is not None]
    url = f"{scheme}://{base.netloc}{base.path}{API_PREFIX}{path}"
    found: dict[str, Any] = {
        "http.request.method": method,
        "server.address": settings.host,
        "server.port": base.port or _PORTS[scheme],
        "url.full": f"{url}?{redacted_query(pairs)}" if pairs else url,
    }
    if route is not None:
        found["url.template"] = f"{API_PREFIX}{route.template}"
        found["caged.operation"] = route.operation
        for name, value in route.ids.items():
            found[f"caged.{name.replace('_id', '.id')}"] = value
    return found
