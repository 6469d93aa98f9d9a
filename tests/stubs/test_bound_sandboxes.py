"""Commands of a bound sandbox: stubs answer them, and records show them without the script around them."""

from __future__ import annotations

import pytest

from caged import CagedSandboxError
from caged.emulator import Output


@pytest.fixture
def bound(client, box):
    return client.sandboxes.bind(box)


def test_stub_answers_a_command(emulator, bound):
    stub = emulator.commands.stub("npm install *", "added 42 packages\n", exit_code=3)
    result = bound.run("npm install left-pad", cwd="/tmp", env={"A": "b"}, stdin="x")
    assert (result.stdout, result.stderr, result.exit_code) == ("added 42 packages\n", "", 3)
    record = emulator.journal.commands()[-1]
    assert (record.command, record.output, record.exit_code) == ("npm install left-pad", "added 42 packages\n", 3)
    assert (record.source, record.stub) == ("exec", stub.id)
    emulator.journal.assert_ran("npm install left-pad", times=1)


def test_words_are_matched_as_one_line(emulator, bound):
    emulator.commands.stub("grep -r 'a b' .", "found\n")
    assert bound.run(["grep", "-r", "a b", "."]).stdout == "found\n"


def test_function_gets_the_command_of_the_program(emulator, bound):
    emulator.commands.stub("deploy *", lambda command: Output(f"{command}: done\n", 0))
    assert bound.run("deploy now", check=True).stdout == "deploy now: done\n"


def test_error_of_a_stub_is_an_error_of_the_sandbox(emulator, bound):
    emulator.commands.stub("deploy", error="no such sandbox here")
    with pytest.raises(CagedSandboxError, match="no such sandbox here"):
        bound.run("deploy")


def test_record_has_what_the_command_printed(emulator, bound):
    bound.run("echo real; echo error >&2; exit 4")
    record = emulator.journal.commands()[-1]
    assert (record.command, record.output) == ("echo real; echo error >&2; exit 4", "real\nerror\n")
    assert (record.exit_code, record.stub, record.source) == (4, "", "exec")
    step = emulator.journal.steps(kind="command")[-1]
    assert step.title == "$ echo real; echo error >&2; exit 4"
    assert (step.detail["exit_code"], step.detail["output"]) == (4, [[0.0, "real\nerror\n"]])


def test_record_has_what_was_printed_where_the_command_has_replaced_or_ended_its_shell(emulator, bound):
    ends = {"exec sh -c 'exit 4'": 4, "trap 'exit 5' EXIT": 5, "kill -9 $$": 137}
    for end, code in ends.items():
        bound.run(f"echo real; echo error >&2; {end}")
        record = emulator.journal.commands(source="exec")[-1]
        assert (record.output, record.exit_code) == ("real\nerror\n", code)


def test_stub_that_nearly_matches_is_reported_with_the_command(emulator, bound):
    emulator.commands.stub("npm install", "stubbed", optional=True)
    bound.run("echo npm install")
    (miss,) = emulator.journal.steps(kind="command")[-1].detail["near_misses"]
    assert "npm install" in miss
    assert "caged-sdk" not in miss


def test_scripts_of_the_sdk_are_helpers_and_no_stub_answers_them(emulator, bound):
    emulator.commands.stub("*", "stubbed", optional=True)
    bound.write("data.bin", b"\0\xff")
    assert bound.read_bytes("data.bin") == b"\0\xff"
    assert bound.run("anything").stdout == "stubbed"
    sources = {record.source for record in emulator.journal.commands()}
    assert sources == {"helper", "exec"}
    titles = [record.command for record in emulator.journal.commands(source="helper")]
    assert any("data.bin" in title for title in titles)
    assert not any("caged-sdk" in title for title in titles)


def test_client_that_copies_the_first_line_gets_what_it_runs(client, box, emulator):
    done = client.sandboxes.exec(box, '# caged-sdk run abc "echo a"\necho b')
    assert (done.output, done.exit_code) == ("b\n", 0)
    for line in ('# caged-sdk run abc "cut', "# caged-sdk helper 5", "# caged-sdk run", "# caged-sdk helper"):
        assert client.sandboxes.exec(box, f"{line}\necho c").output == "c\n"
        assert emulator.journal.commands()[-1].command == f"{line}\necho c"


def test_long_command_is_recorded_and_matched_whole(emulator, bound):
    line = f"echo hi; #{'b' * 20_000}; end"
    bound.run(line)
    assert emulator.journal.commands()[-1].command.endswith("; end")
    emulator.commands.stub(f"npm test {'a' * 20_000}", "stubbed")
    assert bound.run(["npm", "test", "a" * 20_000]).stdout == "stubbed"


def test_large_output_of_a_stub_is_whole(emulator, bound):
    emulator.commands.stub("big", "x" * 300_000)
    assert bound.run("big").stdout == "x" * 300_000
