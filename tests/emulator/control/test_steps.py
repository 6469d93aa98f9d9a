"""Steps: what happened to an account as one list that nests, whatever it was, with no secret in it."""

from __future__ import annotations

import json
import re
import socket as sockets_of_python
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from emulator_testing import Api, api_of, eventually
from sockets import Term, open_socket, streamed
from steps_testing import ancestors, check, only, output, steps_of, texts

from caged import Caged
from caged.emulator import Emulator
from caged.emulator.control import steps as steps_module
from caged.emulator.control.journal import BODY_BYTES
from caged.emulator.control.near_misses import of_stubs
from caged.emulator.control.patterns import TextPattern
from caged.emulator.control.steps import OUTPUT_HEAD, OUTPUT_TAIL, Step
from caged.emulator.control.stubs import Invocation, Stub
from caged.emulator.trace.file import Trace, TraceHeader

SECRET = "hunter2-correct-horse-battery"
#: A request after everything that a listener is to see.
LAST = "/sandboxes/cage_last"


@pytest.fixture
def new_api(emulator: Emulator) -> Iterator[Callable[[], Api]]:
    """Makes clients with accounts of their own, which are gone after the test."""
    made: list[Api] = []

    def make() -> Api:
        made.append(api_of(emulator))
        return made[-1]

    yield make
    for one in made:
        one.close()
        if any(account.id == one.account_id for account in emulator.accounts()):
            emulator.delete_account(one.account_id)


@pytest.fixture
def api(new_api: Callable[[], Api]) -> Api:
    return new_api()


@pytest.fixture
def box(api: Api) -> str:
    return api.sandbox()


@pytest.fixture
def controls(api: Api) -> Any:
    """The controls of the account."""
    return api.emulator.for_account(api.account_id)


def stream(api: Api, box: str, command: str) -> tuple[str, Any]:
    with Term(api.emulator.base_url, box, api.key, "?quiet=1") as term:
        return streamed(term, command)


def is_last(step: Step) -> bool:
    return step.title == f"GET /v1{LAST}" and step.status != "running"


def host_file(api: Api, box: str, name: str) -> Path:
    """A file of a workspace on the host. To create it there is no request, and no step."""
    return api.emulator.run_dir / "sandboxes" / box / "workspace" / name


def ended(api: Api, sandbox: Any = None) -> list[Step]:
    """The steps, when none of them runs any more."""

    def look() -> Any:
        found = steps_of(api, sandbox)
        return found if all(step.status != "running" for step in found) else None

    steps: list[Step] = eventually(look, "the end of every step")
    return steps


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


# --- what else is a step


def test_lifecycle_ports_snapshots_and_restores(api: Api, box: str):
    api.post(f"/sandboxes/{box}/pause")
    api.post(f"/sandboxes/{box}/resume")
    snapshot = api.snapshot(box, name="first")
    api.restore(snapshot, box)
    api.delete(f"/sandboxes/{box}")
    steps = steps_of(api, box)
    actions = [step.detail["data"]["action"] for step in steps if step.kind == "sandbox"]
    assert [one for one in actions if one in ("create", "pause", "resume", "restore", "destroy")] == [
        "create",
        "pause",
        "resume",
        "restore",
        "destroy",
    ]
    assert any("snapshot" in step.title for step in steps if step.kind == "sandbox")
    by_id = {step.id: step for step in steps}
    paused = only(steps, "sandbox", "paused")
    assert by_id[paused.parent].title.endswith("/pause")


def test_steps_of_a_destroyed_sandbox_stay(api: Api, box: str):
    api.output(box, "echo kept")
    api.delete(f"/sandboxes/{box}")
    assert output(only(steps_of(api, box), "command")) == "kept\n"


def test_budget_that_is_used_up_is_a_step(api: Api, controls: Any):
    box = api.sandbox(budget=1)
    controls.spend(box, 2)
    eventually(
        lambda: (
            (found := steps_of(api, box)) and any(s.kind == "sandbox" and "budget" in s.title for s in found) and found
        ),
        "the pause",
    )
    alerts = [step for step in steps_of(api) if step.kind == "alert"]
    first, *_rest, last = alerts
    assert (first.status, last.status) == ("ok", "error")  # a warning, and a critical one
    assert last.title == "critical: Budget Threshold Exceeded: $2.00 of $1.00 (alert at 100%)"
    assert only(steps_of(api), "control", "spend").sandbox in ("", box)


