"""What an `Emulator` leaves behind however it ends: no process, directory, thread or descriptor."""

from __future__ import annotations

import contextlib
import gc
import os
import subprocess
import sys
import tempfile
import textwrap
import threading

import fork_server
import pytest
from emulator_testing import api_of, eventually, gone

from caged.emulator import Emulator
from caged.emulator.run_directory import RunDirectory, sweep


def in_new_process(source, *arguments, start=fork_server):
    """Runs a program with this Python, where each warning is an error; its exit code and its output's lines.

    In a fork of a process that has the emulator imported, and with `start=subprocess` in an interpreter of its own.
    """
    program = f"import warnings; warnings.simplefilter('error')\n{textwrap.dedent(source)}"
    done = start.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=30)
    assert done.stderr == ""
    return done.returncode, done.stdout.splitlines()


def test_stop_ends_a_sandbox_with_everything_in_it():
    emulator = Emulator(isolation="process").start()  # process numbers are the host's
    api = api_of(emulator)
    box = api.sandbox()
    api.output(
        box, "sleep 1000 & echo $! > pid; setsid sleep 1000 & trap '' TERM; (trap '' TERM HUP; sleep 1000) & true"
    )
    pid = int(api.read(box, "pid").text)
    run_dir = emulator.run_dir
    api.close()
    emulator.stop()
    assert gone(pid)
    assert not run_dir.exists()


def test_stop_in_the_middle_of_a_command_answers_its_request():
    emulator = Emulator().start()
    api = api_of(emulator)
    box = api.sandbox()
    results = []
    thread = threading.Thread(target=lambda: results.append(api.run(box, "touch begun; sleep 1000")))
    thread.start()
    eventually(lambda: api.read(box, "begun").status_code == 200, "the command to begin")
    emulator.stop()
    thread.join(60)
    api.close()
    assert (results[0]["exit_code"], bool(results[0]["error"])) == (-1, True)


def test_stop_in_the_middle_of_a_create_ends_the_create():
    emulator = Emulator().start()
    api = api_of(emulator)
    answers = []
    body = {"template": "minimal", "init_script": "sleep 1000"}
    thread = threading.Thread(target=lambda: answers.append(api.post("/sandboxes", json=body).status_code))
    thread.start()
    eventually(lambda: api.get("/sandboxes").json(), "the sandbox to be there")
    run_dir = emulator.run_dir
    emulator.stop()
    thread.join(60)
    api.close()
    assert answers == [404]
    assert not run_dir.exists()


def test_the_directories_of_dead_emulators_are_removed_and_those_of_living_ones_are_not(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with Emulator() as living:
        dead = tmp_path / "caged-run-dead"
        (dead / "sandboxes" / "x").mkdir(parents=True)
        (dead / "lock").write_bytes((living.run_dir / "lock").read_bytes())
        (dead / "sandboxes").chmod(0)
        half = tmp_path / "caged-run-half"
        half.mkdir()
        os.utime(half, (1, 1))
        for notes in (tmp_path / "caged-run-notes", tmp_path / "caged-new-notes"):
            notes.mkdir()
            (notes / "important").write_text("mine")
            os.utime(notes, (1, 1))
        (tmp_path / "caged-run-notes" / "lock").write_text("of something else")
        young, old = tmp_path / "caged-new-young", tmp_path / "caged-new-old"
        without_signature = tmp_path / "caged-new-locked", tmp_path / "caged-new-abandoned"
        for directory in (young, old, *without_signature):
            directory.mkdir()
        for directory in without_signature:
            (directory / "lock").touch()
        for directory in (old, without_signature[1]):
            os.utime(directory, (1, 1))
        (tmp_path / "caged-run-link").symlink_to(tmp_path / "kept")
        (tmp_path / "kept").mkdir()
        (tmp_path / "caged-runner").mkdir()
        with Emulator() as second:
            left = {path.name for path in tmp_path.iterdir()}
            assert left == {
                living.run_dir.name,
                second.run_dir.name,
                young.name,
                "caged-new-locked",
                "caged-run-notes",
                "caged-new-notes",
                "caged-run-link",
                "kept",
                "caged-runner",
            }
            assert (tmp_path / "caged-run-notes" / "important").read_text() == "mine"
            assert (tmp_path / "caged-new-notes" / "important").read_text() == "mine"


def test_directories_that_are_just_made_survive_the_starts_of_others(tmp_path):
    over = threading.Event()

    def start() -> None:
        while not over.is_set():
            sweep(tmp_path)

    others = [threading.Thread(target=start) for _ in range(2)]
    for thread in others:
        thread.start()
    try:
        made = [RunDirectory.create(tmp_path) for _ in range(60)]
    finally:
        over.set()
        for thread in others:
            thread.join()
    assert {one.path for one in made} == set(tmp_path.iterdir())
    for one in made:
        one.remove()


# The deep tree takes the kernel some time.
def test_a_dead_directory_too_deep_for_recursion_does_not_keep_an_emulator_from_starting(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    dead = tmp_path / "caged-run-dead"
    dead.mkdir()
    with Emulator() as emulator:
        (dead / "lock").write_bytes((emulator.run_dir / "lock").read_bytes())
    here = os.open(".", os.O_RDONLY)
    try:
        os.chdir(dead)
        for _ in range(1200):
            os.mkdir("d")
            os.chdir("d")
    finally:
        os.fchdir(here)
        os.close(here)
    with Emulator() as emulator:
        assert [path.name for path in tmp_path.iterdir()] == [emulator.run_dir.name]


def test_a_fork_of_the_process_neither_stops_nor_breaks_it():
    code, lines = in_new_process(
        """
        import os, sys, warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: a fork beside threads, which is what we are after
        from caged.emulator import Emulator
        with Emulator() as emulator:
            with emulator.client() as client:
                box = client.sandboxes.create()
                for leave in ("stop", "exit", "with"):
                    pid = os.fork()
                    if pid == 0:
                        if leave == "stop":
                            emulator.stop()
                            os._exit(0)
                        sys.exit(0)  # through __exit__ and the exit handlers
                    assert os.waitpid(pid, 0)[1] == 0
                    print(client.sandboxes.exec(box.id, "echo alive").output.strip(), flush=True)
        """
    )
    assert (code, lines) == (0, ["alive"] * 3)


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (subprocess, ""),
        (fork_server, "sys.exit(3)"),
        (fork_server, "raise SystemExit(3)"),
        (fork_server, "import threading; threading.Thread(target=lambda: None).start()"),
    ],
    ids=["no exit", "sys.exit", "SystemExit", "thread"],
)
def test_the_end_of_the_interpreter_leaves_nothing(tmp_path, start, end):
    code, (zygote, child) = in_new_process(
        f"""
        import os, sys, tempfile
        from caged.emulator import Emulator
        tempfile.tempdir = sys.argv[1]
        emulator = Emulator(isolation="process").start()
        client = emulator.client()
        box = client.sandboxes.create()
        print(emulator._runtime.platform.zygote.pid)
        print(client.sandboxes.exec(box.id, "sleep 1000 & echo $!").output.strip())
        {end}
        """,
        str(tmp_path),
        start=start,
    )
    assert code == (3 if "3" in end else 0)
    assert list(tmp_path.iterdir()) == []
    assert gone(int(zygote))
    assert gone(int(child))


