"""Programs that are stood in for, wherever they are called."""

from __future__ import annotations

import re
import threading
import time

import pytest
from sockets import Term
from stubs_testing import at_every_level

from caged.emulator import Output

ASK = """
import os, socket, struct
os.chdir(next(place for place in ("/run", os.environ["D"]) if os.path.exists(place + "/init.sock")))
connection = socket.socket(socket.AF_UNIX)
connection.settimeout(5)
connection.connect("init.sock")
question = os.environ["Q"].encode()
connection.sendall(struct.pack("!I", len(question)) + question)
connection.recv(1000)  # an answer, or it is hung up
"""


def output(client, box, command):
    """Of a command that must succeed."""
    result = client.sandboxes.exec(box, command)
    assert result.exit_code == 0, result
    return result.output


@at_every_level
def test_a_program_is_stood_in_for_anywhere_in_a_script(emulator, client, box):
    stub = emulator.commands.program("npm", "added 3 packages\n", 3)
    client.files.write(box, "build.sh", "set -e\ncd /tmp\nif npm install; then echo no; else echo code $?; fi\n")
    assert output(client, box, "bash build.sh") == "added 3 packages\ncode 3\n"
    assert output(client, box, "xargs -n1 npm <<< 'a b' | sort -u; env npm | wc -l") == "added 3 packages\n1\n"
    assert output(client, box, 'python3 -c \'import subprocess as s; print(s.call(["npm", "i"]))\'').endswith("3\n")
    assert stub.used == 5
    stub.remove()
    assert client.sandboxes.exec(box, "PATH=${PATH%%:*} command -v npm").exit_code != 0


@at_every_level
def test_it_is_there_in_sandboxes_that_are_made_later_and_for_their_init_script(emulator, client):
    emulator.commands.program("deploy", "deployed\n")
    box = client.sandboxes.create(init_script="deploy > /workspace/said")
    assert box.status == "running"
    assert client.files.read(box.id, "said") == "deployed\n"
    assert output(client, box.id, "deploy") == "deployed\n"


@at_every_level
def test_a_call_that_none_fits_runs_the_real_program_with_its_input(emulator, client, box):
    emulator.commands.program("sort", "stubbed\n", args="-r*", optional=True)
    emulator.commands.program("cat", "stubbed\n", stdin="secret*")
    assert output(client, box, "printf 'b\\na\\n' | sort") == "a\nb\n"
    assert output(client, box, "printf 'b\\na\\n' | sort -r") == "stubbed\n"
    assert output(client, box, "head -c 300000 /dev/zero | cat | wc -c") == "300000\n"
    assert output(client, box, "printf '\\377\\000x' | cat | od -An -tx1") == " ff 00 78\n"
    assert output(client, box, "echo secret | cat; echo open | cat - /dev/null") == "stubbed\nopen\n"


def test_what_no_stub_reads_is_left_to_who_comes_after(emulator, client, box):
    """The loop's own input stays the loop's, for the stub and for the real program."""
    emulator.commands.program("frob", "f\n", args="stub")
    assert output(client, box, "printf '1\\n2\\n' | while read x; do frob stub; done") == "f\nf\n"
    emulator.commands.program("true", args="never", optional=True)
    assert output(client, box, "printf '1\\n2\\n' | while read x; do env true; echo $x; done") == "1\n2\n"


def test_several_for_one_program_by_their_arguments(emulator, client, box):
    emulator.commands.program("npm", "installed\n", args="install*")
    emulator.commands.program("npm", "tested\n", 1, args=re.compile(r"\btest\b"))
    emulator.commands.program("npm", "11.0.0\n", args="--version")
    assert output(client, box, "npm install left-pad; npm run test || npm --version") == "installed\ntested\n11.0.0\n"
    result = client.sandboxes.exec(box, "PATH=${PATH%%:*}; npm publish")
    assert result.exit_code == 127
    assert "npm: command not found" in result.output
    assert "'publish'" in result.output


def test_after_so_many_times_the_real_program_runs(emulator, client, box):
    emulator.commands.program("uname", "HAL\n", times=1)
    assert output(client, box, "uname; uname") == "HAL\nLinux\n"


@at_every_level
def test_a_function_gets_arguments_directory_and_input(emulator, client, box):
    requested = []

    def answer(arguments, cwd, stdin):
        requested.append((arguments, cwd, stdin))
        return Output(f"{len(requested)}\n", 5) if arguments else None

    emulator.commands.program("wc", answer)
    result = client.sandboxes.exec(box, "mkdir sub; cd sub; echo hello | wc -c 'a b' /workspace/x")
    assert (result.output, result.exit_code) == ("1\n", 5)
    assert output(client, box, "echo hello | wc | tr -s ' '").split() == ["1", "1", "6"]
    assert requested == [(["-c", "a b", "/workspace/x"], "/workspace/sub", "hello\n"), ([], "/workspace", "hello\n")]


