"""Steps: what happened to an account as one list that nests, whatever it was."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from emulator_testing import Api, eventually
from sockets import Term, open_socket
from steps_testing import ancestors, ended, only, output, steps_of, stream, texts

from caged import Caged
from caged.emulator.control import step_log
from caged.emulator.control.journal import BODY_BYTES
from caged.emulator.trace.file import Trace, TraceHeader


def at_once(api: Api, work: Callable[[Api, str], Any], boxes: list[str]) -> None:
    """Call `work` for each sandbox in a thread with a client of its own. Raises what one of them raises."""
    clients = [Api(api.emulator, api.key, api.account_id) for _ in boxes]
    with ThreadPoolExecutor(len(boxes)) as threads:
        list(threads.map(work, clients, boxes))
    for client in clients:
        client.close()


# --- what is a step, and where it stands


def test_request_has_a_step_with_its_answer(api: Api):
    assert api.get("/account").status_code == 200
    step = only(steps_of(api), "request", "GET /v1/account")
    assert (step.status, step.detail["status"], step.detail["operation"]) == ("ok", 200, "account.get")
    assert step.detail["method"] == "GET"
    assert json.loads(step.detail["response"])["id"] == api.account_id
    assert step.duration_ms is not None
    assert 0 < step.duration_ms < 60_000
    assert step.parent == ""


def test_refused_request_has_the_status_error(api: Api):
    assert api.get("/sandboxes/cage_nope").status_code == 404
    step = only(steps_of(api), "request")
    assert (step.status, step.detail["status"], step.sandbox) == ("error", 404, "cage_nope")


def test_request_stands_below_the_span_that_its_client_names(api: Api):
    api.get("/account", headers={"traceparent": f"00-{TRACE}-{SPAN}-01"})
    step = only(steps_of(api), "request")
    assert (step.parent, step.detail["trace_id"]) == (SPAN, TRACE)


TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
#: Values of the header, and whether they are valid.
TRACEPARENTS = {
    f"00-{TRACE}-{SPAN}-00": True,
    f"00-{TRACE}-{SPAN}-ff": True,
    f"cc-{TRACE}-{SPAN}-01": True,
    f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like": True,
    "": False,
    "x": False,
    "é": False,
    "00-abc-def-01": False,
    f"00-{TRACE}-{SPAN}": False,
    f"00-{TRACE}-{SPAN}-01-more": False,
    f"00-{TRACE}-{SPAN}-01-": False,
    f"cc-{TRACE}-{SPAN}-01.more": False,
    f"ff-{TRACE}-{SPAN}-01": False,
    f"0-{TRACE}-{SPAN}-01": False,
    f"00-{TRACE.upper()}-{SPAN}-01": False,
    f"00-{TRACE}-{SPAN.upper()}-01": False,
    f"00-{'0' * 32}-{SPAN}-01": False,
    f"00-{TRACE}-{'0' * 16}-01": False,
    f"00-{TRACE}-{SPAN[:-1]}g-01": False,
    f"00-{TRACE}-{SPAN}-0g": False,
    f"00-{TRACE}-{SPAN}-1": False,
    f"00_{TRACE}_{SPAN}_01": False,
    f"00-{TRACE}-{SPAN}-01, 00-{TRACE}-{SPAN}-01": False,
}


def test_only_a_valid_header_names_a_span(api: Api):
    for header in TRACEPARENTS:
        api.get("/account", headers={"traceparent": header.encode("utf-8")})
    steps = [step for step in steps_of(api) if step.kind == "request"]
    found = dict(zip(TRACEPARENTS, ((step.parent, step.detail.get("trace_id")) for step in steps)))
    assert found == {header: (SPAN, TRACE) if valid else ("", None) for header, valid in TRACEPARENTS.items()}


def test_header_that_is_sent_twice_names_no_span(api: Api):
    api.get("/account", headers=[("traceparent", f"00-{TRACE}-{SPAN}-01"), ("traceparent", f"00-{TRACE}-{SPAN}-01")])
    assert only(steps_of(api), "request").parent == ""


def test_exec_nests_request_command_prompt_and_file(api: Api, controls: Any):
    reply = controls.agent("claude-code").reply("done", files={"x.txt": "hi"}, cost_usd=0.25, tokens_in=3, tokens_out=4)
    box = api.sandbox(agents=["claude-code"])
    api.output(box, "claude -p 'fix it'")
    steps = steps_of(api, box)
    prompt, written = only(steps, "prompt"), only(steps, "file", "write /workspace/x.txt")
    assert ancestors(written, steps) == ["prompt", "command", "request"]
    assert only(steps, "command").title == "$ claude -p 'fix it'"
    assert prompt.controls == [reply.id]
    assert prompt.detail["prompt"] == "fix it"
    assert prompt.detail["reply"] == "done"
    assert (prompt.detail["cost_usd"], prompt.detail["tokens_in"], prompt.detail["tokens_out"]) == (0.25, 3, 4)
    assert prompt.detail["session"]


def test_create_nests_build_commands_and_lifecycle(api: Api):
    box = api.sandbox(init_script="echo built")
    steps = steps_of(api)
    create = only(steps, "request", "POST /v1/sandboxes")
    build, ready = only(steps, "command", "echo built"), only(steps, "sandbox", "ready")
    assert build.parent == ready.parent == create.id
    assert (build.detail["source"], output(build), build.sandbox) == ("build", "built\n", box)


def test_failed_build_command_has_the_status_error(api: Api):
    made = api.post("/sandboxes", json={"template": "minimal", "init_script": "echo no; exit 3"})
    assert made.status_code in (201, 422, 500)
    step = only(steps_of(api), "command")
    assert (step.status, step.detail["exit_code"], output(step)) == ("error", 3, "no\n")


def test_mcp_command_stands_below_its_socket(api: Api, box: str):
    with open_socket(api.emulator.base_url, f"/sandboxes/{box}/mcp", api.key, "mcp") as opened:
        call = {"name": "terminal_exec", "arguments": {"command": "echo out; echo err >&2; exit 2"}}
        opened.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}))
        opened.recv(timeout=60)
    steps = eventually(
        lambda: (found := steps_of(api, box)) and all(step.status != "running" for step in found) and found, "the end"
    )
    command = only(steps, "command")
    assert ancestors(command, steps) == ["request"]
    assert (command.detail["source"], command.detail["exit_code"], command.status) == ("mcp", 2, "error")
    assert output(command) == "out\nerr\n"


def test_stream_has_the_output_without_markers(api: Api, box: str):
    assert stream(api, box, "echo one; sleep 0.2; echo two; (exit 4)")[1] == 4
    command = eventually(
        lambda: (found := only(steps_of(api, box), "command")).status != "running" and found, "the end"
    )
    assert (command.detail["source"], command.detail["exit_code"], command.status) == ("stream", 4, "error")
    assert output(command) == "one\ntwo\n"
    assert "CAGED" not in texts(steps_of(api, box))
    times = [seconds for seconds, _text in command.detail["output"]]
    assert times[-1] - times[0] >= 0.1


def test_terminal_command_has_what_was_shown_after_it(api: Api, box: str):
    with Term(api.emulator.base_url, box, api.key) as term:
        term.prompt()
        term.type("echo $((20+3))x\r")
        term.until("23x")
        term.prompt()
    socket_step = eventually(
        lambda: (found := only(steps_of(api, box), "request", "/terminal")).status != "running" and found, "the end"
    )
    command = only(steps_of(api, box), "command")
    assert command.parent == socket_step.id
    assert (command.detail["source"], command.detail["exit_code"]) == ("terminal", None)
    assert "23x" in output(command)


def test_stubbed_program_stands_below_the_command_that_calls_it(api: Api, controls: Any):
    stub = controls.commands.program("npm", "up to date", exit_code=1)
    box = api.sandbox()
    api.run(box, "npm install left-pad")
    steps = steps_of(api, box)
    command, call = (step for step in steps if step.kind == "command")
    assert call.parent == command.id
    assert (call.detail["source"], call.detail["exit_code"], call.status) == ("program", 1, "error")
    assert (call.controls, output(call)) == ([stub.id], "up to date")


def test_stubs_of_an_exec_a_stream_and_a_terminal_are_in_controls(api: Api, controls: Any, box: str):
    stub = controls.commands.stub("deploy *", "deployed", 3)
    api.run(box, "deploy one")
    stream(api, box, "deploy two")
    with Term(api.emulator.base_url, box, api.key) as term:
        term.prompt()
        term.type("deploy three\r")
        term.until("deployed")
    steps = ended(api, box)
    for words, source in (("one", "exec"), ("two", "stream"), ("three", "terminal")):
        step = only(steps, "command", f"deploy {words}")
        assert (step.detail["source"], step.controls) == (source, [stub.id]), step
        assert "deployed" in output(step)


def test_fault_is_in_the_controls_of_the_request_on_which_it_triggers(api: Api, controls: Any):
    fault = controls.faults.add("account.get", status=503, times=1)
    for _ in range(2):
        httpx.get(f"{api.emulator.base_url}/v1/account", headers=api.headers, trust_env=False, verify=False, timeout=60)
    first, second = (step for step in steps_of(api) if step.kind == "request")
    assert (first.controls, first.status, first.detail["status"]) == ([fault.id], "error", 503)
    assert (second.controls, second.status) == ([], "ok")


def test_two_sandboxes_and_two_threads_do_not_mix_parents(api: Api):
    def work(client: Api, box: str) -> None:
        for number in range(10):
            client.output(box, f"echo {box} {number}; sleep 0.01")

    at_once(api, work, [api.sandbox(), api.sandbox()])
    steps = steps_of(api)
    by_id = {step.id: step for step in steps}
    commands = [step for step in steps if step.kind == "command"]
    assert len(commands) == 20
    assert len({step.parent for step in commands}) == 20
    assert all(by_id[step.parent].sandbox == step.sandbox for step in commands)
    assert all(step.sandbox in step.title for step in commands)


def test_prompts_in_two_sandboxes_at_once_do_not_mix_parents(api: Api, controls: Any):
    controls.agent("claude-code").reply("done", delay=0.3)
    boxes = [api.sandbox(agents=["claude-code"]) for _ in range(2)]
    at_once(api, lambda client, box: client.run(box, "claude -p 'work'"), boxes)
    steps = steps_of(api)
    by_id = {step.id: step for step in steps}
    prompts = [step for step in steps if step.kind == "prompt"]
    assert len(prompts) == 2
    assert all(by_id[step.parent].sandbox == step.sandbox for step in prompts)
    assert all(by_id[step.parent].kind == "command" for step in prompts)


def test_order_is_that_of_the_beginnings(api: Api, box: str):
    api.run(box, "true")
    steps = steps_of(api)
    assert [step.start for step in steps] == sorted(step.start for step in steps)
    assert [step.title.split()[0] for step in steps] == ["POST", "sandbox", "POST", "$"]
    ends = [step.start + (step.duration_ms or 0) / 1000 for step in steps]
    assert ends[3] <= ends[2] + 0.001, "a command ends before its request"


# --- the file


def test_steps_of_the_journal_can_be_written_and_read(api: Api, box: str, tmp_path: Any):
    api.run(box, "echo hi")
    steps = steps_of(api)
    Trace(TraceHeader("a test"), steps).write(tmp_path / "trace.jsonl")
    assert Trace.read(tmp_path / "trace.jsonl").steps == steps


def test_client_of_the_sdk_is_recorded_too(api: Api):
    with Caged(api_key=api.key, base_url=api.emulator.base_url) as client:
        client.sandboxes.list()
    assert only(steps_of(api), "request").detail["operation"] == "sandboxes.list"


def test_command_that_runs_while_its_step_loses_its_details_ends_as_any_other(
    api: Api, controls: Any, box: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(step_log, "KEEP_BYTES", 20 * BODY_BYTES)
    command = "while ! [ -e go ]; do sleep 0.02; done; echo over"
    answers: list[Any] = []
    client = Api(api.emulator, api.key, api.account_id)
    thread = threading.Thread(target=lambda: answers.append(client.run(box, command)))
    thread.start()
    eventually(lambda: controls.journal.steps(kind="command", status="running"), "the command to run")
    for _ in range(30):
        api.write(box, "large", "x" * BODY_BYTES)
    assert "dropped" in only(controls.journal.steps(kind="command"), "command", "while").detail
    api.write(box, "go", "")
    thread.join(60)
    client.close()
    assert [one["output"] for one in answers] == ["over\n"]
    assert [one.command for one in controls.journal.commands()] == [command]
    request = next(step for step in controls.journal.steps(kind="request") if step.title.endswith(f"{box}/exec"))
    assert (request.status, request.detail["status"]) == ("ok", 200)


def test_carriage_return_in_a_command_does_not_hide_it(api, box):
    api.output(box, "touch stolen #\r$ ls && echo fine")
    (step,) = api.emulator.journal.steps(kind="command", account=api.account_id)
    assert step.title.endswith("touch stolen #\u240d$ ls && echo fine")
