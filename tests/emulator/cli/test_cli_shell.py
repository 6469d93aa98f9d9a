"""`caged-emulator shell`, at a real terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time
from collections.abc import Callable, Iterator
from typing import Any

import fork_server
import pytest
from cli_testing import COMMAND, Served, run


class Person:
    """At a terminal of 30 rows and 90 columns, in which `shell` runs."""

    def __init__(self, words: tuple[str, ...], env: dict[str, str]) -> None:
        self.keyboard, self.screen = pty.openpty()
        self.size(30, 90)
        self.before = termios.tcgetattr(self.screen)
        ends = dict.fromkeys(("stdin", "stdout", "stderr"), self.screen)
        self.process = fork_server.Process([*COMMAND, "shell", *words], env=env, start_new_session=True, **ends)
        self.text = ""

    def size(self, rows: int, cols: int) -> None:
        fcntl.ioctl(self.screen, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    def types(self, text: str) -> None:
        os.write(self.keyboard, text.encode())

    def sees(self, wanted: str, seconds: float = 20) -> None:
        """What was seen before it does not count the next time."""
        deadline = time.monotonic() + seconds
        while wanted not in self.text:
            assert select.select([self.keyboard], [], [], max(0, deadline - time.monotonic()))[0], self.text
            self.text += os.read(self.keyboard, 65536).decode(errors="replace")
        self.text = self.text.partition(wanted)[2]

    def sees_prompt(self) -> None:
        """Wait until the shell in the sandbox reads."""
        self.sees("/workspace# " if os.geteuid() == 0 else "/workspace$ ")

    def ends(self, limit: float = 20) -> int:
        code = self.process.wait(limit)
        assert termios.tcgetattr(self.screen) == self.before
        return code

    def leave(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(60)
        os.close(self.keyboard)
        os.close(self.screen)


@pytest.fixture
def at_terminal() -> Iterator[Callable[..., Person]]:
    people: list[Person] = []

    def sit_down(*words: str, env: dict[str, str]) -> Person:
        people.append(Person(words, env))
        return people[-1]

    yield sit_down
    for person in people:
        person.leave()


@pytest.fixture
def variables(emulator: Any, api: Any, env: dict[str, str]) -> dict[str, str]:
    return {**env, "CAGED_BASE_URL": emulator.base_url, "CAGED_API_KEY": api.key}


def test_a_person_works_in_a_sandbox(at_terminal: Any, variables: dict[str, str], box: str) -> None:
    person = at_terminal(box, env=variables)
    person.types("stty size; cd /workspace; echo $((40 + 2))-\u00e4\n")
    person.sees("30 90")
    person.sees("42-\u00e4")
    # The command itself says that it runs: what is typed earlier reaches the shell, and the command starts after it.
    person.types("sh -c 'echo beg\"\"un; exec sleep 600'\n")
    person.sees("begun")
    person.types("\x03")  # is not a signal here: it goes to what runs there
    person.sees("^C")
    person.sees_prompt()  # keys typed while the shell takes over again are lost
    person.types("echo st''ill\n")
    person.sees("still")
    # While a command runs: before a prompt, readline reads the size and sets it again, and undoes what comes between.
    person.types("echo wa''iting; until [ \"$(stty size)\" = '20 70' ]; do sleep 0.05; done; echo sm''aller\n")
    person.sees("waiting")
    person.size(20, 70)
    os.kill(person.process.pid, signal.SIGWINCH)
    person.sees("smaller")
    person.types("exit 3\n")
    assert person.ends() == 0  # the platform's terminals have no exit code


def test_a_signal_gives_the_terminal_back(at_terminal: Any, variables: dict[str, str], box: str) -> None:
    person = at_terminal(box, env=variables)
    person.types("echo re''ady\n")
    person.sees("ready")
    person.process.send_signal(signal.SIGTERM)
    assert person.ends() == 128 + signal.SIGTERM


def test_input_that_is_not_a_terminal_is_typed(variables: dict[str, str], box: str) -> None:
    done = run("shell", box, env=variables, input="echo $((40 + 2))\n")
    assert done.returncode == 0, done.stderr
    assert "42" in done.stdout


def test_shell_finds_the_running_emulator_and_the_sandboxs_account(env: dict[str, str], tmp_path: Any) -> None:
    served = Served(tmp_path / "state", "--port", "0", env=env)
    try:
        created = served.post("/v1/sandboxes", {"template": "minimal"}).json()
        done = run("shell", created["id"], env=env, input="echo $((40 + 2))\n")
        assert "42" in done.stdout, done.stderr
        done = run("shell", "cage_none", env=env)
        hint = "inventory.sandboxes(account='*') lists those that exist"
        assert done.returncode == 1
        assert done.stderr == f"Error: there is no sandbox cage_none on this emulator; {hint}\n"
    finally:
        served.process.terminate()
        served.end()


def test_no_emulator_and_no_such_sandbox_are_said(env: dict[str, str], variables: dict[str, str]) -> None:
    done = run("shell", "cage_1", env=env)
    assert done.returncode == 1
    assert "no emulator of yours is running" in done.stderr
    done = run("shell", "cage_none", env=variables)
    assert done.returncode == 1
    assert "cage_none" in done.stderr
