"""The tables of a terminal's states, and the transcripts that go by them, without a shell."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, Optional, get_args

import pytest

from caged.emulator.control.callbacks import CallbackErrors
from caged.emulator.control.clock import Clock
from caged.emulator.control.journal import Journal
from caged.emulator.control.randomness import Randomness
from caged.emulator.control.steps import Steps
from caged.emulator.platform import prompt_transcript, stream_transcript
from caged.emulator.platform.file_change_recording import FileChangeRecording
from caged.emulator.platform.prompt_transcript import ShellOutput
from caged.emulator.platform.recorder import SandboxRecorder
from caged.emulator.platform.stream_transcript import StreamTranscript

NUMBER = "0123456789abcdef"
BEGIN = f"stty -echo 2>/dev/null; printf '%s\\n' '__CAGED_BEGIN_{NUMBER}__'\n"
END = f"__caged_rc=$?; printf '%s%s\\n' '__CAGED_EXIT_{NUMBER}__' \"$__caged_rc\"; exit \"$__caged_rc\"\n"
EXIT = f"__CAGED_EXIT_{NUMBER}__7\n"

#: Of a streaming client's terminal: the state after each event, `-` where it is not possible.
EXPECTED = """
                   idle    held     passed   running
    begin          passed  -        -        passed
    begin_stubbed  held    -        -        held
    release        -       passed   -        -
    end            -       running  running  -
    exit           -       -        -        idle
    close          idle    idle     idle     idle
