"""A trace as OTLP/JSON: against OTLP's own definition, and what the spans say."""

from __future__ import annotations

import base64
import json
import random
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from trace_testing import NODE_ID, real_trace, step

from caged.emulator.cli.trace_export import command
from caged.emulator.control.step import KINDS, Step
from caged.emulator.trace.file import Trace, TraceHeader
from caged.emulator.trace.otlp import ATTRIBUTE_CHARACTERS, EVENT_CHARACTERS, EVENTS, build_otlp

TRACE, OTHER, SPAN = "0af7651916cd43dd8448eb211c80319c", "1af7651916cd43dd8448eb211c80319d", "b7ad6b7169203331"


def spans_of(otlp: dict[str, Any]) -> list[dict[str, Any]]:
    found = []
    for resource in otlp["resourceSpans"]:
        (scope,) = resource["scopeSpans"]
        found += scope["spans"]
    return found


def attributes(span: dict[str, Any]) -> dict[str, Any]:
    return {one["key"]: next(iter(one["value"].values())) for one in span.get("attributes", ())}


def convert(*steps: Step, **header: Any) -> list[dict[str, Any]]:
    """The spans of a trace of some steps; the first is the root."""
    header = {"title": "t.py::test", "wall": "2026-01-01T00:00:00.250Z", "start": 10.0, **header}
    otlp = build_otlp(Trace(TraceHeader(**header), list(steps)))
    parse(otlp)
    return spans_of(otlp)


