"""Stubs of programs, wherever they are called."""

from __future__ import annotations

import re
import threading
import time

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
    """Run a command, which must succeed, and return its output."""
    result = client.sandboxes.exec(box, command)
    assert result.exit_code == 0, result
    return result.output


@at_every_level
def test_program_is_stubbed_anywhere_in_script(emulator, client, box):
    stub = emulator.commands.program("npm", "added 3 packages\n", 3)
    client.files.write(box, "build.sh", "set -e\ncd /tmp\nif npm install; then echo no; else echo code $?; fi\n")
    assert output(client, box, "bash build.sh") == "added 3 packages\ncode 3\n"
    assert output(client, box, "xargs -n1 npm <<< 'a b' | sort -u; env npm | wc -l") == "added 3 packages\n1\n"
    assert output(client, box, 'python3 -c \'import subprocess as s; print(s.call(["npm", "i"]))\'').endswith("3\n")
    assert stub.used == 5
    stub.remove()
    assert client.sandboxes.exec(box, "PATH=${PATH%%:*} command -v npm").exit_code != 0


@at_every_level
def test_program_stub_applies_to_later_sandboxes_and_init_scripts(emulator, client):
    emulator.commands.program("deploy", "deployed\n")
    box = client.sandboxes.create(init_script="deploy > /workspace/said")
    assert box.status == "running"
    assert client.files.read(box.id, "said") == "deployed\n"
    assert output(client, box.id, "deploy") == "deployed\n"


@at_every_level
def test_call_without_matching_stub_runs_real_program_with_input(emulator, client, box):
    emulator.commands.program("sort", "stubbed\n", args="-r*", optional=True)
    emulator.commands.program("cat", "stubbed\n", stdin="secret*")
    assert output(client, box, "printf 'b\\na\\n' | sort") == "a\nb\n"
    assert output(client, box, "printf 'b\\na\\n' | sort -r") == "stubbed\n"
    assert output(client, box, "head -c 300000 /dev/zero | cat | wc -c") == "300000\n"
    assert output(client, box, "printf '\\377\\000x' | cat | od -An -tx1") == " ff 00 78\n"
    assert output(client, box, "echo secret | cat; echo open | cat - /dev/null") == "stubbed\nopen\n"


def test_unread_standard_input_is_left_for_next_reader(emulator, client, box):
    """Neither the stub nor the real program consumes the input of the loop that calls it."""
    emulator.commands.program("frob", "f\n", args="stub")
    assert output(client, box, "printf '1\\n2\\n' | while read x; do frob stub; done") == "f\nf\n"
    emulator.commands.program("true", args="never", optional=True)
    assert output(client, box, "printf '1\\n2\\n' | while read x; do env true; echo $x; done") == "1\n2\n"


def test_stubs_of_same_program_are_selected_by_arguments(emulator, client, box):
    emulator.commands.program("npm", "installed\n", args="install*")
    emulator.commands.program("npm", "tested\n", 1, args=re.compile(r"\btest\b"))
    emulator.commands.program("npm", "11.0.0\n", args="--version")
    assert output(client, box, "npm install left-pad; npm run test || npm --version") == "installed\ntested\n11.0.0\n"
    result = client.sandboxes.exec(box, "PATH=${PATH%%:*}; npm publish")
    assert result.exit_code == 127
    assert "npm: command not found" in result.output
    assert "'publish'" in result.output


def test_real_program_runs_after_stub_is_exhausted(emulator, client, box):
    emulator.commands.program("uname", "HAL\n", times=1)
    assert output(client, box, "uname; uname") == "HAL\nLinux\n"


@at_every_level
def test_stub_function_gets_arguments_directory_and_input(emulator, client, box):
    requested = []

    def answer(arguments, cwd, stdin):
        requested.append((arguments, cwd, stdin))
        return Output(f"{len(requested)}\n", 5) if arguments else None

    emulator.commands.program("wc", answer)
    result = client.sandboxes.exec(box, "mkdir sub; cd sub; echo hello | wc -c 'a b' /workspace/x")
    assert (result.output, result.exit_code) == ("1\n", 5)
    assert output(client, box, "echo hello | wc | tr -s ' '").split() == ["1", "1", "6"]
    assert requested == [(["-c", "a b", "/workspace/x"], "/workspace/sub", "hello\n"), ([], "/workspace", "hello\n")]