def test_clock_moves_and_controls_are_steps(api: Api, controls: Any):
    controls.clock.advance(minutes=5)
    fault = controls.faults.add("account.get", status=500, optional=True)
    fault.remove()
    controls.clock.tick()
    controls.clock.tick(90)
    steps = [step for step in steps_of(api) if step.kind == "control"]
    ticks = ["clock tick by 1 second", "clock tick by 90 seconds"]
    assert [step.title for step in steps] == [
        "clock advance by 5 minutes",
        "faults add",
        f"faults remove {fault.id}",
        *ticks,
    ]
    assert steps[0].detail["body"]["minutes"] == 5
    assert steps[1].controls == [fault.id]
    assert {step.status for step in steps} == {"ok"}


def test_step_shows_the_time_of_the_account_and_real_time(api: Api, controls: Any):
    controls.clock.freeze("2031-05-06T07:08:09Z")
    api.get("/account")
    step = only(steps_of(api), "request")
    assert step.at.startswith("2031-05-06T07:08:09")
    assert not step.wall.startswith("2031")


def test_refused_control_is_a_step_with_an_error(api: Api, controls: Any):
    with pytest.raises(ValueError, match="operation"):
        controls.faults.add("account.gett", status=500)
    assert only(steps_of(api), "control").status == "error"


def test_request_without_authentication_belongs_to_no_account(api: Api):
    path = f"/v1/account?mark={time.time_ns()}"
    answer = httpx.get(
        f"{api.emulator.base_url}{path}", headers={"Authorization": "Bearer caged_sk_nope"}, verify=False
    )
    assert answer.status_code == 401
    assert steps_of(api) == []
    every = [check(step) for step in api.emulator.journal.steps(account="*", kind="request")]
    found = [step for step in every if step.detail.get("query", "") in path and step.detail.get("query")]
    assert [(step.account, step.status, step.detail["status"]) for step in found] == [("", "error", 401)]


def test_no_step_of_another_account_is_shown(new_api: Callable[[], Api]):
    one, other = new_api(), new_api()
    box = one.sandbox()
    one.output(box, "echo mine")
    assert steps_of(other) == []
    assert list(one.emulator.journal.follow(wait=0, account=other.account_id)) == []
    assert {step.account for step in steps_of(one)} == {one.account_id}
    other.get(f"/sandboxes/{box}")
    assert [step.account for step in steps_of(other)] == [other.account_id]
    with pytest.raises(ValueError, match="has never existed"):
        list(one.emulator.journal.follow("cage_nope", wait=0, account=other.account_id))


def test_query_selects_by_kind_status_sandbox_and_number(api: Api, box: str):
    api.run(box, "false")
    api.run(box, "true")
    assert [step.title for step in steps_of(api, kind="command", status="error")] == ["$ false"]
    assert [step.title for step in steps_of(api, kind="command", last=1)] == ["$ true"]
    assert {step.sandbox for step in steps_of(api, box)} == {box}
    newest = max(step.revision for step in steps_of(api))
    assert steps_of(api, after=newest) == []
    api.get("/account")
    assert [step.title for step in steps_of(api, after=newest)] == ["GET /v1/account"]


@pytest.mark.parametrize("query", [{"kind": "comand"}, {"status": "failed"}, {"after": -1}, {"last": 0}])
def test_impossible_query_is_refused(api: Api, query: dict[str, Any]):
    with pytest.raises(ValueError, match=next(iter(query))):
        api.emulator.journal.steps(**query)


# --- outputs


def pieces_of(api: Api, box: str) -> list[Any]:
    """The pieces of output of all commands, as steps show them."""
    return [piece for step in steps_of(api, box) for piece in step.detail.get("output", ())]


def test_output_is_in_timed_pieces(api: Api, box: str):
    """Each piece is printed after the step shows the one before, so that a busy emulator does not read two at once."""
    client = Api(api.emulator, api.key, api.account_id)
    command = "for i in 1 2 3; do until [ -e go$i ]; do sleep 0.01; done; sleep 0.15; echo $i; done"
    thread = threading.Thread(target=client.run, args=(box, command))
    thread.start()
    for number in (1, 2, 3):
        host_file(api, box, f"go{number}").touch()
        eventually(lambda number=number: len(pieces_of(api, box)) == number, "the piece")
    thread.join(60)
    client.close()
    pieces = only(steps_of(api), "command").detail["output"]
    assert [text for _seconds, text in pieces] == ["1\n", "2\n", "3\n"]
    times = [seconds for seconds, _text in pieces]
    assert times == sorted(times)
    assert times[2] - times[0] >= 0.25


