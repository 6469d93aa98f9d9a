"""The trace of a test with other targets, its spans, and that no secret is in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trace_runs
from trace_runs import CACHED, ancestors, matching, only

from caged import Caged


def test_tests_on_a_shared_emulator_have_their_own_steps_only(tmp_path: Path) -> None:
    source = """
        import pytest

        @pytest.fixture
        def broken(caged):
            yield
            caged.account.get()
            raise ValueError("in teardown")

        @pytest.mark.parametrize("number", range(4))
        def test_fails(caged, caged_emulator, caged_sandbox, number):
            caged.sandboxes.exec(caged_sandbox.id, f"echo number {number}")
            with caged_emulator.emulator.account("second") as second, second.client() as client:
                client.sandboxes.list()
            assert 0

        def test_teardown(broken, caged_sandbox): pass
    """
    run = trace_runs.run(tmp_path, {"test_shared.py": source}, "-n2", "--caged-shared")
    for number in range(4):
        trace = run.trace(f"test_fails[{number}]")
        (command,) = matching(trace, kind="command")
        assert command.title == f"$ echo number {number}"
        assert [step.kind for step in ancestors(trace, command)] == ["request", "call", "test"]
        accounts = {step.account for step in matching(trace, kind="request")}
        assert len(accounts) == 2, "its own, and the one that it made and that is deleted"
    teardown = run.trace("test_teardown")
    assert [step.title for step in matching(teardown, kind="request")] == ["POST /v1/sandboxes", "GET /v1/account"]


def test_live_run_has_calls_and_requests_and_sends_no_header(
    tmp_path: Path, live: Any, api: Caged, account: Any
) -> None:
    source = """
        import httpx, os
        from caged import CagedError

        def test_fails(caged, caged_sandbox):
            caged.sandboxes.exec(caged_sandbox.id, "echo hello")
            for text in caged.sandboxes.stream(caged_sandbox.id, "echo streamed"): pass
            try:
                caged.sandboxes.get("cage_nope")
            except CagedError:
                pass
            assert 0
    """
    run = trace_runs.run(tmp_path, {"test_live.py": source}, *live)
    trace = run.trace("test_fails")
    assert trace.header.target == "live"
    assert any("$ echo hello (exit 0" in line for line in trace.header.log)
    calls = [step.detail["call"] for step in matching(trace, kind="call")]
    wanted = ["sandboxes.create", "sandboxes.exec", "sandboxes.stream", "sandboxes.get"]
    assert calls[:4] == wanted
    failed = only(trace, kind="request", title="GET /v1/sandboxes/cage_nope")
    assert (failed.detail["status"], failed.status) == (404, "error")
    assert [step.title for step in ancestors(trace, failed)] == ["sandboxes.get cage_nope", "call"]
    parents = {step.parent for step in account.journal.steps(kind="request")}
    assert parents == {""}, "the server got no traceparent"


def test_kept_sandboxes_are_named_in_the_header(tmp_path: Path) -> None:
    source = "def test_fails(caged, caged_sandbox): assert 0\n"
    run = trace_runs.run(tmp_path, {"test_kept.py": source}, "--caged-keep-failed")
    ((sandbox, archive),) = run.trace("test_fails").header.kept.items()
    assert f"caged-emulator shell {sandbox} --from {archive}" in run.output
    assert Path(archive).is_file()


SECRETS = """
    import os, pytest
    from caged import Caged

    def secret(name):  # put together, so that the source does not have it
        return "-".join(["planted", name, "value", "0123456789"])

    def test_plants_secrets(caged, caged_emulator):
        env = {"TOKEN": secret("env"), "OTHER": secret("plain"), "ANTHROPIC_API_KEY": secret("promptenv")}
        repo = "https://user:" + secret("repo") + "@127.0.0.1:1/acme/calc"
        box = caged.sandboxes.create(agents=["claude-code"], env=env, secrets=["TOKEN"])
        try:
            caged.sandboxes.create(repo=repo, repo_token=secret("repotoken"))
        except Exception:
            pass
        key = caged.account.create_key("second").key
        caged_emulator.agent("claude").reply("the token is " + secret("env"), cost_usd=0.1)
        caged.sandboxes.exec(box.id, "echo $TOKEN; claude -p 'use " + secret("env") + "'")
        caged.sandboxes.exec(box.id, 'claude -p "my key is $ANTHROPIC_API_KEY"; env > env.txt; env')
        caged.sandboxes.exec(box.id, "echo " + key + " " + caged_emulator.emulator.admin_key)
        list(caged.sandboxes.stream(box.id, "echo $TOKEN"))
        list(caged.sandboxes.stream(box.id, "cat env.txt; cat " + secret("env")))
        try:
            caged.files.read(box.id, "/workspace/" + secret("env"))
        except Exception:
            pass
        with Caged(key, caged_emulator.base_url) as client:
            client.files.write(box.id, "/workspace/kept.txt", secret("env"))
        caged_emulator.commands.stub("never " + secret("env"), "x", optional=False)
        assert 0, "planted"

    def test_raises_a_secret(caged, caged_emulator):
        box = caged.sandboxes.create(env={"TOKEN": secret("env")})
        key = caged.account.create_key("third").key
        if os.environ.get("RAISES"):
            raise ValueError(f"{secret('env')} {caged_emulator.api_key} {key} {caged_emulator.emulator.admin_key}")

    def test_writes_what_must_not_be_found(caged, caged_emulator):
        pass