def test_program_of_template_is_restored_after_stub_is_removed(emulator, client):
    box = client.sandboxes.create(template="python").id
    with emulator.commands.program("python3", "Python 9\n", args="--version"):
        assert output(client, box, "python3 --version; python3 -c 'print(6*7)'") == "Python 9\n42\n"
    assert output(client, box, "python3 --version") != "Python 9\n"
    assert output(client, box, "dirname $(command -v python3)") in ("/opt/caged/bin\n",)


def test_command_of_agent_can_be_stubbed(emulator, client):
    with emulator.commands.program("claude", "no\n", args="--no"):
        box = client.sandboxes.create(agents=["claude"]).id
        assert output(client, box, "claude --no; claude -p yes").endswith("Prompt: yes\n")
    assert output(client, box, "claude -p later").endswith("Prompt: later\n")


def test_program_stub_prints_pieces_with_delay(emulator, client, box):
    emulator.commands.program("build", [f"step {number}\n" for number in range(3)], delay=0.1)
    with client.sandboxes.stream(box, "build; echo code $?") as stream:
        came = [(time.monotonic(), piece) for piece in stream]
    assert "".join(piece for _, piece in came) == "step 0\nstep 1\nstep 2\ncode 0\n"


def test_killed_program_stub_ends(emulator, client, box):
    emulator.commands.program("slow", delay=60)
    assert client.sandboxes.exec(box, "timeout 0.3 slow").exit_code == 124
    assert output(client, box, "slow & sleep 0.1; kill %1; wait; echo over").endswith("over\n")


def test_closed_pipe_ends_program_stub_without_error(emulator, client, box):
    emulator.commands.program("yes", ["y\n"] * 50, delay=0.001)
    assert output(client, box, "yes | head -1") == "y\n"


def test_program_stub_of_one_sandbox_does_not_apply_to_others(emulator, client, box):
    emulator.commands.program("frob", "stubbed\n", sandbox=box)
    other = client.sandboxes.create().id
    assert output(client, box, "frob") == "stubbed\n"
    assert client.sandboxes.exec(other, "frob").exit_code == 127


def test_concurrent_program_stubs_return_own_output(emulator, client, box):
    emulator.commands.program("frob", lambda arguments, cwd, stdin: f"{arguments[0]}\n")
    said = output(client, box, "for i in $(seq 20); do frob $i > out$i & done; wait; cat out* | sort -n")
    assert said.split() == [str(number) for number in range(1, 21)]


def test_program_stub_works_after_pause_and_resume(emulator, client, box):
    emulator.commands.program("frob", "late\n", delay=0.05)
    said = []
    gate = "until [ -e go ]; do sleep 0.01; done"
    thread = threading.Thread(target=lambda: said.append(client.sandboxes.exec(box, f"touch begun; {gate}; frob")))
    thread.start()
    deadline = time.monotonic() + 60
    while "begun" not in {entry.name for entry in client.files.list(box)}:
        assert time.monotonic() < deadline
    client.sandboxes.pause(box)
    client.sandboxes.resume(box)
    client.files.write(box, "go", "")
    thread.join(60)
    assert said[0].output == "late\n"


@at_every_level
def test_program_stub_replaces_program_in_terminal(emulator, account, client, box):
    emulator.commands.program("uname", "HAL\n")
    with Term(emulator.base_url, box, account.api_key) as person:
        person.prompt().type("uname -a\r")
        person.until("HAL\r\n")
        emulator.commands.clear()
        person.prompt().type("uname\r")
        person.until("Linux\r\n")


def test_malformed_request_of_shim_is_ignored(emulator, client, box):
    """Every process in the sandbox can connect to the socket."""
    emulator.commands.program("frob", "f\n")
    client.files.write(box, "ask.py", ASK)
    for question in ['{"kind":"answer","arguments":5}', '{"kind":"agent","arguments":5}', "[]", "{}"]:
        assert client.sandboxes.exec(box, f"D=/opt/caged Q='{question}' python3 ask.py").exit_code == 0, question
        assert output(client, box, "frob") == "f\n", question


def test_output_may_be_any_text(emulator, client, box):
    for number, text in enumerate(["ä€😀\n", "a\x00b", "x" * 200_000, ""]):
        emulator.commands.program(f"frob{number}", text)
        assert output(client, box, f"frob{number}") == text


def test_login_shell_finds_program_stub(emulator, client, box):
    emulator.commands.program("npm", output="built\n")
    assert client.sandboxes.exec(box, "bash -lc 'npm run build'").output == "built\n"
