"""The `Emulator` object: its life, several of them, and what is left when it ends in whatever way."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
from pathlib import Path

import fork_server
import httpx
import pytest
from emulator_testing import api_of, eventually

import caged.emulator
from caged import AsyncCaged, Caged
from caged.emulator import ConfigError, Emulator, EmulatorConfig, EmulatorError


def gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    with open(f"/proc/{pid}/stat") as stat:  # a zombie is gone too
        return stat.read().rpartition(")")[2].split()[0] == "Z"


def in_new_process(source, *arguments, start=fork_server):
    """Runs a program with this Python, where each warning is an error; its exit code and its output's lines.

    In a fork of a process that has the emulator imported, and with `start=subprocess` in an interpreter of its own.
    """
    program = f"import warnings; warnings.simplefilter('error')\n{textwrap.dedent(source)}"
    done = start.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=30)
    assert done.stderr == ""
    return done.returncode, done.stdout.splitlines()


def test_the_public_names_are_these():
    names = [name for name in dir(caged.emulator) if not name.startswith("_")]
    assert names == caged.emulator.__all__ == sorted(caged.emulator.__all__)
    classes = [value for value in (getattr(caged.emulator, name) for name in names) if isinstance(value, type)]
    assert {value.__name__ for value in classes} <= set(names)


def test_with_starts_and_stops_it():
    with Emulator() as emulator:
        assert httpx.get(f"{emulator.base_url}/healthz", trust_env=False, verify=False, timeout=60).status_code == 200
        url, run_dir, zygote = emulator.base_url, emulator.run_dir, emulator._runtime.platform.zygote.pid
        assert run_dir.exists()
    assert not run_dir.exists()
    assert gone(zygote)
    with pytest.raises(httpx.ConnectError):
        httpx.get(url, trust_env=False, verify=False, timeout=60)


@pytest.mark.parametrize("name", ["base_url", "api_key", "admin_key", "run_dir"])
def test_before_the_start_it_says_what_to_do(name):
    with pytest.raises(EmulatorError, match=r"start\(\)"):
        getattr(Emulator(), name)


@pytest.mark.parametrize(
    "use",
    [
        lambda emulator: emulator.client(),
        lambda emulator: emulator.async_client(),
        lambda emulator: emulator.create_account(),
        lambda emulator: emulator.delete_account("acct_x"),
        lambda emulator: emulator.log_tail(),
    ],
)
def test_before_the_start_and_after_the_end_every_use_is_an_error(use):
    emulator = Emulator()
    with pytest.raises(EmulatorError, match="not running"):
        use(emulator)
    with emulator:
        pass
    with pytest.raises(EmulatorError, match="not running"):
        use(emulator)


def test_starting_twice_is_refused_and_disturbs_nothing(own_emulator):
    emulator = own_emulator()
    url = emulator.base_url
    with pytest.raises(EmulatorError, match="running already"):
        emulator.start()
    assert httpx.get(f"{url}/healthz", trust_env=False, verify=False, timeout=60).status_code == 200


def test_it_can_be_started_again_after_its_end():
    emulator = Emulator()
    seen = []
    for _ in range(2):
        with emulator:
            api = api_of(emulator)
            assert api.output(api.sandbox(), "echo works") == "works\n"
            assert len(api.get("/sandboxes").json()) == 1
            seen.append((emulator.api_key, emulator.run_dir))
            api.close()
    assert seen[0] != seen[1]


def test_stop_is_harmless_to_repeat_and_before_the_start():
    emulator = Emulator()
    emulator.stop()
    emulator.start()
    emulator.stop()
    emulator.stop()


def test_two_in_one_process_do_not_know_of_each_other(own_emulator, new_api):
    first, second = own_emulator(), own_emulator()
    assert first.base_url != second.base_url
    one, two = new_api(first), new_api(second)
    box = one.sandbox()
    assert two.get(f"/sandboxes/{box}").status_code == 404
    with httpx.Client(
        headers={"Authorization": f"Bearer {one.key}"}, trust_env=False, verify=False, timeout=60
    ) as client:
        assert client.get(f"{second.base_url}/v1/account").status_code == 401
    first.stop()
    assert two.output(two.sandbox(), "echo still here") == "still here\n"


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


def test_stop_in_the_middle_of_a_command_answers_it():
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


def test_stop_in_the_middle_of_a_create_ends_it():
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


def test_a_port_in_use_shows_at_the_start_and_leaves_nothing(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        emulator = Emulator(port=port, state_dir=tmp_path)
        with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{port}.*another port"):
            emulator.start()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(EmulatorError, match="not running"):
        _ = emulator.base_url
    with emulator:  # the port is free now
        assert emulator.base_url.endswith(f":{port}")


def test_a_start_that_fails_in_its_thread_leaves_nothing(tmp_path, monkeypatch):
    from caged.emulator.cage.zygote import Zygote

    def fail(self):
        raise OSError("no more processes")

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    emulator = Emulator()
    with monkeypatch.context() as patched:
        patched.setattr(Zygote, "start", fail)
        with pytest.raises(EmulatorError, match="failed to start: no more processes"):
            emulator.start()
    assert list(tmp_path.iterdir()) == []
    assert not [
        thread for thread in threading.enumerate() if thread.name == "caged-emulator" and thread is emulator._thread
    ]
    with emulator:
        assert emulator.base_url


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"port": -1}, "port"),
        ({"port": 65536}, "port"),
        ({"api_key": ""}, "api_key"),
        ({"api_key": "schlüssel"}, "api_key"),
        ({"api_key": "a\nb"}, "api_key"),
        ({"admin_key": "a b\n"}, "admin_key"),
        ({"isolation": "vm"}, "auto, namespace, bwrap, process"),
        ({"tier": "gold"}, "free, pro, team"),
        ({"budget_action": "warn"}, "use one of pause, destroy"),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused_at_once(options, text):
    with pytest.raises(ConfigError, match=text):
        Emulator(**options)


@pytest.mark.parametrize("place", ["with space", "quo'te", "dol$lar", "ümlaut"])
def test_a_state_dir_that_a_shell_word_cannot_hold_is_refused(tmp_path, place):
    with pytest.raises(ConfigError, match="without spaces"):
        Emulator(state_dir=tmp_path / place).start()


def test_a_state_dir_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot use"):
        Emulator(state_dir=tmp_path / "file").start()


def test_the_state_dir_holds_everything_and_afterwards_what_is_kept(tmp_path):
    with Emulator(state_dir=tmp_path / "state"):
        (tmp_path / "state" / "developers-own").touch()
    with Emulator(state_dir=tmp_path / "state") as emulator:
        assert emulator.run_dir.parent == tmp_path / "state"
    left = sorted(path.name for path in (tmp_path / "state").iterdir())
    assert left == ["developers-own", "sandboxes", "snapshots", "state.db", "state.lock", "state.marker"]


def test_the_isolation_falls_back_to_the_environment(monkeypatch):
    monkeypatch.setenv("CAGED_ISOLATION", "process")
    assert EmulatorConfig.make().isolation == "process"
    assert EmulatorConfig.make(isolation="auto").isolation == "auto"
    monkeypatch.setenv("CAGED_ISOLATION", "nonsense")
    with pytest.raises(ConfigError, match="nonsense"):
        Emulator()


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
        young.mkdir()
        old.mkdir()
        os.utime(old, (1, 1))
        (tmp_path / "caged-run-link").symlink_to(tmp_path / "kept")
        (tmp_path / "kept").mkdir()
        (tmp_path / "caged-runner").mkdir()
        with Emulator() as second:
            left = {path.name for path in tmp_path.iterdir()}
            assert left == {
                living.run_dir.name,
                second.run_dir.name,
                young.name,
                "caged-run-notes",
                "caged-new-notes",
                "caged-run-link",
                "kept",
                "caged-runner",
            }
            assert (tmp_path / "caged-run-notes" / "important").read_text() == "mine"
            assert (tmp_path / "caged-new-notes" / "important").read_text() == "mine"


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


def test_client_and_async_client_speak_to_it(own_emulator):
    emulator = own_emulator()
    account = emulator.create_account("mine")
    with emulator.client() as client, emulator.client(account.api_key, timeout=5.0) as second:
        assert isinstance(client, Caged)
        assert client.account.get().name == "emulator"
        assert (second.account.get().name, second.account.get().id) == ("mine", account.id)

    async def ask():
        async with emulator.async_client(account.api_key) as client:
            assert isinstance(client, AsyncCaged)
            return (await client.account.get()).id

    assert asyncio.run(ask()) == account.id


def test_a_start_from_within_an_event_loop_works():
    async def work():
        with Emulator() as emulator:
            async with emulator.async_client() as client:
                return (await client.account.get()).name

    assert asyncio.run(work()) == "emulator"


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


def test_it_leaves_the_processs_signals_and_directory_alone(own_emulator):
    import signal

    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)], Path.cwd()
    own_emulator()
    assert (
        [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)],
        Path.cwd(),
    ) == before


def test_its_zygote_can_be_killed_and_the_next_sandbox_has_a_new_one(own_emulator, new_api):
    emulator = own_emulator()
    api = new_api(emulator)
    box = api.sandbox()
    first = emulator._runtime.platform.zygote.pid
    os.kill(first, 9)
    eventually(lambda: api.status(box) == "error", "the sandbox to be lost")
    assert api.output(api.sandbox(), "echo again") == "again\n"
    assert emulator._runtime.platform.zygote.pid != first


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


def test_no_descriptor_is_left_after_the_end():
    with Emulator():
        pass
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with Emulator() as emulator:
            api = api_of(emulator)
            box = api.sandbox(agents=["claude"])
            api.output(box, "claude -p x; sleep 1000 &")
            api.snapshot(box)
            api.close()
    # Fewer where something that an earlier test has left was collected meanwhile.
    assert len(os.listdir("/proc/self/fd")) <= before


def use_nothing(emulator: Emulator) -> None:
    emulator.faults.add("sandboxes.exec", status=503)
    emulator.commands.stub("npm install", "added")
    emulator.agent("claude").reply("Fixed.")


def test_end_of_a_block_raises_for_controls_that_were_never_used():
    with pytest.raises(AssertionError) as caught:
        with Emulator() as emulator:
            use_nothing(emulator)
    for name in ("sandboxes.exec", "npm install", "claude"):
        assert name in str(caught.value)
    assert emulator._runtime is None


@pytest.mark.parametrize("control", ["fault", "stub", "reply"])
def test_end_of_a_block_raises_for_each_kind_of_control(control: str):
    with pytest.raises(AssertionError):  # noqa: PT012
        with Emulator() as emulator:
            if control == "fault":
                emulator.faults.add("sandboxes.exec", status=503)
            elif control == "stub":
                emulator.commands.stub("npm install", "added")
            else:
                emulator.agent("claude").reply("Fixed.")


def test_end_of_a_block_names_the_account_of_unused_controls():
    with pytest.raises(AssertionError) as caught:  # noqa: PT012
        with Emulator() as emulator:
            account = emulator.create_account()
            emulator.for_account(account).commands.stub("npm install", "added")
    assert f"in account {account.id}: " in str(caught.value)


def test_end_of_a_block_reports_controls_for_all_accounts_once():
    with pytest.raises(AssertionError) as caught:  # noqa: PT012
        with Emulator() as emulator:
            emulator.create_account()
            emulator.commands.stub("npm install", "added", account="*")
    assert str(caught.value).count("npm install") == 1


def test_end_of_a_block_accepts_used_optional_removed_and_allowed_controls():
    with Emulator() as emulator, emulator.client(max_retries=0) as client:
        emulator.commands.stub("npm install", "added")
        emulator.faults.add("sandboxes.list", status=503, optional=True)
        emulator.commands.stub("never", "", optional=True)
        emulator.agent("claude").reply("Fixed.", optional=True)
        emulator.commands.stub("removed", "").remove()
        assert client.sandboxes.exec(client.sandboxes.create().id, "npm install").output == "added"
    with Emulator(allow_unused=True) as emulator:
        use_nothing(emulator)
        use_nothing(emulator.for_account(emulator.create_account()))
    with Emulator() as emulator:
        use_nothing(emulator)
        emulator.reset_controls()


def test_block_that_raised_shows_its_own_exception_and_no_unused_controls():
    with pytest.raises(RuntimeError, match="mine"):  # noqa: PT012
        with Emulator() as emulator:
            use_nothing(emulator)
            raise RuntimeError("mine")


def test_unused_controls_of_an_emulator_that_was_stopped_or_not_in_a_block_are_not_reported():
    with Emulator() as emulator:
        use_nothing(emulator)
        emulator.stop()
    emulator = Emulator().start()
    use_nothing(emulator)
    emulator.stop()