def test_long_output_is_cut_in_the_middle_with_a_mark(api: Api, box: str):
    length = OUTPUT_HEAD + OUTPUT_TAIL + 100_000
    api.run(box, f"printf BEGIN; head -c {length - 8} /dev/zero | tr '\\0' x; printf END")
    detail = only(steps_of(api), "command").detail
    kept = "".join(text for _seconds, text in detail["output"])
    assert len(kept) == OUTPUT_HEAD + OUTPUT_TAIL
    assert kept.startswith("BEGINx")
    assert kept.endswith("xEND")
    assert detail["output_cut"] == {"after": OUTPUT_HEAD, "characters": 100_000}


def test_long_output_of_a_stream_is_cut_in_the_middle(api: Api, box: str):
    stream(api, box, "printf BEGIN; head -c 3000000 /dev/zero | tr '\\0' x; printf 'END\n'")
    step = only(ended(api, box), "command")
    kept = output(step)
    assert kept.startswith("BEGINx")
    assert kept.endswith("xEND\n")
    assert step.detail["output_cut"] == {"after": OUTPUT_HEAD, "characters": 3_000_009 - OUTPUT_HEAD - OUTPUT_TAIL}


def test_output_of_exactly_what_is_kept_is_not_cut(api: Api, box: str):
    api.run(box, f"head -c {OUTPUT_HEAD + OUTPUT_TAIL} /dev/zero | tr '\\0' x")
    detail = only(steps_of(api), "command").detail
    assert "output_cut" not in detail
    assert len("".join(text for _seconds, text in detail["output"])) == OUTPUT_HEAD + OUTPUT_TAIL


# --- every step ends


def test_client_that_disconnects_ends_the_steps_of_its_exec_with_an_error(api: Api, box: str):
    body = json.dumps({"command": "echo waiting; sleep 60"}).encode()
    head = f"POST /v1/sandboxes/{box}/exec HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {api.key}\r\n"
    host, port = api.emulator.base_url.rsplit("/", 1)[1].split(":")
    with sockets_of_python.create_connection((host, int(port))) as connection:
        connection.sendall(head.encode() + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        # What it has printed is shown while it runs.
        eventually(lambda: [s for s in steps_of(api, box) if s.detail.get("output")], "the command's output")
    steps = ended(api, box)
    command = only(steps, "command")
    assert (command.status, command.detail["exit_code"]) == ("error", None)
    assert command.detail["error"].startswith("killed: the client gave up after ")
    assert output(command) == "waiting\n"
    request = only(steps, "request", "/exec")
    assert request.status == "error"
    assert request.detail["error"].startswith("the client gave up after ")


def test_exec_in_a_paused_sandbox_is_a_failed_command_that_was_not_run(api: Api, box: str):
    api.post(f"/sandboxes/{box}/pause")
    answer = api.post(f"/sandboxes/{box}/exec", json={"command": "echo hello"})
    assert (answer.status_code, answer.json()["exit_code"]) == (200, -1)
    steps = ended(api, box)
    request, command = only(steps, "request", "/exec"), only(steps, "command")
    assert command.parent == request.id
    assert request.status == command.status == "error"
    assert request.detail["error"] == command.detail["error"] == answer.json()["error"]
    assert "is paused, not running; resume it first" in command.detail["error"]
    assert "output" not in command.detail
    assert api.emulator.for_account(api.account_id).journal.commands() == []  # the sandbox did not see it


def test_refusals_have_their_reason(api: Api, box: str):
    with open_socket(api.emulator.base_url, f"/sandboxes/{box}/mcp", api.key, "mcp") as opened:
        api.post(f"/sandboxes/{box}/pause")
        call = {"name": "terminal_exec", "arguments": {"command": "true"}}
        opened.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}))
        answer = json.loads(opened.recv(timeout=60))
    api.get(f"/sandboxes/{box}/files/content", params={"path": "/workspace/none"})
    steps = ended(api, box)
    tool = only(steps, "event", "tool_call")
    assert answer["result"]["isError"]
    assert (tool.status, tool.detail["error"]) == ("error", answer["result"]["content"][0]["text"])
    request = only(steps, "request", "/files/content")
    assert request.status == "error"
    assert request.detail["error"] == json.loads(request.detail["response"])["detail"] != ""


