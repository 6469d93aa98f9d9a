"""The terminal socket: a person's shell. Wire facts from wire-contract.md 4.1, 4.2 and wire-other-clients.md 5."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import time

import pytest
from emulator_testing import eventually, init_of
from leftovers import processes_with, unique_seconds
from sockets import Term, open_socket
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect


@pytest.fixture
def term(api, box):
    with Term(api.emulator.base_url, box, api.key) as opened:
        yield opened.prompt()


def refused(api, box, token=None, **options):
    """(status, problem) of a handshake that fails."""
    with pytest.raises(InvalidStatus) as caught:
        Term(api.emulator.base_url, box, api.key if token is None else token, **options)
    response = caught.value.response
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.headers["X-Request-Id"]
    return response.status_code, json.loads(response.body)


# --- handshake


@pytest.mark.shared_sandbox
@pytest.mark.parametrize(("kind", "query"), [("terminal", "?rows=1&cols=1"), ("terminal", ""), ("mcp", "")])
@pytest.mark.parametrize("name", ["terminal", "mcp", "anything", "TERMINAL"])
def test_a_socket_agrees_to_its_own_subprotocol_only(api, box, kind, query, name):
    with open_socket(api.emulator.base_url, f"/sandboxes/{box}/{kind}{query}", api.key, name) as socket:
        assert socket.subprotocol == (name if name == kind else None)


@pytest.mark.shared_sandbox
@pytest.mark.parametrize("kind", ["terminal", "mcp"])
def test_own_subprotocol_is_chosen_among_several(api, box, kind):
    url = f"{api.emulator.base_url.replace('http', 'ws', 1)}/v1/sandboxes/{box}/{kind}?token={api.key}"
    with connect(url, subprotocols=["first", "terminal", "mcp"], proxy=None) as socket:
        assert socket.subprotocol == kind
        assert socket.response.headers.get_all("Sec-WebSocket-Protocol") == [kind]


@pytest.mark.shared_sandbox
def test_no_subprotocol_is_named_when_none_was_offered(api, box):
    with open_socket(api.emulator.base_url, f"/sandboxes/{box}/terminal?rows=1&cols=1", api.key) as socket:
        assert socket.subprotocol is None


def ticket(api):
    answer = api.post("/auth/socket-ticket")
    assert answer.status_code == 200
    return answer.json()


def test_a_ticket_opens_one_socket(api, box):
    made = ticket(api)
    assert made["ticket"].startswith("caged_wst_")
    assert "." in made["ticket"]
    assert made["expires_in"] == 60
    assert made["expires_at"].endswith("Z")
    with Term(api.emulator.base_url, box, made["ticket"]) as term:
        term.prompt()
    assert refused(api, box, made["ticket"])[0] == 401


def test_a_ticket_is_for_sockets_only(api):
    answer = api.get("/sandboxes", headers={"Authorization": f"Bearer {ticket(api)['ticket']}"})
    assert answer.status_code == 401


def test_a_ticket_ends_after_a_minute(timed):
    api, clock = timed
    box = api.sandbox()
    young, old = ticket(api), ticket(api)
    clock.advance(59)
    with Term(api.emulator.base_url, box, young["ticket"]) as term:
        term.prompt()
    clock.advance(2)
    assert refused(api, box, old["ticket"])[0] == 401


def test_a_ticket_of_a_revoked_key_opens_nothing(api, box, new_api):
    made = api.post("/account/keys", json={"name": "k", "scope": "full"}).json()
    got = api.post("/auth/socket-ticket", headers={"Authorization": f"Bearer {made['key']}"}).json()
    api.delete(f"/account/keys/{made['info']['id']}")
    assert refused(api, box, got["ticket"])[0] == 401


@pytest.mark.shared_sandbox
@pytest.mark.parametrize("token", ["", "wrong", "caged_sk_wrong", "caged_wst_wrong.wrong"])
def test_a_bad_credential_is_a_401(api, box, token):
    status, problem = refused(api, box, token)
    assert (status, problem["status"]) == (401, 401)
    assert "token" in problem["detail"] or "ticket" in problem["detail"] or "key" in problem["detail"]


def test_an_unknown_sandbox_and_another_accounts_is_a_404(api, other):
    assert refused(api, "cage_nosuchbx")[0] == 404
    assert refused(api, other.sandbox())[0] == 404


def test_a_sandbox_that_is_not_running_is_a_409(api, box):
    api.post(f"/sandboxes/{box}/pause")
    status, problem = refused(api, box)
    assert (status, problem["reason"]["code"]) == (409, "sandbox_not_running")
    assert "resume" in problem["detail"]


def test_a_read_only_key_is_a_403(api, box):
    made = api.post("/account/keys", json={"name": "r", "scope": "read_only"}).json()
    status, problem = refused(api, box, made["key"])
    assert (status, problem["reason"]["code"]) == (403, "read_only_key")


@pytest.mark.shared_sandbox
@pytest.mark.parametrize("origin", ["http://evil.example", "null"])
def test_a_foreign_page_is_a_403(api, box, origin):
    assert refused(api, box, origin=origin)[0] == 403


def test_a_page_of_this_machine_may(api, box):
    with Term(api.emulator.base_url, box, api.key, origin="http://localhost:5173") as term:
        term.prompt()


def test_unknown_socket_is_a_404(api):
    with pytest.raises(InvalidStatus) as caught:
        open_socket(api.emulator.base_url, "/nothing/here", api.key)
    assert caught.value.response.status_code == 404
    assert caught.value.response.body == b"404 page not found\n"


def test_error_of_a_plain_request_says_that_this_is_a_socket(api, box):
    answer = api.get(f"/sandboxes/{box}/terminal")
    assert answer.status_code == 426
    assert "ws://" in answer.json()["detail"]


# --- the shell


def test_terminal_is_a_login_like_shell_in_the_workspace(term, box):
    term.type("echo $PWD $HOME $TERM $CAGED_SANDBOX_ID; test -t 0 && test -t 1 && test -t 2 && echo a t''ty\n")
    term.until("a tty")
    assert f"/workspace /root xterm-256color {box}" in term.text


def test_shell_reads_the_sandboxs_own_profile(api, box):
    api.write(box, "/root/.bash_profile", "export FROM_PROFILE=yes; alias hi='echo hello from alias'\n")
    with Term(api.emulator.base_url, box, api.key) as term:
        term.prompt().type("echo $FROM_PROFILE; hi\n")
        term.until("hello from alias")
        assert "yes" in term.text


def test_shell_has_the_sandboxs_environment(api):
    box = api.sandbox(env={"GREETING": "good morning"})
    with Term(api.emulator.base_url, box, api.key) as term:
        term.prompt().type("echo $GREETING\n")
        term.until("good morning")


@pytest.mark.shared_sandbox
@pytest.mark.parametrize(
    ("query", "size"),
    [("?rows=30&cols=100", "30 100"), ("?rows=0&cols=0", "24 80"), ("?rows=50", "50 80"), ("?cols=x&rows=9", "9 80")],
)
def test_terminal_has_the_requested_size(api, box, query, size):
    with Term(api.emulator.base_url, box, api.key, query) as term:
        term.prompt().type("stty size\n")
        term.until(size)


def test_a_resize_reaches_the_program_in_front(term):
    term.type("trap 'stty size' WINCH; echo re''ady; while :; do read -t 0.05; done\n")
    term.until("ready")
    term.send({"type": "resize", "rows": 41, "cols": 123})
    term.until("41 123")


def test_ctrl_c_ends_the_command_and_not_the_shell(term):
    term.type("sh -c 'echo beg\"\"un; exec sleep 1000'; echo after $?\n")
    term.until("begun")  # the command itself says that it runs: what is typed earlier reaches the shell
    term.type("\x03")
    term.until("^C")
    term.prompt().type("echo still he''re\n")
    term.until("still here")


def test_ctrl_z_stops_and_fg_goes_on(term):
    term.type("sh -c 'echo sta''rted; read line; echo fini''shed $line'\n")
    term.until("started")
    term.type("\x1a")
    term.until("Stopped")
    term.type("fg\n")
    term.type("with it\n")
    term.until("finished with it")


def test_ctrl_d_ends_the_shell(term):
    term.type("\x04")
    assert term.until_closed() == 1000


def test_python_is_interactive(term):
    term.type("python3 -q\n")
    term.until(">>> ")
    term.type("import sys; print('tty', sys.stdin.isatty(), 6 * 7)\n")
    term.until("tty True 42")
    term.type("exit()\n")


def test_an_exit_closes_the_socket_and_leaves_background_work(api, box):
    with Term(api.emulator.base_url, box, api.key) as term:
        term.prompt().type("setsid sh -c 'sleep 0.3; echo done > later' >/dev/null 2>&1 & exit\n")
        assert term.until_closed() == 1000
    eventually(lambda: api.read(box, "later").status_code == 200, "the background work to go on")


def test_disconnect_ends_everything_that_the_terminal_started(api, box):
    mark = unique_seconds()
    with Term(api.emulator.base_url, box, api.key) as term:
        term.prompt().type(f"sleep {mark} & (setsid sleep {mark} &) ; sleep {mark}\n")
        eventually(lambda: len(processes_with(f"sleep {mark}")) >= 3, "three processes")
    eventually(lambda: not processes_with(f"sleep {mark}"), "the processes to be gone")
    assert api.output(box, "echo the sandbox lives") == "the sandbox lives\n"


def test_a_broken_connection_ends_the_terminal_like_a_disconnect(api, box):
    mark = unique_seconds()
    term = Term(api.emulator.base_url, box, api.key)
    term.prompt().type(f"sleep {mark}\n")
    eventually(lambda: processes_with(f"sleep {mark}"), "the process")
    term.socket.socket.shutdown(socket.SHUT_RDWR)  # close alone waits for the client's own thread, which reads
    eventually(lambda: not processes_with(f"sleep {mark}"), "the process to be gone")


def test_destroying_the_sandbox_closes_the_terminal(api, box, term):
    api.delete(f"/sandboxes/{box}")
    term.until_closed()


def test_killing_the_sandbox_from_outside_closes_the_terminal(api, box, term):
    term.type("echo he''re\n")
    term.until("here")
    os.kill(init_of(api.emulator, box), signal.SIGKILL)
    term.until_closed()


# --- messages


@pytest.mark.shared_sandbox
@pytest.mark.parametrize(
    "message",
    [
        "not json",
        "[]",
        "null",
        "7",
        '{"type":"input"}',
        '{"type":"input","data":7}',
        '{"type":"resize","rows":"x"}',
        '{"type":"resize","rows":-5,"cols":99999999}',
        '{"type":"nonsense"}',
        '{"type":"input","data":"\\ud800"}',
    ],
)
def test_what_is_not_a_message_is_passed_over(term, message):
    term.send(message)
    term.type("\x15echo al''ive\n")
    term.until("alive")


def test_a_binary_message_is_read_like_text(term):
    term.socket.send(json.dumps({"type": "input", "data": "echo by''tes\n"}).encode())
    term.until("bytes")


def test_a_ping_is_answered(term):
    term.send({"type": "ping"})
    eventually(lambda: term.take(0.2) and term.messages[-1]["type"] == "pong", "a pong")


def test_output_is_utf8_also_when_a_character_is_cut(term):
    term.type("for i in 1 2 3; do printf '\\xe2'; sleep 0.02; printf '\\x82\\xac'; done; echo en''d\n")
    term.until("end")
    assert "€€€" in term.text
    assert "�" not in term.text


def test_every_message_is_far_below_a_mebibyte(term):
    term.type("head -c 3000000 /dev/zero | tr '\\0' '\\1'; echo; echo en''d\n")
    term.until("end")
    assert max(len(json.dumps(message)) for message in term.messages) < 700_000


FLOOD = """
import sys
for count in range(1_000_000):
    sys.stdout.write("x" * 65536)
    sys.stdout.flush()
    with open("count", "w") as file:
        file.write(str(count))
