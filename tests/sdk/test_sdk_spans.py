"""OpenTelemetry: a span for each call, on both clients, and the headers that name it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from sdk_driver import KEY, js

from caged import (
    AsyncCaged,
    Caged,
    CagedConnectionError,
    CagedError,
    CagedNotFoundError,
    CagedServerError,
    _observation,
)
from caged._observed_call import ObservedCall
from caged._routes import ROUTES, route_of
from caged.emulator import Emulator
from caged.emulator.wire.all_operations import all_operations

_API = "opentelemetry.trace"
pytestmark = pytest.mark.skipif(
    find_spec("opentelemetry") is None or find_spec("opentelemetry.sdk") is None,
    reason="opentelemetry-sdk is not installed",
)
#: OpenTelemetry's modules, from the first test of this file on.
trace: Any = None
sdk_trace: Any = None


@pytest.fixture(autouse=True)
def _opentelemetry() -> Iterator[None]:
    """Load OpenTelemetry for a test of this file. Others in this process run as in a program that does not use it."""
    global trace, sdk_trace
    if trace is None:
        trace, sdk_trace = import_module(_API), import_module("opentelemetry.sdk.trace")
    sys.modules[_API] = trace
    yield
    del sys.modules[_API]


class Spans:
    """Keeps the spans that have ended."""

    def __init__(self, sampler: Any = None) -> None:
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

        self._exporter = InMemorySpanExporter()
        self.provider = sdk_trace.TracerProvider(sampler=sampler, shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    def all(self) -> list[Any]:
        return list(self._exporter.get_finished_spans())

    @property
    def only(self) -> Any:
        (span,) = self.all()
        return span


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[Spans]:
    """The spans of a provider of this test: OpenTelemetry's own can be set once in a process."""
    found = Spans()
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: found.provider)
    before = trace.get_current_span()
    yield found
    assert trace.get_current_span() is before, "a span is still the current one"


def header_of(span: Any) -> str:
    context = span.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def test_call_is_a_span_by_the_semantic_conventions(driver: Any, spans: Spans) -> None:
    answer = {"output": "hi", "exit_code": 0}
    driver.run(
        js(answer), lambda caged: caged.sandboxes.exec("cage_1", "echo secret-word"), base_url="https://api.test/x"
    )
    span = spans.only
    assert (span.name, span.kind) == ("POST /v1/sandboxes/{sandbox_id}/exec", trace.SpanKind.CLIENT)
    assert dict(span.attributes) == {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "server.address": "api.test",
        "server.port": 443,
        "url.full": "https://api.test/x/v1/sandboxes/cage_1/exec",
        "url.template": "/v1/sandboxes/{sandbox_id}/exec",
        "caged.operation": "sandboxes.exec",
        "caged.sandbox.id": "cage_1",
    }
    assert span.status.status_code is trace.StatusCode.UNSET
    assert span.instrumentation_scope.name == "caged"
    assert driver.request.headers["traceparent"] == header_of(span)


def test_span_has_no_body_no_key_and_no_text_of_the_query(driver: Any, spans: Spans) -> None:
    def use(caged: Any) -> Any:
        return caged.files.write("cage_1", "/home/planted-path", "planted-content")

    driver.run(httpx.Response(204), use, api_key="planted-key")
    span = spans.only
    assert span.attributes["url.full"] == "http://api.test/v1/sandboxes/cage_1/files/content?path=REDACTED"
    assert "planted" not in span.to_json()


def test_numbers_of_the_query_are_shown(driver: Any, spans: Spans) -> None:
    driver.run(js([]), lambda caged: caged.sandboxes.logs("cage_1", tail=7))
    assert spans.only.attributes["url.full"].endswith("/logs?tail=7")


def test_span_of_a_create_has_the_id_that_the_answer_has(driver: Any, spans: Spans) -> None:
    driver.run(js({"id": "cage_new", "status": "running"}), lambda caged: caged.sandboxes.create())
    assert spans.only.attributes["caged.sandbox.id"] == "cage_new"


def test_retries_are_visible_in_one_span(driver: Any, spans: Spans) -> None:
    answers = [js({}, 503), httpx.ConnectError("no"), js([])]
    driver.run(answers, lambda caged: caged.sandboxes.list())
    span = spans.only
    assert span.attributes["http.request.resend_count"] == 2
    assert span.attributes["http.response.status_code"] == 200
    assert [event.name for event in span.events] == ["caged.retry"] * 2
    assert [event.attributes["error.type"] for event in span.events] == ["503", "caged.CagedConnectionError"]
    assert {request.headers["traceparent"] for request in driver.requests} == {header_of(span)}


