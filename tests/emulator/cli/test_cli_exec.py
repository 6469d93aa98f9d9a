"""`caged-emulator exec`: an emulator around real commands, in real terminals."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import time

import fork_server
import pytest
from cli_testing import COMMAND, next_line, run
from emulator_testing import eventually
from leftovers import children_of, processes_with, unique_seconds

EXEC = [*COMMAND, "exec"]
PYTHON = [sys.executable, "-c"]


@pytest.fixture
def around(env, tmp_path):
    """The environment of a test whose emulators must leave no file behind, and none of whose commands live on."""
    (tmp_path / "tmp").mkdir()
    yield {**env, "TMPDIR": str(tmp_path / "tmp")}
    left = (str(tmp_path / "tmp"), env["CAGED_EMULATOR_LOCATOR_DIR"])
    eventually(lambda: not any(os.listdir(place) for place in left), "the emulator's files to go")


@pytest.fixture
def begin(around):
    """Starts `exec` without a terminal; the test ends it."""
    started = []

    def start(*words, **options):
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        start_process = subprocess.Popen if "preexec_fn" in options else fork_server.Process
        started.append(start_process([*EXEC, *words], text=True, env=around, **pipes, **options))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate(timeout=60)


def test_the_command_uses_the_emulator_and_exec_prints_nothing_itself(around):
    code = "from caged import Caged; print(Caged().account.get().name)"
    done = run("exec", "--", *PYTHON, code, env=around)
    assert (done.stdout, done.returncode) == ("emulator\n", 0)
    assert "Traceback" not in done.stderr
    assert all("warning" in line for line in done.stderr.splitlines())  # of weak isolation, where they are


def test_the_command_has_the_variables_and_the_options_are_those_of_serve(around):
    code = "import json, os; print(json.dumps(dict(os.environ)))"
    extra = {"NO_PROXY": "example.invalid", "CAGED_BASE_URL": "https://api.invalid"}
    keys = ("--api-key", "caged_sk_mine", "--admin-key", "caged_adm_mine")
    done = run("exec", *keys, "--tier", "free", "--", *PYTHON, code, env={**around, **extra})
    seen = json.loads(done.stdout)
    assert seen["CAGED_BASE_URL"] == seen["CAGED_EMULATOR_URL"]
    assert seen["CAGED_BASE_URL"].startswith("http://127.0.0.1:")
    assert (seen["CAGED_API_KEY"], seen["CAGED_EMULATOR_ADMIN_KEY"]) == ("caged_sk_mine", "caged_adm_mine")
    assert seen["NO_PROXY"] == "example.invalid,127.0.0.1,localhost"
    assert seen["no_proxy"] == "127.0.0.1,localhost"
    assert seen["TMPDIR"] == around["TMPDIR"]


def test_no_proxy_that_is_a_star_stays_as_it_is(around):
    done = run("exec", "--", "sh", "-c", 'echo "$NO_PROXY"', env={**around, "NO_PROXY": "*"})
    assert done.stdout == "*\n"


@pytest.mark.parametrize("dashes", [["--"], []])
def test_options_after_the_command_belong_to_the_command(around, dashes):
    done = run("exec", *dashes, "printf", "%s\n", "--port", "-h", "--", "", "a b", env=around)
    assert done.stdout == "--port\n-h\n--\n\na b\n"


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["sh", "-c", "exit 3"], 3, ""),
        (["sh", "-c", "kill -TERM $$"], 143, ""),
        (["sh", "-c", "kill -KILL $$"], 137, ""),
        (["no-such-program-anywhere"], 127, "no-such-program-anywhere"),
        (["/etc"], 126, "Permission denied"),
    ],
)
def test_the_exit_code_is_the_commands(around, words, code, text):
    done = run("exec", "--", *words, env=around)
    assert done.returncode == code
    assert text in done.stderr
    assert "Traceback" not in done.stderr


def test_the_commands_input_and_outputs_are_its_own(around):
    done = run("exec", "--", "sh", "-c", "cat; echo wrong >&2", env=around, input="given")
    assert done.stdout == "given"
    assert done.stderr.endswith("wrong\n")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "COMMAND"),
        (["--isolation", "vm", "--", "true"], "vm"),
        (["--state-dir", "/dev/null/x", "--", "echo", "ran"], "/dev/null/x"),
    ],
)
def test_a_setting_that_cannot_be_used_is_a_usage_error_and_nothing_runs(around, words, text):
    done = run("exec", *words, env=around)
    assert (done.returncode, done.stdout) == (2, "")
    assert text in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_in_use_is_a_usage_error_and_nothing_runs(around):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = run("exec", "--port", str(taken.getsockname()[1]), "--", "echo", "ran", env=around)
    assert (done.returncode, done.stdout) == (2, "")
    assert "choose another port" in done.stderr


def test_the_emulators_log_is_shown_with_the_option(around):
    code = "import os, urllib.request as u; u.urlopen(os.environ['CAGED_BASE_URL'] + '/v1/auth/device/code', b'{}')"
    assert "device login" in run("exec", "-v", "--", *PYTHON, code, env=around).stderr


def test_a_warning_of_the_emulator_is_shown_unasked(around):
    done = run("exec", "--", "true", env={**around, "CAGED_EMULATOR_LOCATOR_DIR": "/dev/null/x"})
    assert (done.returncode, done.stdout) == (0, "")
    assert "warning: env, status, stop and logs will not find this emulator" in done.stderr


# Three interpreters and two emulators.
def test_one_inside_another_are_two_and_both_are_found(around):
    command = " ".join(COMMAND)
    script = f'echo "$CAGED_API_KEY"; {command} accounts list; exec {command} status'
    inner = [*EXEC, "--api-key", "inner", "--", "sh", "-c", script]
    done = run("exec", "--api-key", "outer", "--", *inner, env=around)
    key, _, account, header, *listed = done.stdout.splitlines()
    assert key == account.split()[1] == "inner", "a command reaches the inner one"
    assert header.split()[:2] == ["URL", "KIND"]
    assert [line.split()[1] for line in listed] == ["exec", "exec"]


# --- signals

COUNTER = """
import os, signal, sys
names = []
def note(number, _frame):
    names.append(signal.Signals(number).name)
    print(*names, flush=True)
    if number == signal.SIGUSR1:
        os._exit(7)
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
    signal.signal(number, note)