"""


def test_a_client_that_does_not_read_stops_the_program_that_writes(api, box):
    with Term(api.emulator.base_url, box, api.key, "?rows=24&cols=80", max_queue=1, close_timeout=0.1) as term:
        api.write(box, "flood.py", FLOOD)
        term.prompt().type("python3 flood.py\n")
        eventually(lambda: api.read(box, "count").text.strip().isdigit(), "the loop to run")

        def stands() -> bool:
            before = api.read(box, "count").text
            time.sleep(0.1)
            return api.read(box, "count").text == before != ""

        eventually(stands, "the loop to stand still")
        assert api.output(box, "echo the emulator does not") == "the emulator does not\n"


# --- several, and what is reported about them


def test_several_terminals_are_listed_while_they_are_open(api, box):
    assert api.get(f"/sandboxes/{box}/terminal/sessions").json() == []
    with Term(api.emulator.base_url, box, api.key, "?rows=10&cols=20") as one:
        with Term(api.emulator.base_url, box, api.key, "") as two:
            one.prompt()
            listed = api.get(f"/sandboxes/{box}/terminal/sessions").json()
            assert [(entry["kind"], entry["rows"], entry["cols"]) for entry in listed] == [
                ("interactive", 10, 20),
                ("stream", 24, 80),
            ]
            one.send({"type": "resize", "rows": 11, "cols": 21})
            two.type("tty\n")
            one.type("tty\n")
            first = one.until("/dev/pts/")
            second = two.until("/dev/pts/")
            assert first.partition("/dev/pts/")[2][0] != second.partition("/dev/pts/")[2][0]
            assert api.get(f"/sandboxes/{box}/terminal/sessions").json()[0]["rows"] == 11
    eventually(lambda: api.get(f"/sandboxes/{box}/terminal/sessions").json() == [], "both to be closed")


def test_an_open_terminal_keeps_the_sandbox_awake(timed):
    api, clock = timed
    box = api.sandbox(timeout=60)
    with Term(api.emulator.base_url, box, api.key) as term:
        term.prompt()
        clock.advance(3600)
        assert api.status(box) == "running"
    eventually(lambda: api.get(f"/sandboxes/{box}/terminal/sessions").json() == [], "it to be closed")
    clock.advance(3600)
    assert api.status(box) == "paused"


def test_the_log_names_the_commands_typed_at_the_prompt_and_no_password(api, box, term):
    term.type("echo on''e\n")
    term.until("one")
    term.prompt().type("read -s -p 'Pass''word: ' secret; echo; echo thank''s\n")
    term.until("Password: ")
    term.type("hunter2\n")
    term.until("thanks")
    term.prompt().type("read -p 'Na''me: ' name; echo hel''lo\n")
    term.until("Name: ")
    term.type("Rumpelstiltskin\n")
    term.until("hello")
    log = api.log_text(box)
    assert "$ echo on''e (terminal)" in log
    assert "read -s" in log
    assert "hunter2" not in log
    assert "Rumpelstiltskin" not in log


def test_input_typed_ahead_is_not_logged(api, box, term):
    term.type("cat > typed\ntopsecret1\n")
    eventually(lambda: "topsecret1" in api.read(box, "typed").text, "cat to be in front of what follows")
    term.type("\x04")
    term.prompt().type("echo do''ne\n")
    term.until("done")
    log = api.log_text(box)
    assert "cat > typed" in log
    assert "topsecret1" not in log


def test_half_a_surrogate_in_a_command_leaves_the_log_readable(api, box, term):
    term.send('{"type":"input","data":"echo odd \\ud800 text; echo do\'\'ne\\r"}')
    term.until("done")
    assert "echo odd" in api.log_text(box)


def test_a_great_many_lines_at_once_do_not_block_other_requests(api, box, term):
    for _attempt in range(8):  # other programs may delay some of them
        term.type("true\n" * 20_000)
        begun = time.monotonic()
        assert api.get("/account").status_code == 200
        took = time.monotonic() - begun
        if took < 2:
            break
    assert took < 2


def test_deep_nesting_is_not_a_message(term):
    term.send("[" * 100_000)
    term.type("echo al''ive\n")
    term.until("alive")


def test_disconnect_is_noticed_also_when_no_program_reads_the_input(api, box):
    mark = unique_seconds()
    term = Term(api.emulator.base_url, box, api.key, "")
    term.type(f"sleep {mark}\n")
    eventually(lambda: processes_with(f"sleep {mark}"), "the process")
    for _ in range(10):
        term.type("x" * 60_000)
    term.socket.socket.shutdown(socket.SHUT_RDWR)  # close alone waits for the client's own thread, which reads
    eventually(lambda: not processes_with(f"sleep {mark}"), "the process to be gone")


def test_terminal_is_closed_after_too_much_input_typed_ahead(api, box):
    with Term(api.emulator.base_url, box, api.key, "", close_timeout=0.1) as term:
        term.type("sleep 1000\n")
        try:
            for _ in range(12):
                term.type("x" * 1_000_000)
        except ConnectionClosed:
            pass
        assert term.until_closed() == 1009


def test_at_most_64_terminals_are_open_in_a_sandbox(api, box, monkeypatch):
    monkeypatch.setattr("caged.emulator.platform.terminals.MOST_PER_SANDBOX", 2)
    with Term(api.emulator.base_url, box, api.key), Term(api.emulator.base_url, box, api.key):
        status, problem = refused(api, box)
    assert status == 409
    assert "close one first" in problem["detail"]
    eventually(lambda: api.get(f"/sandboxes/{box}/terminal/sessions").json() == [], "both to be closed")
    with Term(api.emulator.base_url, box, api.key) as term:
        term.prompt()


def test_no_credential_is_written_to_a_log(api, box, caplog):
    caplog.set_level("DEBUG")
    secret = ticket(api)["ticket"]
    with Term(api.emulator.base_url, box, secret, logger=logging.getLogger("client.is.silent")) as term:
        logging.getLogger("client.is.silent").setLevel("ERROR")
        term.prompt()
    written = "\n".join(record.getMessage() for record in caplog.records if record.name != "client.is.silent")
    assert secret not in written


def test_a_resize_that_names_no_size_changes_nothing(api, box):
    with Term(api.emulator.base_url, box, api.key, "?rows=50&cols=132") as term:
        term.prompt()
        term.send({"type": "resize"})
        term.send({"type": "resize", "rows": 0, "cols": 0})
        term.send({"type": "resize", "rows": 51})
        term.type("stty size\n")
        term.until("51 132")