def test_refused_handshake_has_its_reason(api: Api, box: str):
    api.post(f"/sandboxes/{box}/pause")
    with (
        pytest.raises(Exception, match="409"),
        open_socket(api.emulator.base_url, f"/sandboxes/{box}/terminal", api.key, "terminal"),
    ):
        pass
    request = only(ended(api, box), "request", "/terminal")
    assert (request.status, request.detail["status"]) == ("error", 409)
    assert "paused" in request.detail["error"]


def test_no_step_runs_on_after_a_sandbox_was_destroyed_during_its_commands(api: Api, controls: Any):
    controls.agent("claude-code").reply("never", delay=60)
    box = api.sandbox(agents=["claude-code"])
    clients = [Api(api.emulator, api.key, api.account_id) for _ in range(2)]
    commands = ("sleep 60", "claude -p 'work'")
    threads = [threading.Thread(target=client.run, args=(box, line)) for client, line in zip(clients, commands)]
    for thread in threads:
        thread.start()
    with Term(api.emulator.base_url, box, api.key, "?quiet=1") as term:
        for line in ("printf '%s\\n' '__CAGED_BEGIN_0123456789abcdef__'\n", "sleep 60\n"):
            term.type(line)
        term.type("printf '%s%d\\n' '__CAGED_EXIT_0123456789abcdef__' $?\n")
        eventually(lambda: len([s for s in steps_of(api, box, status="running") if s.kind == "command"]) == 3, "them")
        eventually(lambda: [s for s in steps_of(api, box, status="running") if s.kind == "prompt"], "the prompt")
        api.delete(f"/sandboxes/{box}")
        for thread in threads:
            thread.join(60)
        steps = ended(api, box)
    for client in clients:
        client.close()
    commands_seen = [step for step in steps if step.kind in ("command", "prompt")]
    assert len(commands_seen) == 4
    assert {step.status for step in commands_seen} <= {"error", "ok"}
    assert only(steps, "command", "claude").status == "error"
    assert only(steps, "prompt").status == "error"


def test_no_step_runs_on_after_a_sandbox_crashed(api: Api, controls: Any, box: str):
    controls.faults.add("sandboxes.exec", outcome="dies", delay=0.1)
    api.run(box, "sleep 60")
    steps = ended(api, box)
    assert only(steps, "command").status == "error"


def test_no_step_runs_on_after_a_terminal_was_closed(api: Api, box: str):
    with Term(api.emulator.base_url, box, api.key) as term:
        term.prompt()
        term.type("sleep 60\r")
        eventually(lambda: [s for s in steps_of(api, box) if s.kind == "command"], "the command")
    ended(api, box)


def test_no_step_runs_on_after_a_create_was_destroyed(api: Api):
    client = Api(api.emulator, api.key, api.account_id)
    thread = threading.Thread(
        target=client.post, args=("/sandboxes",), kwargs={"json": {"template": "minimal", "init_script": "sleep 60"}}
    )
    thread.start()
    command = eventually(lambda: [s for s in steps_of(api) if s.kind == "command"], "the command")[0]
    api.delete(f"/sandboxes/{command.sandbox}")
    thread.join(60)
    client.close()
    assert only(ended(api), "command").status == "error"


# --- what is removed


def test_clear_removes_the_steps_of_one_account(new_api: Callable[[], Api]):
    one, other = new_api(), new_api()
    one.get("/account")
    other.get("/account")
    one.emulator.journal.clear(account=one.account_id)
    assert steps_of(one) == []
    assert len(steps_of(other)) == 1


def test_revisions_go_on_after_a_clear(api: Api):
    api.get("/account")
    before = steps_of(api)[-1].revision
    api.emulator.journal.clear(account=api.account_id)
    api.get("/account")
    assert steps_of(api)[0].revision > before


def test_step_that_runs_during_a_clear_does_not_come_back(api: Api, box: str):
    client = Api(api.emulator, api.key, api.account_id)
    thread = threading.Thread(target=client.run, args=(box, "until [ -e go ]; do sleep 0.01; done"))
    thread.start()
    eventually(lambda: [s for s in steps_of(api) if s.kind == "command"], "the command")
    api.emulator.journal.clear(account=api.account_id)
    host_file(api, box, "go").touch()
    thread.join(60)
    client.close()
    assert steps_of(api) == []