"""


#: A conftest.py that writes the spans of OpenTelemetry.
KEEPS_SPANS = """
    import json, os
    from pathlib import Path
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    kept = InMemorySpanExporter()

    def pytest_configure(config):
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(kept))
        trace.set_tracer_provider(provider)

    def pytest_unconfigure(config):
        spans = [json.loads(span.to_json()) for span in kept.get_finished_spans()]
        Path(str(config.rootpath), f"{os.getpid()}.spans.json").write_text(json.dumps(spans))
"""


def test_calls_have_the_spans_of_opentelemetry_where_the_tests_use_it(tmp_path: Path) -> None:
    source = """
        from opentelemetry import trace

        def test_fails(caged, caged_sandbox):
            with trace.get_tracer("test").start_as_current_span("above"):
                caged.files.write(caged_sandbox.id, "a.txt", "x")
                list(caged.sandboxes.stream(caged_sandbox.id, "echo hi"))
            assert 0
    """
    run = trace_runs.run(tmp_path, {"test_spans.py": source, "conftest.py": KEEPS_SPANS})
    trace = run.trace("test_fails")
    (file,) = tmp_path.glob("*.spans.json")
    spans = {one["context"]["span_id"][2:]: one for one in json.loads(file.read_text())}
    above = next(span_id for span_id, one in spans.items() if one["name"] == "above")
    made = [one for one in spans.values() if (one["parent_id"] or "")[2:] == above]
    assert [one["attributes"]["caged.operation"] for one in made] == ["files.write", "sandboxes.terminal"]
    for one in made:
        call = next(step for step in trace.steps if step.id == one["context"]["span_id"][2:])
        requests = [step for step in trace.steps if step.parent == call.id]
        assert (call.kind, {step.kind for step in requests}) == ("call", {"request"})
        found = {step.detail["trace_id"] for step in (call, *requests)}
        assert found == {one["context"]["trace_id"][2:]}


def test_each_test_is_a_trace_of_its_own(tmp_path: Path) -> None:
    source = """
        import pytest

        @pytest.mark.parametrize("number", [1, 2])
        def test_fails(caged, number):
            caged.account.get()
            caged.account.get()
            assert 0
    """
    run = trace_runs.run(tmp_path, {"test_two.py": source})
    ids = [{step.detail["trace_id"] for step in one.steps if step.kind == "call"} for one in run.traces().values()]
    assert [len(found) for found in ids] == [1, 1]
    assert ids[0] != ids[1]


@pytest.mark.parametrize("options", [("-n0",), ("-n2", "--caged-shared")])
def test_no_secret_is_in_any_artifact(tmp_path: Path, options: tuple[str, ...]) -> None:
    files = {"test_secrets.py": SECRETS, "conftest.py": KEEPS_SPANS}
    env = {"GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md")}
    run = trace_runs.run(tmp_path, files, "--junitxml=junit.xml", "--caged-report=full", "-rA", *options, env=env)
    assert run.trace("test_plants_secrets").header.error_summary.startswith("AssertionError: planted")
    artifacts = run.artifacts()
    for part in (".html", " as OTLP", " as Markdown", "junit.xml", "summary.md", ".spans.json"):
        assert any(name.endswith(part) for name in artifacts), part
    assert "AssertionError: planted" in artifacts["summary.md"]
    for name, text in artifacts.items():
        assert "planted-" not in text, name
        for prefix in ("caged_sk_", "caged_adm_", "caged_wst_"):
            following = {text[at + len(prefix)] for at in places(text, prefix)}
            assert following <= {"*"}, (name, prefix)


def test_no_secret_of_a_failure_is_in_the_files_of_its_trace(tmp_path: Path) -> None:
    run = trace_runs.run(tmp_path, {"test_secrets.py": SECRETS}, "-k", "raises", env={"RAISES": "1"})
    assert run.trace("test_raises_a_secret").header.error_summary.startswith("ValueError: *** caged_sk_***")
    for name, text in run.artifacts().items():
        if str(CACHED) in name:
            assert "planted-" not in text, name
            for prefix in ("caged_sk_", "caged_adm_"):
                assert {text[at + len(prefix)] for at in places(text, prefix)} <= {"*"}, (name, prefix)


def places(text: str, part: str) -> list[int]:
    """Where a part stands in a text, but for the end of the text."""
    found, at = [], text.find(part)
    while at >= 0:
        if at + len(part) < len(text):
            found.append(at)
        at = text.find(part, at + 1)
    return found