def test_status_is_that_of_the_last_attempt(driver: Any, spans: Spans) -> None:
    answers = [js({}, 503), *[httpx.ConnectError("no")] * 2]
    with pytest.raises(CagedConnectionError):
        driver.run(answers, lambda caged: caged.sandboxes.list())
    attributes = spans.only.attributes
    assert (attributes["error.type"], attributes["http.request.resend_count"]) == ("caged.CagedConnectionError", 2)
    assert "http.response.status_code" not in attributes


def test_answer_that_cannot_be_read_is_an_error_with_its_status(driver: Any, spans: Spans) -> None:
    with pytest.raises(CagedError):
        driver.run(httpx.Response(200, text="planted"), lambda caged: caged.sandboxes.list())
    span = spans.only
    assert (span.attributes["error.type"], span.attributes["http.response.status_code"]) == ("caged.CagedError", 200)
    assert "planted" not in span.to_json()


@pytest.mark.parametrize(
    ("answer", "error", "error_type"),
    [
        (js({"detail": "planted"}, 404), CagedNotFoundError, "404"),
        (js({"detail": "planted"}, 500), CagedServerError, "500"),
        (httpx.ReadError("planted"), CagedConnectionError, "caged.CagedConnectionError"),
    ],
)
def test_error_sets_the_status_and_its_type(
    driver: Any, spans: Spans, answer: Any, error: Any, error_type: str
) -> None:
    with pytest.raises(error):
        driver.run(answer, lambda caged: caged.sandboxes.pause("cage_1"))
    span = spans.only
    assert (span.status.status_code, span.status.description) == (trace.StatusCode.ERROR, None)
    assert span.attributes["error.type"] == error_type
    assert span.attributes.get("http.response.status_code") == (int(error_type) if error_type.isdecimal() else None)
    assert "planted" not in span.to_json()


def test_call_that_is_interrupted_ends_its_span(spans: Spans) -> None:
    def interrupt(_request: httpx.Request) -> httpx.Response:
        raise KeyboardInterrupt

    with Caged(KEY, "http://api.test", transport=httpx.MockTransport(interrupt)) as caged:
        with pytest.raises(KeyboardInterrupt):
            caged.sandboxes.list()
    assert spans.only.attributes["error.type"] == "interrupted"


def test_cancelled_call_ends_its_span(spans: Spans) -> None:
    async def hang(_request: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async def main() -> None:
        async with AsyncCaged(KEY, "http://api.test", transport=httpx.MockTransport(hang)) as caged:
            call = asyncio.ensure_future(caged.sandboxes.list())
            await asyncio.sleep(0)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)

    asyncio.run(main())
    assert spans.only.attributes["error.type"] == "interrupted"