def test_a_program_of_the_template_comes_back(emulator, client):
    box = client.sandboxes.create(template="python").id
    with emulator.commands.program("python3", "Python 9\n", args="--version"):
        assert output(client, box, "python3 --version; python3 -c 'print(6*7)'") == "Python 9\n42\n"
    assert output(client, box, "python3 --version") != "Python 9\n"
    assert output(client, box, "dirname $(command -v python3)") in ("/opt/caged/bin\n",)


def test_an_agents_command_may_be_stood_in_for(emulator, client):
    with emulator.commands.program("claude", "no\n", args="--no"):
        box = client.sandboxes.create(agents=["claude"]).id
        assert output(client, box, "claude --no; claude -p yes").endswith("Prompt: yes\n")
    assert output(client, box, "claude -p later").endswith("Prompt: later\n")


def test_it_takes_its_time_and_prints_as_it_goes(emulator, client, box):
    emulator.commands.program("build", [f"step {number}\n" for number in range(3)], delay=0.1)
    with client.sandboxes.stream(box, "build; echo code $?") as stream:
        came = [(time.monotonic(), piece) for piece in stream]
    assert "".join(piece for _, piece in came) == "step 0\nstep 1\nstep 2\ncode 0\n"


def test_one_that_is_killed_is_over(emulator, client, box):
    emulator.commands.program("slow", delay=60)
    assert client.sandboxes.exec(box, "timeout 0.3 slow").exit_code == 124
    assert output(client, box, "slow & sleep 0.1; kill %1; wait; echo over").endswith("over\n")


def test_output_without_a_reader_ends_quietly(emulator, client, box):
    emulator.commands.program("yes", ["y\n"] * 50, delay=0.001)
    assert output(client, box, "yes | head -1") == "y\n"


def test_one_of_another_sandbox_or_account_is_not_seen(emulator, client, box):
    emulator.commands.program("frob", "stubbed\n", sandbox=box)
    other = client.sandboxes.create().id
    assert output(client, box, "frob") == "stubbed\n"
    assert client.sandboxes.exec(other, "frob").exit_code == 127


def test_many_at_once_are_each_answered(emulator, client, box):
    emulator.commands.program("frob", lambda arguments, cwd, stdin: f"{arguments[0]}\n")
    said = output(client, box, "for i in $(seq 20); do frob $i > out$i & done; wait; cat out* | sort -n")
    assert said.split() == [str(number) for number in range(1, 21)]


def test_it_answers_after_a_pause(emulator, client, box):
    emulator.commands.program("frob", "late\n", delay=0.05)
    said = []
    thread = threading.Thread(target=lambda: said.append(client.sandboxes.exec(box, "touch begun; sleep 0.1; frob")))
    thread.start()
    deadline = time.monotonic() + 10
    while "begun" not in {entry.name for entry in client.files.list(box)}:
        assert time.monotonic() < deadline
    client.sandboxes.pause(box)
    client.sandboxes.resume(box)
    thread.join(10)
    assert said[0].output == "late\n"


@at_every_level
def test_in_a_terminal_it_is_in_front_of_the_real_one(emulator, account, client, box):
    emulator.commands.program("uname", "HAL\n")
    with Term(emulator.base_url, box, account.api_key) as person:
        person.prompt().type("uname -a\r")
        person.until("HAL\r\n")
        emulator.commands.clear()
        person.prompt().type("uname\r")
        person.until("Linux\r\n")


@pytest.mark.parametrize("question", ['{"kind":"answer","arguments":5}', '{"kind":"agent","arguments":5}', "[]", "{}"])
def test_malformed_question_to_the_emulator_does_no_harm(emulator, client, box, question):
    """Anything in the sandbox can reach the socket."""
    emulator.commands.program("frob", "f\n")
    client.files.write(box, "ask.py", ASK)
    assert client.sandboxes.exec(box, f"D=/opt/caged Q='{question}' python3 ask.py").exit_code == 0
    assert output(client, box, "frob") == "f\n"


@pytest.mark.parametrize("text", ["ä€😀\n", "a\x00b", "x" * 200_000, ""])
def test_output_of_any_text_arrives(emulator, client, box, text):
    emulator.commands.program("frob", text)
    assert output(client, box, "frob") == text


def test_a_login_shell_finds_it_too(emulator, client, box):
    emulator.commands.program("npm", output="built\n")
    assert client.sandboxes.exec(box, "bash -lc 'npm run build'").output == "built\n"
