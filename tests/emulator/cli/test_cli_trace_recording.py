"""`caged-emulator trace record`: a trace of a command, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import fork_server
import pytest
from cli_testing import COMMAND, call, next_line, run
from emulator_testing import eventually
from leftovers import children_of

from caged.emulator.cli.recorded_calls import RecordedCall, read_calls
from caged.emulator.trace.file import Trace, TraceHeader

PYTHON = [sys.executable, "-c"]
PROGRAM = """
import os, sys
from caged import Caged, CagedError
from caged.emulator import RemoteEmulator

def secret(name):  # put together, so that the command line does not have it
    return "-".join(["planted", name, "value", "0123456789"])

emulator = RemoteEmulator(os.environ["CAGED_EMULATOR_URL"], os.environ["CAGED_EMULATOR_ADMIN_KEY"])
caged = Caged()
emulator.agent("claude").reply("done with " + secret("declared"), cost_usd=0.25)
box = caged.sandboxes.create(
    agents=["claude-code"], env={"TOKEN": secret("env"), "DECLARED": secret("declared")}, secrets=["DECLARED"]
)
caged.sandboxes.exec(box.id, "echo first $TOKEN > f; cat f")
caged.sandboxes.exec(box.id, "claude -p 'use " + secret("env") + "'")
emulator.reset()
with emulator.account("team") as team:
    other = team.client()
    team.faults.add("sandboxes.get", status=503)
    team.commands.stub("never " + secret("later"), "x", optional=True)
    second = other.sandboxes.create(template="minimal", env={"A": secret("later")}, secrets=["A"])
    other.sandboxes.exec(second.id, "echo second $A")
    try:
        other.sandboxes.get(second.id)
    except CagedError:
        pass
emulator.faults.add("files.read", status=500)
print("the program's own output")
sys.exit(3)
"""


@pytest.fixture
def around(env, tmp_path, monkeypatch):
    """The environment of a command in a directory of its own, whose emulator must leave nothing behind."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tmp").mkdir()
    yield {**env, "TMPDIR": str(tmp_path / "tmp")}
    left = (str(tmp_path / "tmp"), env["CAGED_EMULATOR_LOCATOR_DIR"])
    eventually(lambda: not any(os.listdir(place) for place in left), "the emulator's files to go")


@pytest.fixture
def begin(around, tmp_path):
    """Starts a recording that the test ends."""
    started = []

    def start(*words):
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        arguments = [*COMMAND, "trace", "record", "--", *words]
        started.append(fork_server.Process(arguments, text=True, env=around, cwd=str(tmp_path), **pipes))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate(timeout=60)


def output(step):
    return "".join(text for _seconds, text in step.detail["output"])


def record(around, *words, cwd=None):
    return run("trace", "record", *words, env=around, cwd=cwd or os.getcwd())