def test_abandoned_coroutine_ends_its_span_quietly(spans: Spans, caplog: pytest.LogCaptureFixture) -> None:
    async def hang(_request: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async def begin(calls: list[Any]) -> None:
        caged = AsyncCaged(KEY, "http://api.test", transport=httpx.MockTransport(hang))
        coroutine = caged.sandboxes.list()
        coroutine.send(None)
        calls.append(coroutine)

    calls: list[Any] = []
    asyncio.run(begin(calls))
    calls.pop().close()
    assert spans.only.attributes["error.type"] == "interrupted"
    assert caplog.messages == []


def test_spans_stand_below_the_current_one_and_next_to_each_other(spans: Spans) -> None:
    async def main() -> None:
        server = httpx.MockTransport(js([]))
        async with AsyncCaged(KEY, "http://api.test", transport=server) as caged:
            with spans.provider.get_tracer("test").start_as_current_span("above"):
                await asyncio.gather(caged.sandboxes.logs("cage_a"), caged.sandboxes.logs("cage_b"))
                await caged.sandboxes.list()

    asyncio.run(main())
    *made, above = spans.all()
    assert above.name == "above"
    assert [span.parent.span_id for span in made] == [above.get_span_context().span_id] * 3
    assert sorted(span.attributes.get("caged.sandbox.id", "") for span in made) == ["", "cage_a", "cage_b"]


def test_the_span_is_the_current_one_while_the_request_is_sent(driver: Any, spans: Spans) -> None:
    seen = []

    def answer(_request: httpx.Request) -> httpx.Response:
        seen.append(trace.get_current_span().get_span_context().span_id)
        return httpx.Response(200, json=[])

    driver.run(answer, lambda caged: caged.sandboxes.list())
    assert seen == [spans.only.get_span_context().span_id]


def test_instrumentation_of_http_is_switched_off_during_a_call(driver: Any, spans: Spans) -> None:
    from opentelemetry import context

    key = getattr(context, "_SUPPRESS_HTTP_INSTRUMENTATION_KEY", None)
    if key is None:
        pytest.skip("this version of opentelemetry-api has no such switch")
    seen = []

    def answer(_request: httpx.Request) -> httpx.Response:
        seen.append(context.get_value(key))
        return httpx.Response(200, json=[])

    driver.run(answer, lambda caged: caged.sandboxes.list())
    assert (seen, context.get_value(key)) == ([True], None)


def test_program_can_switch_spans_off(driver: Any, spans: Spans, monkeypatch: pytest.MonkeyPatch) -> None:
    from opentelemetry import context

    monkeypatch.setenv("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "redis, caged")
    driver.run(js([]), lambda caged: caged.sandboxes.list())
    monkeypatch.delenv("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS")
    token = context.attach(context.set_value(context._SUPPRESS_INSTRUMENTATION_KEY, True))  # type: ignore[attr-defined]
    driver.run(js([]), lambda caged: caged.sandboxes.list())
    context.detach(token)
    assert (spans.all(), ["traceparent" in request.headers for request in driver.requests]) == ([], [False] * 2)


def test_span_that_is_not_sampled_is_still_named_in_the_header(driver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

    off = Spans(ALWAYS_OFF)
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: off.provider)
    driver.run(js([]), lambda caged: caged.sandboxes.list())
    assert int(driver.request.headers["traceparent"][-2:], 16) & trace.TraceFlags.SAMPLED == 0
    assert off.all() == []


def test_failing_provider_fails_no_call_and_is_logged_once(
    driver: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        def get_tracer(self, *_arguments: Any, **_options: Any) -> Any:
            raise ValueError("no tracer")

    monkeypatch.setattr(trace, "get_tracer_provider", Broken)
    monkeypatch.setattr("caged._spans._reported", set())
    for _ in range(2):
        assert driver.run(js([]), lambda caged: caged.sandboxes.list()) == []
    assert ["traceparent" in request.headers for request in driver.requests] == [False, False]
    assert [record.getMessage() for record in caplog.records if record.name == "caged.spans"] == [
        "the span of a call could not be made"
    ]


class PluginObserver:
    """An observer that adds a header of its own, as the pytest plugin does."""

    def __init__(self) -> None:
        self.traceparents: list[str] = []
        self.ends: list[Any] = []

    def begin(self, _settings: Any, _path: str, _body: Any, traceparent: str) -> Any:
        observer = self
        self.traceparents.append(traceparent)

        class Observed(ObservedCall):
            headers = {"X-Observed": "yes"}

            def end(self, error: Any, result: Any = None) -> None:
                observer.ends.append((error, result))

        return Observed()


def test_both_observers_see_a_call_and_know_the_same_span(driver: Any, spans: Spans) -> None:
    observer = PluginObserver()
    before = _observation.install(observer)
    try:
        driver.run([js({}, 503), js([])], lambda caged: caged.sandboxes.list())
    finally:
        _observation.install(before)
    assert observer.traceparents == [header_of(spans.only)]
    assert observer.ends == [(None, [])]
    assert spans.only.attributes["http.request.resend_count"] == 1
    for request in driver.requests:
        assert (request.headers["traceparent"], request.headers["X-Observed"]) == (header_of(spans.only), "yes")


def test_observer_gets_no_header_of_a_span_that_no_provider_has_made(
    driver: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    observer = PluginObserver()
    above = trace.NonRecordingSpan(trace.SpanContext(1, 2, is_remote=True, trace_flags=trace.TraceFlags(1)))
    monkeypatch.setattr(trace, "get_tracer_provider", trace.NoOpTracerProvider)
    before = _observation.install(observer)
    try:
        with trace.use_span(above):
            driver.run(js([]), lambda caged: caged.sandboxes.list())
    finally:
        _observation.install(before)
    assert observer.traceparents == [""]
    assert driver.request.headers["traceparent"] == f"00-{1:032x}-{2:016x}-01", "the caller's span is passed on"


def test_sockets_are_one_span_each_and_reach_the_emulator(spans: Spans) -> None:
    async def main(url: str, key: str, box: str) -> None:
        async with AsyncCaged(key, url) as caged:
            async with await caged.sandboxes.terminal(box):
                pass
            async with await caged.sandboxes.mcp(box):
                pass
            assert await caged.sandboxes.stream(box, "echo hi").text() == "hi\n"

    with Emulator(isolation="process") as emulator, emulator.client() as caged:
        box = caged.sandboxes.create().id
        first = len(spans.all())
        asyncio.run(main(emulator.base_url, emulator.api_key, box))
        assert caged.sandboxes.stream(box, "echo hi").text() == "hi\n"
        with pytest.raises(CagedNotFoundError):
            list(caged.sandboxes.stream("cage_nope", "echo hi"))
        made = spans.all()[first:]
        requests = emulator.journal.steps(kind="request")
    assert [(span.attributes["caged.operation"], span.attributes["http.response.status_code"]) for span in made] == [
        ("sandboxes.terminal", 101),
        ("sandboxes.mcp", 101),
        ("sandboxes.terminal", 101),
        ("sandboxes.terminal", 101),
        ("sandboxes.terminal", 404),
    ]
    assert made[-1].attributes["error.type"] == "404"
    urls = [urlsplit(span.attributes["url.full"]) for span in made]
    assert [(url.scheme, url.query) for url in urls] == [("ws", "rows=24&cols=80")] + [("ws", "")] * 4
    for span in made:  # the ticket, and the socket
        context = span.get_span_context()
        below = [step for step in requests if step.parent == f"{context.span_id:016x}"]
        assert {step.detail["trace_id"] for step in below} == {f"{context.trace_id:032x}"}
        assert [step.detail["operation"] for step in below] == ["socket_ticket", span.attributes["caged.operation"]]


# --- routes


def test_routes_are_those_of_the_emulator() -> None:
    known = {}
    for operation in all_operations():
        if operation.path.startswith("/v1/"):
            method = getattr(operation, "method", "GET")
            known[method, operation.path[3:]] = operation.name
    for method, template, name in ROUTES:
        plain = "/".join("{id}" if part[:1] == "{" else part for part in template.split("/"))
        assert known.get((method, plain)) == name, (method, template)


def test_route_of_a_path_has_its_ids() -> None:
    route = route_of("GET", "/sandboxes/a%2Fb/logs")
    assert route is not None
    assert (route.template, route.ids) == ("/sandboxes/{sandbox_id}/logs", {"sandbox_id": "a/b"})
    rules = route_of("GET", "/alerts/rules")
    assert rules is not None
    assert rules.operation == "alerts.list_rules"
    assert route_of("GET", "/nothing") is None


# --- what is imported

_USE = """
import sys, httpx
from caged import Caged

def send(request):
    seen.append(dict(request.headers))
    return httpx.Response(200, json=[])

seen = []
caged = Caged("k", "http://api.test", transport=httpx.MockTransport(send))
caged.sandboxes.list()
assert not [name for name in sys.modules if name.startswith("opentelemetry")], "it was imported"
assert "caged._spans" not in sys.modules and "traceparent" not in seen[-1]
"""
_CONFIGURED = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
caged.sandboxes.list()
assert "traceparent" not in seen[-1], "there is no provider yet"
kept = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(kept))
trace.set_tracer_provider(provider)
caged.sandboxes.list()
(span,) = kept.get_finished_spans()
assert f"{span.get_span_context().span_id:016x}" in seen[-1]["traceparent"], seen[-1]
"""
_MISSING = """
import sys
sys.modules["opentelemetry"] = None
"""


def python(code: str) -> None:
    run = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=100)
    assert run.returncode == 0, run.stderr


def test_opentelemetry_is_imported_by_the_program_only_and_then_used_by_a_client_that_exists() -> None:
    python(_USE + _CONFIGURED)


def test_client_works_without_the_package() -> None:
    python(_MISSING + _USE.replace('if name.startswith("opentelemetry")', 'if name.startswith("opentelemetry.")'))