def test_reset_removes_the_steps(api: Api, box: str):
    api.emulator.reset(account=api.account_id)
    assert steps_of(api) == []


def test_steps_of_a_deleted_account_are_gone(new_api: Callable[[], Api]):
    api = new_api()
    box = api.sandbox()
    client = Api(api.emulator, api.key, api.account_id)
    thread = threading.Thread(
        target=client.post, args=(f"/sandboxes/{box}/exec",), kwargs={"json": {"command": "sleep 60"}}
    )
    thread.start()
    eventually(lambda: [s for s in steps_of(api) if s.kind == "command"], "the command")
    api.emulator.delete_account(api.account_id)
    thread.join(60)
    client.close()
    every = api.emulator.journal.steps(account="*")
    assert [step.title for step in every if step.account == api.account_id] == []
    assert api.account_id not in api.emulator._runtime.platform.steps._logs


# --- secrets


def secret_box(api: Api, **more: Any) -> str:
    return api.sandbox(env={"TOKEN": SECRET}, secrets=["TOKEN"], **more)


def test_no_secret_is_in_any_step(api: Api, controls: Any, tmp_path: Any, git: Callable[..., str]):
    repository_token = "ghp_0123456789abcdefghijklmnop"
    controls.journal.record_file_changes(True)
    controls.agent("claude-code").reply(f"I saw {SECRET}", files={"notes.txt": f"key {SECRET}"})
    controls.commands.stub(f"never {SECRET}", "x", optional=True)
    controls.commands.program("deploy", f"deployed with {SECRET}", optional=True)
    box = secret_box(api, agents=["claude-code"], init_script="echo $TOKEN")
    admin = api.emulator.admin_key
    api.run(box, f"echo $TOKEN; echo {api.key}; echo {admin}; echo 'token {repository_token}' | cut -c 1-5")
    api.run(box, f"mkdir $TOKEN; cd $TOKEN; claude -p 'use {SECRET}'; deploy $TOKEN; echo $TOKEN > file")
    api.run(box, f"echo {SECRET}; cat /missing/{SECRET}")
    api.write(box, f"/workspace/{SECRET}.txt", SECRET)
    api.get(f"/sandboxes/{box}/files", params={"path": f"/workspace/{SECRET}"})
    api.get(f"/sandboxes/{SECRET}")
    stream(api, box, "echo $TOKEN")
    with Term(api.emulator.base_url, box, api.key) as term:
        term.prompt()
        term.type("echo $TOKEN; claude -p $TOKEN\r")
        term.until("I saw")
    httpx.get(f"{api.emulator.base_url}/v1/account", headers={"Authorization": f"Bearer {api.key}x"}, verify=False)
    api.post("/events", json={"events": [{"type": "tool_call", "sandbox_id": box, "payload": {"tool": SECRET}}]})
    found = texts([*ended(api), *api.emulator.journal.steps(account="*")])
    for secret in (SECRET, api.key, admin):
        assert secret not in found, found[max(0, found.index(secret) - 300) :][:600]
    assert "***" in found
    stop = json.dumps([vars(step) for step in api.emulator.journal.follow(wait=0, account=api.account_id)])
    assert SECRET not in stop


def test_environment_that_is_not_declared_as_secret_is_in_no_step_and_in_records(api: Api, controls: Any):
    planted, also = "planted-in-env-0123", 'second "planted" value'
    env = {"PLAIN": planted, "ALSO": also, "CI": "1", "TOOLS_PATH": "/opt/tools"}
    controls.journal.record_file_changes(True)
    controls.commands.stub(f"never {planted}", "x", optional=True)
    box = api.sandbox(env=env, agents=["claude-code"], init_script="echo $PLAIN")
    api.run(box, f"echo $PLAIN $ALSO $CI $TOOLS_PATH; echo {planted} > file; claude -p 'use {planted}'; mkdir $PLAIN")
    api.run(box, f"true {'x' * 285} {planted}")
    api.run(box, "printf %s planted-in; sleep 0.6; echo -env-0123")
    api.write(box, f"/workspace/{planted}.txt", planted)
    api.get(f"/sandboxes/{planted}")
    streamed = [vars(step) for step in controls.journal.follow(wait=0)]
    found = json.dumps(streamed) + texts(ended(api))
    assert planted not in found, found[max(0, found.index(planted) - 300) :][:600]
    assert "planted" not in found.replace("planted-in;", ""), "nor a value as JSON writes it"
    command = next(step for step in ended(api) if step.kind == "command" and "$CI" in step.title)
    assert output(command).startswith("*** *** 1 /opt/tools\n"), "neither short words nor paths are secrets"
    # Tests compare records with what they expect.
    assert controls.journal.requests(operation="sandboxes.create")[-1].json()["env"] == env
    assert controls.journal.commands()[-1].output == f"{planted}\n"
    controls.journal.clear()
    api.run(box, "echo $PLAIN")
    assert planted not in texts(ended(api)), "what was redacted once stays so"