print("ready", os.getpid(), flush=True)
while True:
    signal.pause()
"""


def test_each_signal_reaches_the_command_once_and_the_command_decides(begin):
    process = begin("--", *PYTHON, COUNTER)
    assert next_line(process.stdout).startswith("ready")
    seen = []
    for name in ("SIGHUP", "SIGTERM", "SIGINT", "SIGUSR1"):
        process.send_signal(getattr(signal, name))
        seen.append(name)
        assert next_line(process.stdout) == f"{' '.join(seen)}\n"
    assert process.wait(60) == 7


def test_a_command_that_a_signal_ends_gives_its_code(begin):
    process = begin("--", "sh", "-c", "echo ready; exec sleep 1000")
    next_line(process.stdout)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 143


def test_stop_ends_the_command_and_its_emulator(begin, around):
    process = begin("--", "sh", "-c", "echo ready; exec sleep 1000")
    next_line(process.stdout)
    said = run("stop", env=around)
    assert (said.returncode, said.stderr) == (0, "")
    assert f"(pid {process.pid})" in said.stdout
    assert os.listdir(around["TMPDIR"]) == []
    assert process.wait(60) == 143


def test_a_signal_while_the_emulator_starts_ends_it(begin, around):
    process = begin("--", "echo", "ran")
    # Its files are there before it answers.
    eventually(lambda: os.listdir(around["TMPDIR"]) or process.poll() is not None, "the emulator to start")
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) in (143, 0)  # 0: the command was faster


def test_a_signal_that_the_caller_ignores_is_the_commands_to_ignore(begin):
    process = begin("--", *PYTHON, COUNTER.replace("signal.SIGHUP, ", ""), preexec_fn=ignore_hangup)
    next_line(process.stdout)
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGUSR1)
    assert next_line(process.stdout) == "SIGUSR1\n"
    assert process.wait(60) == 7


def ignore_hangup():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


# --- a terminal


class Terminal:
    """`exec` as a terminal's foreground process, as a shell with job control would start it."""

    def __init__(self, words, env):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            for number in (signal.SIGINT, signal.SIGQUIT):  # ignored where the suite runs in the background
                signal.signal(number, signal.SIG_DFL)
            os.execve(sys.executable, [*EXEC, *words], env)
        self.text = ""
        self.code = None

    def until(self, wanted, seconds=60.0):
        deadline = time.monotonic() + seconds
        while wanted not in self.text:
            assert select.select([self.fd], [], [], max(0, deadline - time.monotonic()))[0], self.text
            piece = os.read(self.fd, 65536)
            self.text += piece.decode()

    def type(self, text):
        os.write(self.fd, text.encode())

    def ended(self):
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
        return self.code is not None

    def end(self):
        if not self.ended():
            os.kill(self.pid, signal.SIGKILL)
            eventually(self.ended, "exec to end")
        os.close(self.fd)