def by_step(spans: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {attributes(span).get("caged.step.id", "root"): span for span in spans}


def parse(otlp: dict[str, Any]) -> Any:
    """Parse it as an OTLP request. Unlike JSON of other protocol buffers, OTLP/JSON has ids as hexadecimal digits."""
    json_format = pytest.importorskip("google.protobuf.json_format", reason="opentelemetry-proto is not installed")
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    def converted(value: Any, name: str = "") -> Any:
        if isinstance(value, dict):
            return {key: converted(inner, key) for key, inner in value.items()}
        if isinstance(value, list):
            return [converted(inner) for inner in value]
        if name in ("traceId", "spanId", "parentSpanId"):
            assert len(value) == (32 if name == "traceId" else 16)
            return base64.b64encode(bytes.fromhex(value)).decode()
        if name == "code" or name == "kind":
            assert type(value) is int, "OTLP/JSON has enumerations as numbers"
        return value

    text = json.dumps(converted(json.loads(json.dumps(otlp, allow_nan=False))))
    return json_format.Parse(text, ExportTraceServiceRequest())


@pytest.fixture(scope="module")
def trace() -> Trace:
    return real_trace()


def test_real_trace_is_valid_otlp_with_a_span_for_each_step(trace: Trace) -> None:
    parsed = parse(build_otlp(trace))
    spans = [span for resource in parsed.resource_spans for scope in resource.scope_spans for span in scope.spans]
    assert len(spans) == len(trace.steps) + 1
    assert len({span.span_id for span in spans}) == len(spans)
    assert len({span.trace_id for span in spans}) == 1
    ids = {span.span_id for span in spans}
    assert [span.name for span in spans if span.parent_span_id not in ids] == [NODE_ID]
    assert all(span.start_time_unix_nano <= span.end_time_unix_nano for span in spans)
    root = next(span for span in spans if not span.parent_span_id)
    assert all(abs(span.start_time_unix_nano - root.start_time_unix_nano) < 600 * 10**9 for span in spans)
    services = [
        {one.key: one.value.string_value for one in resource.resource.attributes}["service.name"]
        for resource in parsed.resource_spans
    ]
    assert services == ["caged-client", "caged-emulator"]


def test_spans_nest_and_are_named_by_the_conventions(trace: Trace) -> None:
    spans = spans_of(build_otlp(trace))
    names = {span["spanId"]: span["name"] for span in spans}
    prompt = next(span for span in spans if span["name"] == "invoke_agent claude-code")
    command_ = next(span for span in spans if span["spanId"] == prompt["parentSpanId"])
    request = next(span for span in spans if span["spanId"] == command_["parentSpanId"])
    assert (command_["name"], request["name"]) == ("run claude", "POST /v1/sandboxes/{sandbox_id}/exec")
    assert names[request["parentSpanId"]].startswith("sandboxes.exec")
    assert [span["kind"] for span in (prompt, command_, request)] == [1, 1, 2]
    assert attributes(prompt)["caged.cost_usd"] == 0.25
    assert "the sum is wrong" not in json.dumps(prompt)
    assert attributes(request)["http.response.status_code"] == "200"
    assert attributes(request)["http.route"] == "/v1/sandboxes/{sandbox_id}/exec"
    failed = next(span for span in spans if attributes(span).get("process.command_line") == "sh run_tests.sh")
    assert attributes(failed)["process.exit.code"] == "1"
    output = [event for event in failed["events"] if event["name"] == "caged.output"]
    assert "collecting" in "".join(event["attributes"][0]["value"]["stringValue"] for event in output)
    times = [int(event["timeUnixNano"]) for event in output]
    assert times == sorted(times)
    assert int(failed["startTimeUnixNano"]) < times[-1] <= int(failed["endTimeUnixNano"])


def test_bodies_and_texts_of_prompts_are_left_out(trace: Trace) -> None:
    spans = [span for span in spans_of(build_otlp(trace)) if attributes(span).get("caged.step.kind") != "command"]
    text = json.dumps(spans, ensure_ascii=False)
    bodies = [one.detail["request"] for one in trace.steps if one.kind == "request" and one.detail.get("request")]
    assert len(bodies) > 5
    for left_out in ("I changed add() so that it adds", "the sum is wrong", *bodies):
        assert left_out not in text.replace('\\"', '"')


def test_status_and_error_type_follow_the_conventions() -> None:
    def request(id: str, status: int, outcome: str) -> Step:
        return step(id, status=outcome, detail={"method": "GET", "path": "/v1/account", "status": status})

    found = by_step(
        convert(
            request("s1", 200, "ok"),
            request("s2", 404, "error"),
            request("s3", 503, "error"),
            request("s4", 0, "error"),
            step("s5", "command", status="error", detail={"command": "A=1 /bin/false x", "exit_code": 1}),
            step("s6", "call", status="error", detail={"call": "account.get", "error": "CagedServerError: no"}),
            outcome="failed",
            error_summary="assert 0",
        )
    )
    codes = {name: span["status"].get("code", 0) for name, span in found.items()}
    assert codes == {"root": 2, "s1": 0, "s2": 0, "s3": 2, "s4": 2, "s5": 2, "s6": 2}
    types = {name: attributes(span).get("error.type") for name, span in found.items()}
    assert types == {
        "root": None, "s1": None, "s2": "404", "s3": "503", "s4": "_OTHER", "s5": "1", "s6": "CagedServerError"
    }  # fmt: skip
    assert found["s5"]["name"] == "run false"
    assert (found["root"]["status"]["message"], found["s6"]["kind"]) == ("assert 0", 3)


def test_query_shows_numbers_only() -> None:
    detail = {"method": "GET", "path": "/v1/sandboxes/cage_1/logs", "query": "tail=7&path=%2Fplanted&x="}
    span = by_step(convert(step("s1", detail=detail)))["s1"]
    assert attributes(span)["url.query"] == "tail=7&path=REDACTED&x=REDACTED"


def test_times_are_those_of_the_clock_that_is_never_set() -> None:
    found = by_step(convert(step("s1", start=12.000001, duration_ms=1.5, wall="1999-01-01T00:00:00Z")))
    begin = 1767225600 * 10**9 + 250 * 10**6
    assert found["root"]["startTimeUnixNano"] == str(begin)
    assert found["s1"]["startTimeUnixNano"] == str(begin + 2 * 10**9 + 1000)
    assert found["s1"]["endTimeUnixNano"] == str(begin + 2 * 10**9 + 1000 + 1_500_000)


def test_step_that_runs_ends_with_the_trace() -> None:
    running = step("s1", "command", start=11.0, status="running", duration_ms=None)
    found = by_step(convert(running, step("s2", start=14.0, duration_ms=1000.0)))
    assert found["s1"]["endTimeUnixNano"] == found["s2"]["endTimeUnixNano"]
    assert attributes(found["s1"])["caged.step.is_running"] is True


def test_spans_of_a_program_keep_its_trace_and_its_span_as_parent() -> None:
    found = by_step(
        convert(
            step("s1", parent=SPAN, detail={"trace_id": TRACE}),
            step("s2", "command", parent="s1"),
            step("s3", parent=SPAN, detail={"trace_id": OTHER}),
            step("s4"),
            step("s5", parent="s99"),
        )
    )
    assert [found[name]["traceId"] for name in ("s1", "s2", "s3")] == [TRACE, TRACE, OTHER]
    assert (found["s1"]["parentSpanId"], found["s2"]["parentSpanId"]) == (SPAN, found["s1"]["spanId"])
    root = found["root"]
    assert root["traceId"] not in (TRACE, OTHER)
    assert [found[name]["parentSpanId"] for name in ("s4", "s5")] == [root["spanId"]] * 2


def test_call_of_another_trace_than_its_test_is_linked_to_it() -> None:
    test = step("call", "test", detail={"phase": "call", "outcome": "passed"})
    call = step(SPAN, "call", parent="call", detail={"call": "sandboxes.list", "trace_id": TRACE})
    other = step("c7ad6b7169203331", "call", parent="call", detail={"call": "sandboxes.list", "trace_id": OTHER})
    request = step("s1", parent=SPAN, detail={"trace_id": TRACE})
    found = by_step(convert(test, call, request, other))
    phase = found["call"]
    assert found[SPAN]["spanId"] == SPAN
    assert found[SPAN]["links"] == [{"traceId": phase["traceId"], "spanId": phase["spanId"]}]
    assert "parentSpanId" not in found[SPAN]
    assert found["s1"]["parentSpanId"] == SPAN


def test_only_trace_of_a_file_is_that_of_all_spans() -> None:
    test = step("call", "test", detail={"phase": "call"})
    call = step(SPAN, "call", parent="call", detail={"call": "sandboxes.list", "trace_id": TRACE})
    found = by_step(convert(test, call, step("s1", parent=SPAN, detail={"trace_id": TRACE})))
    assert {span["traceId"] for span in found.values()} == {TRACE}
    assert found[SPAN]["parentSpanId"] == found["call"]["spanId"]


def test_output_is_bounded_and_says_how_much_is_missing() -> None:
    many = step("s1", "command", detail={"output": [[n / 1000, "x"] for n in range(EVENTS + 5)]})
    output = [[0.0, "y" * (EVENT_CHARACTERS * 2)], [0.1, "z" * ATTRIBUTE_CHARACTERS]]
    long = step("s2", "command", detail={"output": output})
    found = by_step(convert(many, long))
    assert (len(found["s1"]["events"]), found["s1"]["droppedEventsCount"]) == (EVENTS, 5)
    kept = EVENT_CHARACTERS // ATTRIBUTE_CHARACTERS
    assert (len(found["s2"]["events"]), found["s2"]["droppedEventsCount"]) == (kept, kept + 1)


def test_changes_of_files_and_near_misses_are_events() -> None:
    detail = {"changes": [{"path": "/workspace/a", "change": "added", "after": "planted"}], "near_misses": ["almost"]}
    span = by_step(convert(step("s1", "command", detail=detail)))["s1"]
    assert [event["name"] for event in span["events"]] == ["caged.file_change", "caged.near_miss"]
    assert "planted" not in json.dumps(span)


def test_odd_traces_are_valid_otlp() -> None:
    numbers = [2**80, -1, float("inf"), float("nan"), True]
    odd: list[Any] = [None, "", "\udcff", "x" * 100_000, *numbers, [], [1], {}, {"a": 1}]
    chance = random.Random(7)
    names = (
        "method", "path", "operation", "status", "query", "call", "source", "command", "exit_code", "output", "agent",
        "tokens_in", "cost_usd", "phase", "changes", "near_misses", "error", "trace_id", "event",
    )  # fmt: skip
    steps = []
    for _ in range(400):
        detail = {name: chance.choice(odd) for name in chance.sample(names, 8)}
        steps.append(
            step(
                f"s{chance.randrange(300)}",
                chance.choice(KINDS),
                "\udcff",
                chance.choice([0.0, 1.5, 1e30, -5.0]),
                parent=f"s{chance.randrange(300)}",
                status=chance.choice(["running", "ok", "error"]),
                duration_ms=chance.choice([None, 0.0, -3.0, 1e30]),
                wall=chance.choice(["", "x", "2026-01-01T00:00:00Z"]),
                controls=["a", "\udcff"],
                detail=detail,
            )
        )
    spans = convert(*steps, wall="nonsense", title="\ud800")
    assert len(spans) == 401
    assert len({span["spanId"] for span in spans}) == 401
    assert len(convert(title="", wall="")) == 1


def test_ids_are_the_same_each_time(trace: Trace) -> None:
    assert build_otlp(trace) == build_otlp(trace)


# --- the command


def test_command_writes_the_file_or_prints_it(tmp_path: Path) -> None:
    file, out = tmp_path / "t.jsonl", tmp_path / "out.json"
    trace = Trace(TraceHeader("t.py::test", wall="2026-01-01T00:00:00Z"), [step("s1", "command", "ünï")])
    trace.write(file)
    done = CliRunner().invoke(command, ["--otlp", str(out), str(file)])
    assert (done.exit_code, done.output) == (0, "")
    assert json.loads(out.read_text(encoding="utf-8")) == build_otlp(trace)
    printed = CliRunner().invoke(command, ["--otlp", "-", str(file)])
    assert json.loads(printed.output) == build_otlp(trace)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.json", "t.jsonl"]


def test_command_says_what_is_wrong(tmp_path: Path) -> None:
    page, file = tmp_path / "t.html", tmp_path / "t.jsonl"
    page.write_text("<html>\n")
    Trace(TraceHeader("x"), []).write(file)
    before = file.read_bytes()
    for arguments, text in [
        ([str(file)], "Missing option '--otlp'"),
        (["--otlp", "-", str(tmp_path / "none")], "does not exist"),
        (["--otlp", str(file), str(file)], "is the trace itself; name another file"),
        (["--otlp", str(tmp_path / "no" / "out.json"), str(file)], "cannot be written: No such file or directory"),
    ]:
        done = CliRunner().invoke(command, arguments)
        assert done.exit_code != 0
        assert text in done.output, arguments
    assert file.read_bytes() == before