def test_body_of_a_create_that_is_cut_is_in_no_step(api: Api):
    api.sandbox(env={"PLAIN": "planted-in-env-0123"}, init_script=f"true {'#' * 70_000}")
    request = next(step for step in ended(api) if step.detail.get("operation") == "sandboxes.create")
    assert request.detail["request"] == "(not shown: it was cut, and names an environment)"


def test_secret_is_never_in_a_step_of_the_stream_while_it_runs(api: Api):
    box = secret_box(api)
    seen: list[str] = []

    def follow() -> None:
        for step in api.emulator.journal.follow(wait=60, account=api.account_id):
            seen.append(json.dumps(vars(step)))
            if is_last(step):
                return

    thread = threading.Thread(target=follow)
    thread.start()
    api.run(box, f"echo {SECRET}; sleep 0.3")
    api.get(f"/sandboxes/{SECRET}/logs")
    api.get(f"/sandboxes/{box}", params={"x": SECRET})
    ended(api, box)
    api.get(LAST)
    thread.join(60)
    assert not thread.is_alive()
    assert len(seen) > 5
    assert SECRET not in "".join(seen)


@pytest.mark.parametrize("place", [OUTPUT_HEAD, OUTPUT_HEAD + 100_000 - OUTPUT_TAIL])
@pytest.mark.parametrize("before", [1, len(SECRET) // 2, len(SECRET) - 1])
def test_secret_across_a_cut_is_not_shown(api: Api, place: int, before: int):
    """`place`: of the end of the head, and of the beginning of the tail, in an output of so many characters."""
    box, length = secret_box(api), OUTPUT_HEAD + 100_000
    rest = length - (place - before) - len(SECRET)
    fill = "head -c {} /dev/zero | tr '\\0' x"
    api.run(box, f"{fill.format(place - before)}; printf %s $TOKEN; {fill.format(rest)}")
    kept = output(only(steps_of(api), "command"))
    assert not any(SECRET[at : at + 6] in kept for at in range(len(SECRET) - 6)), kept.replace("x", "")


def test_long_secret_across_the_beginning_of_the_tail_is_not_shown(api: Api):
    secret = "".join(f"{number:05d}-" for number in range(2000))  # 12,000 characters, none of them an x
    box = api.sandbox(env={"TOKEN": secret}, secrets=["TOKEN"])
    fill = "head -c {} /dev/zero | tr '\\0' x"
    api.run(box, f"{fill.format(100_000)}; printf %s $TOKEN; {fill.format(OUTPUT_TAIL - 2000)}")
    kept = output(only(steps_of(api), "command"))
    assert set(kept) <= set("x*"), kept.replace("x", "")[:200]


def test_secret_in_two_pieces_of_an_output_is_not_shown(api: Api):
    box = secret_box(api)
    half = len(SECRET) // 2
    seen: list[str] = []

    def follow() -> None:
        for step in api.emulator.journal.follow(wait=60, account=api.account_id):
            seen.append("".join(text for _at, text in step.detail.get("output", ())))
            if is_last(step):
                return

    thread = threading.Thread(target=follow)
    thread.start()
    # The first wait is longer than it takes until a running command's output is shown.
    line = f"printf %s {SECRET[:half]}; sleep 0.6; printf %s {SECRET[half:]}; sleep 0.2; echo end"
    api.run(box, f"sh -c '{line}'")
    stream(api, box, f"sh -c '{line}'")
    ended(api, box)
    api.get(LAST)
    thread.join(60)
    assert not thread.is_alive()
    assert "".join(seen).count("end\n") >= 2
    assert SECRET[:half] not in "".join(seen)
    for step in ended(api, box):
        if step.kind == "command":
            assert SECRET[:half] not in output(step), step.detail["output"]
            assert output(step).endswith("end\n")


# --- files


def changes(step: Step) -> dict[str, tuple[Any, ...]]:
    return {
        one["path"].replace("/workspace/", ""): (one["change"], one.get("before"), one.get("after"))
        for one in step.detail.get("changes", ())
    }


def test_changed_files_of_each_kind_of_step(api: Api, controls: Any, box: str):
    controls.journal.record_file_changes()
    controls.agent("claude-code").reply("done", files={"a.txt": "agent\n"})
    box = api.sandbox(agents=["claude-code"], init_script="echo built > built.txt")
    api.run(box, "echo one > a.txt; mkdir -p d; echo x > d/b")
    snapshot = api.snapshot(box)
    stream(api, box, "echo two >> a.txt; rm d/b")
    api.run(box, "claude -p go")
    with open_socket(api.emulator.base_url, f"/sandboxes/{box}/mcp", api.key, "mcp") as opened:
        call = {"name": "terminal_exec", "arguments": {"command": "echo mcp > m"}}
        opened.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}))
        opened.recv(timeout=60)
    api.restore(snapshot, box)
    steps = ended(api, box)
    assert changes(only(steps, "command", "built")) == {"built.txt": ("added", None, "built\n")}
    first = {"a.txt": ("added", None, "one\n"), "d/b": ("added", None, "x\n")}
    assert changes(only(steps, "command", "mkdir")) == first
    assert changes(only(steps, "command", "two")) == {
        "a.txt": ("changed", "one\n", "one\ntwo\n"),
        "d/b": ("removed", "x\n", None),
    }
    assert changes(only(steps, "prompt")) == {"a.txt": ("changed", "one\ntwo\n", "agent\n")}
    assert changes(only(steps, "command", "claude")) == changes(only(steps, "prompt"))
    assert changes(only(steps, "command", "mcp")) == {"m": ("added", None, "mcp\n")}
    assert changes(only(steps, "sandbox", "restored")) == {
        "a.txt": ("changed", "agent\n", "one\n"),
        "d/b": ("added", None, "x\n"),
        "m": ("removed", "mcp\n", None),
    }