@pytest.fixture
def terminal(around):
    started = []

    def start(*words):
        started.append(Terminal(words, around))
        return started[-1]

    yield start
    for one in started:
        one.end()


def test_an_interactive_command_has_the_terminal(terminal):
    one = terminal("--", "sh", "-c", "test -t 0 && test -t 1 && read -r x && echo said $x")
    one.type("hello\n")
    one.until("said hello")
    eventually(one.ended, "exec to end")
    assert one.code == 0


def test_ctrl_c_reaches_the_command_once(terminal):
    one = terminal("--", *PYTHON, COUNTER)
    one.until("ready")
    # exec sees it when the command has seen it: two that come at a time would count as one.
    os.kill(one.pid, signal.SIGSTOP)
    one.type("\x03")
    one.until("SIGINT")
    os.kill(one.pid, signal.SIGCONT)
    # Sent on after whatever exec would have sent on before.
    os.kill(one.pid, signal.SIGUSR1)
    one.until("SIGUSR1")
    eventually(one.ended, "exec to end")
    assert one.text.count("SIGINT SIGUSR1") == 1
    assert "SIGINT SIGINT" not in one.text
    assert one.code == 7


def test_a_kill_reaches_the_command_of_a_terminal_too(terminal):
    one = terminal("--", *PYTHON, COUNTER)
    one.until("ready")
    os.kill(one.pid, signal.SIGINT)
    one.until("SIGINT")
    os.kill(one.pid, signal.SIGUSR1)
    one.until("SIGINT SIGUSR1")


def test_ctrl_c_twice_ends_everything_at_once(terminal):
    mark = unique_seconds()
    one = terminal("--", "sh", "-c", f"trap '' INT; setsid sleep {mark} & echo ready; sleep {mark}; sleep {mark}")
    one.until("ready")

    def interrupted():
        one.type("\x03")
        return one.ended()

    eventually(interrupted, "exec to end")
    assert one.code == 130
    assert processes_with(mark) == []


# --- the worst


def test_kill_9_of_exec_ends_all_processes_also_those_that_left_its_session(around):
    mark = unique_seconds()
    script = f"setsid sleep {mark} & sleep {mark} & kill -9 $PPID; sleep {mark}"
    done = run("exec", "--", "sh", "-c", script, env=around)
    assert done.returncode == -signal.SIGKILL
    eventually(lambda: processes_with(mark) == [], "the command's processes to end")


def test_what_a_command_leaves_in_the_background_on_purpose_may_stay(around):
    mark = unique_seconds()
    done = run("exec", "--", "sh", "-c", f"sleep {mark} >/dev/null 2>&1 & echo $!", env=around)
    assert done.returncode == 0
    os.kill(int(done.stdout), signal.SIGKILL)  # ProcessLookupError if it is gone


def test_a_command_that_succeeds_after_its_emulator_died_is_reported_as_failed(begin, around):
    process = begin("--", "sh", "-c", "echo $$; read -r x; exit 0")
    command = int(next_line(process.stdout))
    (emulator,) = set(children_of(process.pid)) - {command}
    os.kill(emulator, signal.SIGKILL)
    assert "the emulator has ended (signal 9); the command goes on without it" in next_line(process.stderr)
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.wait(60) == 1
    with contextlib.suppress(FileNotFoundError):
        assert run("status", env=around).returncode == 1  # and the look removes what it left