def test_everything_that_a_command_does_is_in_its_trace_and_no_secret(around, tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    done = record(around, "-o", "agent.html", "--", sys.executable, "program.py")
    assert (done.returncode, done.stdout) == (3, "the program's own output\n"), done.stderr
    said = done.stderr.splitlines()[-1]
    assert said == "trace: agent.html  (or: caged-emulator trace show agent.jsonl)"
    trace = Trace.read(tmp_path / "agent.jsonl")
    header = trace.header
    assert (header.outcome, header.error_summary) == ("failed", "exit code 3")
    assert header.title == f"$ {sys.executable} program.py"
    assert header.duration_ms > 0
    assert header.cost_usd >= 0.25
    assert header.isolation
    commands = {step.detail["command"].split(" ")[1]: output(step) for step in trace.steps if step.kind == "command"}
    assert commands["first"] == "first ***\n", "of an account that was reset"
    assert commands["second"] == "second ***\n", "of an account that was deleted"
    by_id = {step.id: step for step in trace.steps}
    assert len(by_id) == len(trace.steps)
    assert not [step for step in trace.steps if step.status == "running"]
    first = next(step for step in trace.steps if step.kind == "command" and "first" in step.title)
    request = by_id[first.parent]
    assert request.kind == "request"
    made = by_id[request.parent]
    assert (made.kind, made.detail["call"], made.account) == ("call", "sandboxes.exec", request.account)
    assert made.start <= request.start
    assert made.duration_ms >= request.duration_ms
    source = made.detail["source"]
    lines = PROGRAM.splitlines()
    assert (source["path"], lines[source["line"] - 1]) == (
        "program.py",
        'caged.sandboxes.exec(box.id, "echo first $TOKEN > f; cat f")',
    )
    failed = [step for step in trace.steps if step.kind == "call" and step.status == "error"]
    assert [step.detail["call"] for step in failed] == ["sandboxes.get"]
    assert failed[0].detail["error"].startswith("CagedServerError: injected by fault")
    assert [change["path"] for change in first.detail["changes"]] == ["/workspace/f"]
    (prompt,) = (step for step in trace.steps if step.kind == "prompt")
    assert prompt.detail["reply"] == "done with ***"
    faulty = [step for step in trace.steps if step.kind == "request" and step.detail["status"] == 503]
    assert faulty, "of an account that was deleted"
    assert all(step.controls for step in faulty)
    assert ["files.read" in one.described for one in header.unused] == [True]
    assert [step.start for step in trace.steps] == sorted(step.start for step in trace.steps)
    files = {path.name: path.read_text() for path in tmp_path.glob("agent.*")}
    assert sorted(files) == ["agent.html", "agent.jsonl"]
    for secret in ("env", "declared", "later"):
        assert f"planted-{secret}-value" not in files["agent.jsonl"] + call("trace", "show", "agent.jsonl").stdout
    assert "exit code 3" in files["agent.html"]
    assert call("trace", "open", "agent.html").stdout == "agent.html\n"


def test_calls_of_processes_and_threads_are_steps_also_while_they_run(begin, tmp_path):
    code = (
        "import os, threading; from caged import Caged; caged = Caged(max_retries=0); pid = os.fork()\n"
        "if not pid: caged.account.get(); os._exit(0)\n"
        "os.waitpid(pid, 0); caged.account.get(); box = caged.sandboxes.create(template='minimal')\n"
        "threading.Thread(target=caged.sandboxes.exec, args=(box.id, 'echo > begun; sleep 1000')).start()\n"
        "while 'begun' not in str(caged.files.list(box.id, '/workspace')): pass\n"
        "print('ready', flush=True)"
    )
    process = begin(*PYTHON, code)
    assert next_line(process.stdout) == "ready\n"
    process.kill()
    process.wait(60)
    path = tmp_path / "caged-trace.jsonl"
    eventually(path.exists, "the trace to be written")
    calls = [step for step in Trace.read(path).steps if step.kind == "call"]
    names = [step.detail["call"] for step in calls]
    assert (names[:3], names.count("account.get")) == (["account.get", "account.get", "sandboxes.create"], 2)
    assert [step.detail["call"] for step in calls if step.status == "running"] == ["sandboxes.exec"]


def test_what_is_not_a_call_in_a_file_of_calls_is_left_out(tmp_path):
    path = tmp_path / "calls.jsonl"
    call_a = '{"id": "a", "trace_id": "t", "name": "n", "path": "p", "place": ["f", 3], "began": 1.5}'
    endless = [call_a.replace("1.5", moment).replace('"a"', '"b"') for moment in ("NaN", "1e999", "-Infinity", '"x"')]
    lines = ["1", "[]", '"ended"', "{}", '{"id": "x", "ended": 1, "error": ""}', *endless, "x" * 200_000, call_a]
    path.write_bytes("\n".join([*lines, '{"id": "a", "ended": 2, "error": "e"}']).encode() + b"\n\xff\n")
    assert read_calls(path) == [RecordedCall("a", "t", "n", "p", ("f", 3), 1.5, 2.0, "e")]
    assert read_calls(tmp_path / "missing") == []
    os.mkfifo(tmp_path / "pipe")
    assert read_calls(tmp_path / "pipe") == [], "it is not waited for"


def test_a_command_that_succeeds_has_a_trace_which_the_next_one_replaces(around, tmp_path):
    for words in (["true"], ["no-such-program-anywhere"]):
        done = record({**around, "PATH": "/usr/bin:/bin"}, "--", *words)
        header = Trace.read(tmp_path / "caged-trace.jsonl").header
        assert header.title == f"$ {words[0]}"
        assert "trace: caged-trace.html" in done.stderr
    assert (done.returncode, header.outcome, header.error_summary) == (127, "error", "exit code 127")


def test_ctrl_c_ends_the_command_and_leaves_a_trace(begin, tmp_path):
    process = begin("sh", "-c", "echo ready; exec sleep 1000")
    assert next_line(process.stdout) == "ready\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    header = Trace.read(tmp_path / "caged-trace.jsonl").header
    assert (header.outcome, header.error_summary) == ("failed", "exit code 130 (SIGINT)")
    assert (tmp_path / "caged-trace.html").is_file()


def test_ctrl_c_twice_ends_everything_and_leaves_a_trace(begin, tmp_path):
    process = begin("sh", "-c", "trap '' INT; echo ready; sleep 1000; sleep 1000")
    assert next_line(process.stdout) == "ready\n"

    def interrupted():
        process.send_signal(signal.SIGINT)
        return process.poll() is not None

    eventually(interrupted, "the recording to end")
    assert process.poll() == 130
    assert Trace.read(tmp_path / "caged-trace.jsonl").header.outcome == "failed"


def test_kill_9_of_the_recording_leaves_what_had_happened(begin, tmp_path):
    code = "from caged import Caged; Caged().sandboxes.create(template='minimal'); print('ready'); input()"
    process = begin(*PYTHON, code)
    assert next_line(process.stdout) == "ready\n"
    process.kill()
    process.wait(60)
    path = tmp_path / "caged-trace.jsonl"
    eventually(path.exists, "the trace to be written")
    trace = Trace.read(path)
    assert trace.header.outcome == "unknown"
    assert "POST /v1/sandboxes" in [step.title for step in trace.steps]


def test_without_its_emulator_a_command_has_no_trace_and_no_success(begin, around, tmp_path):
    process = begin("sh", "-c", "echo $$; read -r x; exit 0")
    command = int(next_line(process.stdout))
    (emulator,) = set(children_of(process.pid)) - {command}
    os.kill(emulator, signal.SIGKILL)
    assert "the emulator has ended (signal 9)" in next_line(process.stderr)
    process.stdin.write("\n")
    process.stdin.flush()
    assert "there is no trace: the emulator ended without writing caged-trace.jsonl" in next_line(process.stderr)
    assert process.wait(60) == 1
    assert not list(tmp_path.glob("caged-trace.*"))
    run("status", env=around)  # removes the locator of an emulator that was killed


WRONG = [
    ("-o trace.txt", "-o trace.txt: the name of a trace ends in .jsonl (or .html, for its page)"),
    ("-o missing/trace.jsonl", "cannot write missing/trace.jsonl: missing does not exist or is not writable"),
    ("-o notes.jsonl", "notes.jsonl: line 1 is not one of a trace"),
    ("-o notes.html", "notes.jsonl: line 1 is not one of a trace"),
    ("-o lone.jsonl", "lone.html exists, and belongs to no trace; remove it, or choose another name"),
    ("-o lone.jsonl --isolation vm", "'vm'"),
]


@pytest.mark.parametrize(("options", "text"), WRONG, ids=[options for options, _text in WRONG])
def test_a_file_that_cannot_be_written_is_a_usage_error_and_nothing_runs(around, tmp_path, options, text):
    (tmp_path / "notes.jsonl").write_text("mine\n")
    (tmp_path / "lone.html").write_text("mine\n")
    done = call("trace", "record", *options.split(), "--", "touch", "ran")
    assert (done.returncode, done.stdout) == (2, "")
    assert text in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "tmp") == ["lone.html", "notes.jsonl"]


def test_a_trace_is_not_taken_for_that_of_a_command_whose_emulator_did_not_start(around, tmp_path):
    Trace(TraceHeader("earlier"), []).write(tmp_path / "caged-trace.jsonl")
    done = record(around, "--state-dir", "/dev/null/x", "--", "touch", "ran")
    assert done.returncode == 2
    assert "trace:" not in done.stderr
    assert Trace.read(tmp_path / "caged-trace.jsonl").header.title == "earlier"
    assert not (tmp_path / "ran").exists()
