"""A program of the fork server behaves like one in a new interpreter."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fork_server
import pytest

PYTHON = [sys.executable, "-c"]
BOTH = pytest.mark.parametrize("start", [fork_server, subprocess], ids=["fork", "interpreter"])


def run(start: Any, code: str, **options: Any) -> Any:
    return start.run([*PYTHON, code, "an argument"], capture_output=True, text=True, timeout=30, **options)


@BOTH
def test_output_errors_and_exit_code_of_program_are_returned(start: Any) -> None:
    done = run(start, "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)")
    assert (done.stdout, done.stderr, done.returncode) == ("out\n", "err\n", 3)


@BOTH
def test_exception_prints_traceback_and_exits_with_1(start: Any) -> None:
    done = run(start, "raise KeyError('no idea')")
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback")
    assert done.stderr.endswith("KeyError: 'no idea'\n")


@BOTH
def test_program_gets_given_environment_directory_and_arguments(start: Any, tmp_path: Path) -> None:
    code = """if True:
        import json, os, sys, tempfile
        print(json.dumps([os.getcwd(), sys.argv, tempfile.gettempdir(), "HOME" in os.environ]))
    """
    done = run(start, code, cwd=tmp_path, env={"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path)})
    assert json.loads(done.stdout) == [str(tmp_path), ["-c", "an argument"], str(tmp_path), False]


@BOTH
def test_module_in_working_directory_is_found(start: Any, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("import sys; print(__name__, sys.argv[1:])")
    done = start.run([sys.executable, "-m", "own", "x"], cwd=tmp_path, capture_output=True, text=True, timeout=30)
    assert done.stdout == "__main__ ['x']\n", done.stderr


@BOTH
def test_script_has_its_directory_on_path(start: Any, tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("VALUE = 7")
    (tmp_path / "script.py").write_text("import beside; print(__name__, beside.VALUE)")
    command = [sys.executable, str(tmp_path / "script.py")]
    assert start.run(command, capture_output=True, text=True, timeout=30).stdout == "__main__ 7\n"


@BOTH
def test_standard_input_is_complete(start: Any) -> None:
    assert run(start, "import sys; print(sys.stdin.read().upper())", input="text").stdout == "TEXT\n"


@BOTH
def test_exit_handlers_run_and_output_is_flushed(start: Any) -> None:
    done = run(start, "import atexit; atexit.register(print, 'at exit'); print('x' * 100_000)")
    assert done.stdout == "x" * 100_000 + "\nat exit\n"


@BOTH
def test_sys_exit_with_text_prints_it_and_exits_with_1(start: Any) -> None:
    done = run(start, "import sys; sys.exit('that went wrong')")
    assert (done.stderr, done.returncode) == ("that went wrong\n", 1)


@BOTH
def test_threads_are_joined_before_exit_handlers_run(start: Any) -> None:
    code = """if True:
        import atexit, threading, time
        atexit.register(print, "at exit")
        threading.Thread(target=lambda: (time.sleep(0.1), print("thread"))).start()
    """
    assert run(start, code).stdout == "thread\nat exit\n"


@BOTH
def test_failed_flush_at_exit_is_reported(start: Any) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = run(start, "import os; print('x'); os.close(1)", env=environment)
    assert done.returncode == 120
    assert "Bad file descriptor" in done.stderr


@BOTH
def test_closed_output_is_not_an_error(start: Any) -> None:
    assert run(start, "import sys; sys.stdout.close()").returncode == 0


@BOTH
def test_program_is_killed_after_timeout(start: Any) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        start.run([*PYTHON, "import time; time.sleep(600)"], stdout=subprocess.PIPE, timeout=0.2)


@pytest.mark.parametrize("start", [fork_server.Process, subprocess.Popen], ids=["fork", "interpreter"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_signal_ends_program_like_interpreter(start: Any, number: int) -> None:
    if start is subprocess.Popen and signal.getsignal(number) is signal.SIG_IGN:
        pytest.skip("this run ignores the signal, and so does an interpreter that it starts")
    code = "import time\nprint('ready', flush=True)\ntime.sleep(600)"
    process = start([*PYTHON, code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    assert process.wait(60) == -number
    process.communicate(timeout=60)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is no fork server")
def test_programs_end_when_client_is_killed() -> None:
    """A killed test process leaves neither its fork server nor the programs of that server."""
    code = f"""
import sys, time
sys.path.insert(0, {str(Path(fork_server.__file__).parent)!r})
import fork_server
program = fork_server.Process([sys.executable, "-c", "import time; time.sleep(600)"])
print(program.pid, fork_server._server.pid, flush=True)
time.sleep(600)
"""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(fork_server.ADDRESS)}
    with subprocess.Popen([*PYTHON, code], stdout=subprocess.PIPE, text=True, env=environment) as client:
        assert client.stdout is not None
        pids = [int(word) for word in client.stdout.readline().split()]
        client.kill()
    for pid in pids:
        _wait_for_end(pid)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is no fork server")
def test_shared_server_runs_until_the_last_of_its_processes_ends() -> None:
    code = f"""
import os, sys
sys.path.insert(0, {str(Path(fork_server.__file__).parent)!r})
import fork_server
done = fork_server.run([sys.executable, "-c", "import os; print(os.getppid())"], capture_output=True, text=True)
print(done.stdout.strip(), flush=True)
input()
"""
    with contextlib.ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.delenv(fork_server.ADDRESS, raising=False)
        patch.delenv(fork_server.SHARED, raising=False)
        stack.enter_context(fork_server.share())
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        clients = [stack.enter_context(subprocess.Popen([*PYTHON, code], **pipes)) for _ in range(3)]
        servers = {int(client.stdout.readline()) for client in clients}
        assert len(servers) == 1
        (server,) = servers
        for client in clients:
            assert _runs(server)
            client.communicate("\n", timeout=60)
            assert client.returncode == 0
    _wait_for_end(server)


def _wait_for_end(pid: int) -> None:
    deadline = time.monotonic() + 60
    while _runs(pid):
        assert time.monotonic() < deadline, f"process {pid} still runs"
        time.sleep(0.02)


def _runs(pid: int) -> bool:
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_several_threads_may_wait_for_one_program():
    process = fork_server.Process([*PYTHON, "input()"], stdin=subprocess.PIPE)
    with ThreadPoolExecutor(8) as pool:
        polled = [pool.submit(poll_until_ended, process) for _ in range(6)]
        waited = [pool.submit(process.wait, 60) for _ in range(2)]
        process.stdin.write(b"\n")
        assert [one.result(60) for one in (*polled, *waited)] == [0] * 8
    process.communicate()


def poll_until_ended(process):
    deadline = time.monotonic() + 60
    while process.poll() is None:
        assert time.monotonic() < deadline, "the end of the program was not noticed"
    return process.returncode