"""


class Stubs:
    """Command stubs that answer every command, some, or none."""

    def __init__(self, answers: bool = False, applies: Optional[bool] = None) -> None:
        self.answers = answers
        self.applies = answers if applies is None else applies
        self.commands: list[str] = []

    def has_any(self, _sandbox: Any) -> bool:
        return self.applies

    def near_misses(self, _sandbox: Any, _invocation: Any) -> list[str]:
        return []

    async def answer(self, _sandbox: Any, invocation: Any) -> Any:
        self.commands.append(invocation.command)
        return (SimpleNamespace(id="stub_1"), "output") if self.answers else None

    async def command_line(self, _sandbox: Any, _cage: Any, output: str) -> str:
        return f"run {output}"


class Stream:
    """A transcript of a streaming client, and what it has recorded."""

    def __init__(self, stubs: Optional[Stubs] = None) -> None:
        clock = Clock()
        self._journal, self.steps = Journal(), Steps(clock)
        events = SimpleNamespace(record=lambda *_, **__: None)
        live: Any = SimpleNamespace(of=lambda _sandbox: SimpleNamespace(cage=object()))
        errors, files = CallbackErrors(Randomness(None)), FileChangeRecording(live, self.steps)
        recorder = SandboxRecorder(clock, self._journal, events, errors, self.steps, files)
        sandbox = SimpleNamespace(
            id="cage_1", account_id="acct_1", env={}, secrets=[], repo=None, fake_repository_tokens=[], logs=[]
        )
        self.transcript = StreamTranscript(clock, live, recorder, stubs or Stubs(), sandbox)  # type: ignore[arg-type]

    @property
    def recorded(self) -> list[tuple[str, Optional[int], str]]:
        commands = list(self._journal.of("acct_1").commands)
        assert {one.source for one in commands} <= {"stream"}
        return [(one.command, one.exit_code, one.stub) for one in commands]

    @property
    def state(self) -> str:
        return self.transcript.state

    def type(self, text: str, size: int = 0) -> str:
        """Type it whole, or in pieces of `size` characters. What the shell gets."""
        pieces = [text[at : at + size] for at in range(0, len(text), size)] if size else [text]
        return "".join(asyncio.run(self.transcript.handle_input(piece))[1] for piece in pieces)


def test_the_stream_table_is_the_expected_one():
    head, *rows = (line.split() for line in EXPECTED.strip().splitlines())
    expected = {
        state: {row[0].replace("_", " "): after for row in rows for name, after in zip(head, row[1:]) if name == state}
        for state in head
    }
    assert set(head) == set(get_args(stream_transcript.State))
    assert {row[0].replace("_", " ") for row in rows} == set(get_args(stream_transcript.Event))
    assert {
        state: {event: after for event, after in events.items() if after != "-"} for state, events in expected.items()
    } == stream_transcript.TRANSITIONS


def test_the_prompt_table_names_every_state_and_event():
    table = prompt_transcript.TRANSITIONS
    assert set(table) == set(get_args(prompt_transcript.State))
    assert {event for events in table.values() for event in events} == set(get_args(prompt_transcript.Event))
    assert {after for events in table.values() for after in events.values()} == set(table)


@pytest.mark.parametrize("size", [0, 1, 7, 40])
def test_a_command_without_stubs_is_passed_as_it_comes_and_recorded(size):
    stream = Stream()
    typed = f"{BEGIN}echo one\necho two\n{END}"
    assert stream.type(typed, size) == typed
    assert stream.state == "running"
    stream.transcript.handle_output(f"one\ntwo\n{EXIT}")
    assert stream.state == "idle"
    assert stream.recorded == [("echo one\necho two", 7, "")]


@pytest.mark.parametrize("size", [0, 1, 7, 40])
def test_a_command_that_a_stub_answers_is_held_and_replaced(size):
    stubs = Stubs(answers=True)
    stream = Stream(stubs)
    assert stream.type(BEGIN, size) == BEGIN
    assert stream.state == "held"
    assert stream.type("npm\ntest\n", size) == ""
    assert stream.type(END, size) == f"run output\n{END}"
    assert stubs.commands == ["npm\ntest"]
    stream.transcript.handle_output(EXIT)
    assert stream.recorded == [("npm\ntest", 7, "stub_1")]


def test_a_held_command_that_no_stub_answers_runs_unchanged():
    stream = Stream(Stubs(applies=True))
    assert stream.type(f"{BEGIN}true\n{END}") == f"{BEGIN}true\n{END}"
    stream.transcript.handle_output(EXIT)
    assert stream.recorded == [("true", 7, "")]


def test_a_held_command_is_released_when_nothing_more_is_typed():
    stream = Stream(Stubs(answers=True))
    stream.type(f"{BEGIN}slow\n")
    assert stream.transcript.input_patience is not None
    assert stream.transcript.release_input() == "slow\n"
    assert (stream.state, stream.transcript.input_patience) == ("passed", None)
    assert stream.type(f"typist\n{END}") == f"typist\n{END}"
    stream.transcript.handle_output(EXIT)
    assert stream.recorded == [("slow\ntypist", 7, "")]


def test_a_very_long_command_is_released():
    stream = Stream(Stubs(answers=True))
    stream.type(BEGIN)
    assert stream.type("x" * stream_transcript.HELD_CHARACTERS) == "x" * stream_transcript.HELD_CHARACTERS
    assert stream.state == "passed"


def test_begin_in_a_command_does_not_begin_another_one():
    stream = Stream()
    command = "echo '__CAGED_BEGIN_ffffffffffffffff__'\n"
    stream.type(f"{BEGIN}{command}{END}")
    stream.transcript.handle_output(EXIT)
    assert stream.recorded == [(command.strip(), 7, "")]


def test_the_exit_of_another_number_is_not_the_commands():
    stream = Stream()
    stream.type(f"{BEGIN}true\n{END}")
    stream.transcript.handle_output("__CAGED_EXIT_ffffffffffffffff__1\n")
    assert (stream.state, stream.recorded) == ("running", [])


def test_an_exit_marker_in_pieces_is_found():
    stream = Stream()
    stream.type(f"{BEGIN}true\n{END}")
    for character in EXIT:
        stream.transcript.handle_output(character)
    assert stream.recorded == [("true", 7, "")]


def test_a_command_typed_before_the_exit_of_the_first_is_recorded():
    second = "f" * 16
    stream = Stream()
    stream.type(f"{BEGIN}first\n{END}")
    stream.type((BEGIN + "second\n" + END).replace(NUMBER, second))
    stream.transcript.handle_output(EXIT + EXIT.replace(NUMBER, second))
    assert stream.recorded == [("second", 7, "")]


@pytest.mark.parametrize("typed", ["", BEGIN, f"{BEGIN}true\n", f"{BEGIN}true\n{END}"])
@pytest.mark.parametrize("stubs", [False, True])
def test_closing_records_a_running_command_only_without_an_exit_code(typed, stubs):
    stream = Stream(Stubs(answers=stubs))
    stream.type(typed)
    running = stream.state == "running"
    stream.transcript.close()
    assert stream.state == "idle"
    assert [record[:2] for record in stream.recorded] == ([("true", None)] if running else [])


def test_output_is_hidden_up_to_the_mark():
    output = ShellOutput()
    assert output.take("$ ") == "$ "
    output.replace("<mark>")
    assert output.take("\x15printf ...; run") + output.take("\r\n<ma") == ""
    assert output.take("rk>answer") == "answer"
    assert (output.state, output.take("$ ")) == ("shown", "$ ")


def test_hidden_output_is_released_whole_when_the_mark_does_not_come():
    output = ShellOutput()
    output.replace("<mark>")
    output.take("one ")
    output.take("two")
    assert (output.release(), output.state) == ("one two", "shown")
    assert (output.release(), output.take("three")) == ("", "three")


def test_hidden_output_of_a_mebibyte_is_released():
    output = ShellOutput()
    output.replace("<mark>")
    assert output.take("x" * 1024 * 1024) == "x" * 1024 * 1024
    assert output.state == "shown"
