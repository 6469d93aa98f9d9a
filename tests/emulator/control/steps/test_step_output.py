"""Steps: the output of commands, and the end of every step."""

from __future__ import annotations

import json
import socket as sockets_of_python
import threading
from typing import Any

import pytest
from emulator_testing import Api, eventually
from sockets import Term, open_socket
from steps_testing import ended, host_file, only, output, pieces_of, steps_of, stream

from caged.emulator.control.step_output import OUTPUT_HEAD, OUTPUT_TAIL


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
