"""Terminals and streaming shells at every isolation level."""

from __future__ import annotations

import hashlib

import pytest
from leftovers import processes_with, unique_seconds, until
from levels import Served
from sockets import Term, streamed


@pytest.fixture
def quiet(anywhere: Served, shared_box: str):
    with Term(anywhere.base_url, shared_box, anywhere.api_key, "") as term:
        yield term


def test_terminal_has_prompt_and_controlling_tty(anywhere: Served, shared_box: str) -> None:
    with Term(anywhere.base_url, shared_box, anywhere.api_key) as term:
        term.prompt().type("echo in $PWD; tty; test -w $(tty) && echo writ''able; (: < /dev/tty) && echo contr''ols\n")
        term.until("controls")
        assert "in /workspace" in term.text
        assert "/dev/pts/" in term.text
        assert "writable" in term.text


def test_terminal_shows_paths_of_sandbox(anywhere: Served, shared_box: str) -> None:
    anywhere.run(shared_box, "mkdir -p sub && echo content > sub/file")
    with Term(anywhere.base_url, shared_box, anywhere.api_key) as term:
        term.prompt().type("cat /workspace/sub/file; cd sub && pwd\n")
        term.until("/workspace/sub\r\n")
        assert "content" in term.text
        assert str(anywhere.run_dir) not in term.text


# The exact output is read from the marker that the emulator adds, in the same way at each level.
@pytest.mark.parametrize("anywhere", ["namespace"], indirect=True)
@pytest.mark.parametrize(
    ("command", "output", "code"),
    [
        ("echo hello; (exit 7)", "hello\n", 7),
        ("printf 'no line feed'", "no line feed", 0),
        ("for i in 1 2 3; do\n  echo $i!\ndone", "1!\n2!\n3!\n", 0),
        ("cat <<'END'\na\tb $x `y`\nEND", "a\tb $x `y`\n", 0),
        ("echo out; echo err >&2; pwd; test -t 1 && echo tty", "out\nerr\n/workspace\ntty\n", 0),
        ("kill -9 $BASHPID", "", None),
        ("exit 3", "", None),
        ("echo '$(' \"unclosed !history\"", "$( unclosed !history\n", 0),
        ("printf '\\xff\\xfe\\x00|'", "\ufffd\ufffd\0|", 0),
        ("printf '\\r\\n\\033[31m'", "\r\n\033[31m", 0),
        ("no-such-command", None, 127),
        ("echo __CAGED_EXIT_; printf '__CAGED_'", "__CAGED_EXIT_\n__CAGED_", 0),
    ],
)
def test_streamed_command_returns_exact_output_and_exit_code(
    quiet: Term, command: str, output: str | None, code: int | None
) -> None:
    shown, exit_code = streamed(quiet, command)
    assert exit_code == code
    if output is not None:
        assert shown == output if code is not None else shown.startswith(output)


@pytest.mark.parametrize("anywhere", ["namespace"], indirect=True)
def test_streamed_command_may_be_longer_than_terminal_line(quiet: Term) -> None:
    long = "x" * 20_000
    assert streamed(quiet, f"echo {long}") == (f"{long}\n", 0)


@pytest.mark.parametrize("anywhere", ["namespace"], indirect=True)
def test_exit_code_is_in_same_message_as_its_marker(quiet: Term) -> None:
    _output, code = streamed(quiet, "head -c 300000 /dev/zero | tr '\\0' x; (exit 123)")
    assert code == 123
    ends = [message["data"] for message in quiet.messages if "__CAGED_EXIT_" in message.get("data", "")]
    assert ends
    assert "__123\n" in ends[-1]


def test_large_output_is_complete(anywhere: Served, shared_box: str, quiet: Term) -> None:
    """A megabyte, which is more than all buffers on the way; six at one level."""
    make = f"seq 1 {900_000 if anywhere.level == 'process' else 200_000}"
    output, code = streamed(quiet, make, 60)
    assert code == 0
    assert hashlib.sha256(output.encode()).hexdigest() == anywhere.run(shared_box, f"{make} | sha256sum").split()[0]


def test_streamed_command_is_killed_when_client_disconnects(anywhere: Served, shared_box: str) -> None:
    mark = unique_seconds()
    with Term(anywhere.base_url, shared_box, anywhere.api_key, "") as term:
        term.type(f"echo beg''un; setsid sleep {mark} & sleep {mark}\n")
        term.until("begun")
        until(lambda: processes_with(f"sleep {mark}"))
    until(lambda: not processes_with(f"sleep {mark}"), what=lambda: processes_with(mark))


def test_pause_stops_and_resume_continues_terminal(anywhere: Served, box: str) -> None:
    with Term(anywhere.base_url, box, anywhere.api_key) as term:
        term.prompt().type("while :; do echo ti''ck; sleep 0.02; done\n")
        term.until("tick")
        anywhere.client.sandboxes.pause(box)
        until(lambda: not term.take(0.2) and not term.take(0.2), what=lambda: term.text[-100:])
        before = len(term.text)
        anywhere.client.sandboxes.resume(box)
        term.until(lambda text: len(text) > before)