def test_the_end_of_the_interpreter_ends_a_reader_of_steps_without_an_error():
    code, lines = in_new_process(
        """
        import threading
        from caged.emulator import Emulator
        emulator = Emulator(isolation="process").start()
        begun, client = threading.Event(), emulator.client()
        def read():
            for step in emulator.journal.follow():
                begun.set()
            print("ended", flush=True)
        threading.Thread(target=read, daemon=True).start()
        while not begun.wait(0.1):
            client.account.get()
        """,
        start=subprocess,
    )
    assert code == 0
    assert lines in (["ended"], [])  # the interpreter may end before the thread prints


def test_an_exit_without_handlers_leaves_no_process_and_no_directory(tmp_path):
    _code, (zygote, child) = in_new_process(
        """
        import os, sys, tempfile
        from caged.emulator import Emulator
        tempfile.tempdir = sys.argv[1]
        emulator = Emulator(isolation="process").start()
        client = emulator.client()
        box = client.sandboxes.create()
        print(emulator._runtime.platform.zygote.pid)
        print(client.sandboxes.exec(box.id, "sleep 1000 & echo $!").output.strip(), flush=True)
        os._exit(0)
        """,
        str(tmp_path),
        start=subprocess,
    )
    eventually(lambda: gone(int(zygote)) and gone(int(child)), "the processes to go")
    eventually(lambda: list(tmp_path.iterdir()) == [], "the directory to go")


def test_an_emulator_that_is_dropped_without_stop_is_ended_at_exit(tmp_path):
    code, _lines = in_new_process(
        """
        import sys, tempfile
        from caged.emulator import Emulator
        tempfile.tempdir = sys.argv[1]
        Emulator().start()
        """,
        str(tmp_path),
    )
    assert code == 0
    eventually(lambda: list(tmp_path.iterdir()) == [], "the directory to go")


def test_no_thread_is_left_after_the_end():
    before = set(threading.enumerate())
    with Emulator() as emulator:
        api = api_of(emulator)
        api.write(api.sandbox(), "f", "x")
        api.close()
    left = set(threading.enumerate()) - before
    for thread in left:
        thread.join(60)  # it has been requested to end, and may be in its last lines
    assert [thread.name for thread in left if thread.is_alive()] == []


def descriptors() -> set[tuple[str, str]]:
    """Return the descriptors of this process with what each is."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the listing's own
            found.add((number, os.readlink(f"/proc/self/fd/{number}")))
    return found


def test_no_descriptor_is_left_after_the_end():
    with Emulator():
        pass
    gc.collect()  # what an earlier test has left is not collected, and its numbers not used again, during this one
    before = descriptors()
    for _ in range(3):
        with Emulator() as emulator:
            api = api_of(emulator)
            box = api.sandbox(agents=["claude"])
            api.output(box, "claude -p x; sleep 1000 &")
            api.snapshot(box)
            api.close()
    assert descriptors() - before == set()