def test_files_are_recorded_only_while_it_is_switched_on_for_the_account(new_api: Callable[[], Api]):
    one, other = new_api(), new_api()
    first, second = one.sandbox(), other.sandbox()
    one.emulator.journal.record_file_changes(account=one.account_id)
    one.run(first, "echo a > a")
    other.run(second, "echo a > a")
    one.emulator.journal.record_file_changes(False, account=one.account_id)
    one.run(first, "echo b > b")
    assert [bool(changes(step)) for step in steps_of(one, kind="command")] == [True, False]
    assert [bool(changes(step)) for step in steps_of(other, kind="command")] == [False]


def test_reset_switches_the_recording_of_files_off(api: Api, controls: Any):
    controls.journal.record_file_changes()
    api.emulator.reset(account=api.account_id)
    api.run(api.sandbox(), "echo a > a")
    assert "changes" not in only(steps_of(api), "command").detail


@pytest.mark.parametrize("enabled", [None, 1, "yes"])
def test_recording_of_files_is_on_or_off(api: Api, enabled: Any):
    with pytest.raises(TypeError, match="enabled"):
        api.emulator.journal.record_file_changes(enabled)


def test_what_was_not_looked_at_is_said(api: Api, controls: Any, box: str):
    controls.journal.record_file_changes()
    api.run(box, "mkdir .git node_modules; echo x > .git/x; head -c 70000 /dev/zero | tr '\\0' x > large; ln -s /etc l")
    step = only(steps_of(api), "command")
    assert step.detail["changes_note"] == "not looked into: .git, node_modules"
    assert changes(step) == {"large": ("added", None, None), "l": ("added", None, None)}
    notes = {one["path"]: one["note"] for one in step.detail["changes"]}
    assert notes == {"/workspace/large": "it has more than 64 KiB", "/workspace/l": "it is a link"}


def test_a_large_workspace_is_looked_at_in_part(api: Api, controls: Any, box: str):
    controls.journal.record_file_changes()
    api.output(box, "mkdir many; cd many; for i in $(seq 3000); do : > f$i; done")
    api.output(box, "echo changed > many/f1; echo new > many/new")
    first, second = steps_of(api, kind="command")
    assert len(first.detail.get("changes", ())) <= 200
    assert "looked at" in second.detail["changes_note"]
    assert all(one["change"] == "changed" for one in second.detail.get("changes", ()))


