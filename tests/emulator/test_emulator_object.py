"""The `Emulator` object: its life, its settings, and several of them."""

from __future__ import annotations

import asyncio
import os
import socket
import tempfile
import threading
from pathlib import Path

import httpx
import pytest
from emulator_testing import api_of, eventually, gone
from internals import platform_of

import caged.emulator
from caged import AsyncCaged, Caged
from caged.emulator import ConfigError, Emulator, EmulatorConfig, EmulatorError


def test_the_public_names_are_these():
    names = [name for name in dir(caged.emulator) if not name.startswith("_")]
    assert names == caged.emulator.__all__ == sorted(caged.emulator.__all__)
    classes = [value for value in (getattr(caged.emulator, name) for name in names) if isinstance(value, type)]
    assert {value.__name__ for value in classes} <= set(names)


def test_with_starts_and_stops_the_emulator():
    with Emulator() as emulator:
        assert httpx.get(f"{emulator.base_url}/healthz", trust_env=False, verify=False, timeout=60).status_code == 200
        url, run_dir, zygote = emulator.base_url, emulator.run_dir, platform_of(emulator).zygote.pid
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
        lambda emulator: emulator.remove_account("acct_x"),
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


def test_an_emulator_can_be_started_again_after_its_end():
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


def test_client_and_async_client_use_the_emulator(own_emulator):
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


def test_emulator_does_not_change_the_processs_signals_and_directory(own_emulator):
    import signal

    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)], Path.cwd()
    own_emulator()
    assert (
        [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)],
        Path.cwd(),
    ) == before


def test_next_sandbox_after_a_kill_of_the_zygote_has_a_new_one(own_emulator, new_api):
    emulator = own_emulator()
    api = new_api(emulator)
    box = api.sandbox()
    first = platform_of(emulator).zygote.pid
    os.kill(first, 9)
    eventually(lambda: api.status(box) == "error", "the sandbox to be lost")
    assert api.output(api.sandbox(), "echo again") == "again\n"
    assert platform_of(emulator).zygote.pid != first