# --- near misses


def test_command_that_no_stub_answers_has_near_misses(api: Api, controls: Any, box: str):
    near = controls.commands.stub("make test*", "x", optional=True)
    far = controls.commands.stub("docker push", "x", optional=True)
    used = controls.commands.stub("make build", "x", times=1)
    api.run(box, "make build")
    api.run(box, "make build")
    api.run(box, "make tset")
    first, second, third = steps_of(api, kind="command")
    assert "near_misses" not in first.detail
    assert second.detail["near_misses"][0] == f"stub {used.id}: is used up: it has applied once"
    assert third.detail["near_misses"][0] == f"stub {near.id}: the command does not match the glob 'make test*'"
    assert any(far.id in line for line in third.detail["near_misses"])


@pytest.mark.parametrize(
    ("pattern", "text", "rule", "remedy"),
    [
        ("npm install", "npm install -q", "exact text 'npm install'", "'-q' is left over; the glob 'npm install*'"),
        ("npm install", "x; npm install", "exact text 'npm install'", "'x;' is left over; the glob '*npm install'"),
        ("npm i?", "npm ix -g", "glob 'npm i?'", "'-g' is left over; the glob 'npm i?*'"),
        ("npm i?", "npm ci", "glob 'npm i?'", ""),
        ("npm install", "make", "exact text 'npm install'", ""),
        (re.compile("^npm$"), "npm install", "regular expression '^npm$'", ""),
    ],
)  # fmt: skip
def test_near_miss_names_the_rule_and_how_to_match(pattern: Any, text: str, rule: str, remedy: str):
    stub = Stub("stub_1", "acc_1", kind="command", match=TextPattern.of_python("match", pattern))
    end = f": {remedy} would match" if remedy else ""
    assert of_stubs(Invocation("cage_1", text), [stub]) == [f"stub stub_1: the command does not match the {rule}{end}"]


def test_call_of_a_program_that_no_stub_answers_has_near_misses(api: Api, controls: Any):
    stub = controls.commands.program("frobnicate", "x", args="install *", optional=True)
    box = api.sandbox()
    api.run(box, "frobnicate remove x")
    step = only(steps_of(api), "command")
    wanted = f"stub {stub.id} of frobnicate: the arguments do not match the glob 'install *'"
    assert step.detail["near_misses"] == [wanted]


def test_prompt_without_a_scripted_reply_has_near_misses(api: Api, controls: Any):
    reply = controls.agent("claude-code").reply_to("fix *", "done", optional=True)
    box = api.sandbox(agents=["claude-code"])
    api.run(box, "claude -p 'repair it'")
    wanted = [f"reply {reply.id}: the prompt does not match the glob 'fix *'"]
    assert only(steps_of(api), "prompt").detail["near_misses"] == wanted


def test_request_that_a_fault_nearly_matches_has_near_misses(api: Api, controls: Any, box: str):
    late = controls.faults.add("sandboxes.exec", status=503, after=2, optional=True)
    elsewhere = controls.faults.add("sandboxes.exec", sandbox=api.sandbox(), status=500, optional=True)
    controls.faults.add("account.get", status=500, optional=True)
    api.run(box, "true")
    lines = only(steps_of(api), "request", "/exec").detail["near_misses"]
    assert lines[0] == f"fault {late.id}: lets 2 matching requests pass first; this was number 1"
    assert lines[1].startswith(f"fault {elsewhere.id}: applies in sandbox ")
    assert len(lines) == 2


def test_without_controls_there_are_no_near_misses(api: Api, box: str):
    api.run(box, "true")
    assert "near_misses" not in texts(steps_of(api))


def test_near_misses_are_bounded(api: Api, controls: Any, box: str):
    for number in range(60):
        controls.commands.stub(f"{'x' * 5000}{number}", "x", optional=True)
    api.run(box, "true")
    lines = only(steps_of(api), "command").detail["near_misses"]
    assert len(lines) == 4
    assert lines[-1] == "and 47 more"
    assert all(len(line) < 1000 for line in lines)


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
    monkeypatch.setattr(steps_module, "KEEP_BYTES", 20 * BODY_BYTES)
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
