"""A sandbox that was made before it was requested is like any other, and carries nothing to whom it is assigned."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable

import pytest
from internals import call_on_loop, platform_of
from leftovers import children_of, mounts, processes_with, run_dirs, until
from levels import OWN_USER, Served, isolation, need

from caged import Caged
from caged.emulator import Emulator, descriptors
from caged.emulator.cage import provisioning
from caged.emulator.cage.init_client import InitClient, SandboxGone
from caged.emulator.cage.provisioning import SandboxKind

#: After so many creates one is made in advance.
ENOUGH = 4


@pytest.fixture(params=OWN_USER)
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Served]:
    need(request.param)
    served = Served(tmp_path, request.param)
    yield served
    served.end()
    assert mounts() == []


@pytest.fixture(scope="module")
def shared() -> Iterator[Callable[[str], Emulator]]:
    """Return the emulator of a level in this process, started when it is first needed."""
    started: dict[str, Emulator] = {}

    def emulator(level: str) -> Emulator:
        if level not in started:
            started[level] = Emulator(isolation=level).start()
        return started[level]

    yield emulator
    for one in started.values():
        one.stop()


@pytest.fixture(params=["namespace"])
def emulator(request: pytest.FixtureRequest, shared: Callable[[str], Emulator]) -> Emulator:
    """An emulator in which sandboxes were made in advance, and no other is left by the tests before."""
    need(request.param)
    emulator = shared(request.param)
    emulator.reset()
    with emulator.client() as client:
        fill(emulator, client)
    return emulator


#: For what the isolation makes a difference to. The rest is the pool's, which has no part in it.
at_each_level = pytest.mark.parametrize("emulator", OWN_USER, indirect=True)


def pool_of(emulator: Emulator):
    return platform_of(emulator).provisioner.pool


def fill(emulator: Emulator, client: Caged, **options: object) -> None:
    """Create sandboxes until more are made in advance: on a busy machine a few creates may take too long to count."""
    pool = pool_of(emulator)
    for _ in range(50):
        until(lambda: pool.is_settled)
        if len(pool):
            return
        for _ in range(ENOUGH):
            client.sandboxes.destroy(client.sandboxes.create(**options).id)
    raise AssertionError("no sandbox was made in advance")


def take(emulator: Emulator, client: Caged, **options: object) -> str:
    """Create a sandbox that was made in advance."""
    for _ in range(50):
        fill(emulator, client, **options)
        ready = {inode(one.layout.directory) for one in pool_of(emulator).ready}
        box = client.sandboxes.create(**options).id
        if inode(platform_of(emulator).files_dir / "sandboxes" / box) in ready:
            return box
    raise AssertionError("no sandbox that was made in advance was assigned")


def ready_directories(served: Served) -> list[Path]:
    return sorted(served.run_dir.glob("ready-*"))


def inode(path: Path) -> int:
    return path.stat().st_ino


def create_from_pool(served: Served) -> str:
    """Create a sandbox that was made in advance."""
    for _ in range(50):
        for _ in range(ENOUGH):
            served.client.sandboxes.destroy(served.client.sandboxes.create().id)
        deadline = time.monotonic() + 1  # on a busy machine the creates may have taken too long to count
        while not ready_directories(served) and time.monotonic() < deadline:
            time.sleep(0.01)
        ready = {inode(path) for path in ready_directories(served)}
        box = served.client.sandboxes.create().id
        if inode(served.sandbox_dir(box)) in ready:
            return box
        served.client.sandboxes.destroy(box)
    raise AssertionError("no sandbox that was made in advance was assigned")


def test_nothing_is_carried_over_or_left(served: Served) -> None:
    """Another sandbox leaves a mark wherever it can, while those of the pool exist."""
    mark = "carried-over-mark"
    create_from_pool(served)
    other = served.client.sandboxes.create(env={"MARK": mark}, secrets=["MARK"]).id
    places = "/workspace /root /tmp /var/tmp /run /dev/shm /opt/caged /opt/caged/bin /etc /usr/local/bin /srv /home"
    everywhere = f"for d in {places}; do echo {mark} > $d/{mark} 2>/dev/null; done; echo {mark} >> /etc/hosts || :"
    if isolation(served.level) != "process":  # otherwise these are the host's
        served.run(other, everywhere)
    began = time.time()
    box = create_from_pool(served)
    assert mark not in repr(served.client.sandboxes.logs(box))
    look = (
        f"env | grep -c {mark}; "
        f"find / -xdev \\( -path /proc -o -path /usr \\) -prune -o -name '{mark}*' -print 2>/dev/null;"
        # Below /usr are ten thousand directories, and the mark's place is one of them.
        f" find /usr/local/bin -name '{mark}*'; grep {mark} /etc/hosts;"
        " ls -A /workspace /tmp; env | grep -i ready-; grep -i ready- /etc/hosts; echo end"
    )
    if isolation(served.level) != "process":
        assert served.run(box, look).split() == ["0", "/tmp:", "/workspace:", "end"]
        assert served.run(box, "hostname; tail -n 1 /etc/hosts; echo $CAGED_SANDBOX_ID").split() == [
            box,
            "127.0.1.1",
            box,
            box,
        ]
        assert other not in served.run(box, "cat /proc/self/mountinfo")
    for place in ("workspace", "root", "tmp"):
        assert float(served.run(box, f"stat -c %Y /{place}")) >= int(began) - 1
    random = "head -c 8 /dev/urandom | od -An -tx1; od -An -N8 -tx1 /dev/urandom"
    assert served.run(box, random) != served.run(other, random)
    end_and_find_nothing(served, signal.SIGTERM)


def end_and_find_nothing(served: Served, how: signal.Signals) -> None:
    run_dir = str(served.run_dir)
    served.process.send_signal(how)
    until(lambda: served.process.poll() is not None)
    until(lambda: not processes_with(run_dir), what=lambda: processes_with(run_dir))
    until(lambda: run_dirs(served.tmp) == [], what=lambda: run_dirs(served.tmp))


def test_another_account_gets_one_without_a_trace_of_the_first(emulator: Emulator) -> None:
    with emulator.account("second") as account, emulator.client(account.api_key) as client:
        box = take(emulator, client)
        assert [each.id for each in client.sandboxes.list() if each.id == box] == [box]
        (record,) = account.journal.requests(operation="sandboxes.create", last=1)
        assert record.status == 201
        shown = repr([*account.journal.requests(), *account.journal.steps(), *client.sandboxes.logs(box)])
        assert "ready-" not in shown


def test_ready_made_sandboxes_are_not_listed(emulator: Emulator) -> None:
    assert len(pool_of(emulator))
    with emulator.client() as client:
        assert client.sandboxes.list() == []
    assert platform_of(emulator).store.sandboxes == {}


@at_each_level
def test_options_that_cannot_be_changed_later_apply(emulator: Emulator) -> None:
    with emulator.client() as client:
        usual = client.sandboxes.create(memory_mb=512).id
        assert client.sandboxes.exec(usual, "ulimit -d").output.strip() == str(512 * 1024)
        small = client.sandboxes.create(memory_mb=1024).id
        assert client.sandboxes.exec(small, "ulimit -d").output.strip() == str(1024 * 1024)
        if platform_of(emulator).isolation.own_network:
            closed = client.sandboxes.create(network_mode="none").id
            assert client.sandboxes.exec(closed, "tail -n +3 /proc/net/dev").output.split()[0] == "lo:"


def test_proxy_of_an_allowlist_is_that_of_the_sandbox(own_emulator: Callable[..., Emulator]) -> None:
    need("namespace")
    emulator = own_emulator(isolation="namespace")
    with emulator.client() as client:
        options = {"network_mode": "allowlist", "allowlist": ["first.example"]}
        fill(emulator, client, **options)
        box = take(emulator, client, network_mode="allowlist", allowlist=["second.example"])
        request = "CONNECT first.example:443 HTTP/1.1\\r\\nHost: first.example:443\\r\\n\\r\\n"
        line = f"exec 3<>/dev/tcp/127.0.0.1/${{http_proxy##*:}}; printf '{request}' >&3; head -n 1 <&3"
        assert "403" in client.sandboxes.exec(box, line).output
        until(lambda: "first.example:443 was refused" in repr(client.sandboxes.logs(box)))


@at_each_level
def test_one_that_was_killed_is_noticed_and_not_assigned(emulator: Emulator) -> None:
    inits = platform_of(emulator).zygote.inits
    killed = [name for name in inits if name.startswith("ready-")]
    directories = [emulator.run_dir / name for name in killed]
    # At level `bwrap`, what is killed is bwrap, and its child goes with it a moment later.
    pids = [pid for name in killed for pid in (inits[name], *children_of(inits[name]))]
    for name in killed:
        os.kill(inits[name], signal.SIGKILL)
    until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids))
    with emulator.client() as client:
        box = client.sandboxes.create()
        assert box.status == "running"
        assert client.sandboxes.exec(box.id, "echo works").output == "works\n"
    until(lambda: not any(directory.exists() for directory in directories))
    assert not set(killed) & set(inits)


@at_each_level
def test_killed_zygote_empties_the_pool_and_create_works(emulator: Emulator) -> None:
    os.kill(platform_of(emulator).zygote.pid, signal.SIGKILL)
    until(lambda: not len(pool_of(emulator)))
    with emulator.client() as client:
        box = client.sandboxes.create()
        assert client.sandboxes.exec(box.id, "echo works").output == "works\n"


# After SIGTERM the test above looks; SIGINT takes the same path (tests/system/test_nothing_is_left.py).
def test_nothing_is_left_of_them_after_kill(served: Served) -> None:
    create_from_pool(served)
    end_and_find_nothing(served, signal.SIGKILL)


def test_assigned_one_survives_a_restart(own_emulator: Callable[..., Emulator], tmp_path: Path) -> None:
    emulator = own_emulator(state_dir=tmp_path)
    with emulator.client() as client:
        box = take(emulator, client)
        client.sandboxes.exec(box, "echo kept > file")
    emulator.stop()
    assert not list(tmp_path.glob("**/ready-*"))
    emulator = own_emulator(state_dir=tmp_path)
    with emulator.client() as client:
        client.sandboxes.resume(box)
        assert client.sandboxes.exec(box, "cat file").output == "kept\n"


def test_create_says_why_when_none_can_be_started(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed build of the pool has no effect on a create, which reports its own failure."""
    provisioner = platform_of(emulator).provisioner

    async def refuse(spec: object) -> object:
        raise OSError(28, "No space left on device")

    remove, threads = provisioning.disk.remove, set()

    def noted(path: Path, *arguments: object) -> None:
        threads.add(threading.current_thread().name)
        remove(path, *arguments)

    monkeypatch.setattr(provisioner._zygote, "create", refuse)
    monkeypatch.setattr(provisioning.disk, "remove", noted)
    with emulator.client() as client:
        made = [client.sandboxes.create() for _ in range(10)]
        assert made[-1].status == "error"
        assert "No space left" in repr(client.sandboxes.logs(made[-1].id))
    assert threads == {"caged-walk"}, "a directory is never removed on the event loop"
    run_dir = emulator.run_dir
    until(lambda: not list(run_dir.glob("ready-*")), what=lambda: list(run_dir.glob("ready-*")))


def test_ready_made_sandbox_whose_shell_fails_is_discarded(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    provisioner = platform_of(emulator).provisioner
    kind = pool_of(emulator).kinds[0]
    before = sorted(emulator.run_dir.glob("ready-*"))
    # Another test may add something to the host that sandboxes do not see, and then there is another mask.
    monkeypatch.setattr(provisioner, "_current_mask", lambda: kind.mask)

    def make_fails(kind: SandboxKind, message: str) -> None:
        with pytest.raises(SandboxGone, match=message):
            call_on_loop(emulator, provisioner._make_ready(kind))

    make_fails(replace(kind, mask="/another"), "has changed meanwhile")
    run = InitClient.run

    def hang(init: InitClient, command: list[str], *args: Any, **options: Any) -> Any:
        return run(init, [command[0], "-c", "sleep 600"], *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(provisioning, "WARM_UP_LIMIT", 0.5)
        patch.setattr(InitClient, "run", hang)
        make_fails(kind, r"its shell was killed after 0\.5 s")
    monkeypatch.setattr(provisioner, "_shell", shutil.which("false"))
    make_fails(kind, "its shell exited with 1")
    assert sorted(emulator.run_dir.glob("ready-*")) == before


def test_they_are_removed_before_anything_is_refused_for_a_lack_of_descriptors(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = pool_of(emulator)
    monkeypatch.setattr(descriptors, "has_room_for_sandbox", lambda held=0: held > 0 or not len(pool))
    monkeypatch.setattr(descriptors, "has_room_for_stream", lambda: not len(pool))
    room_for_ready: list[bool] = [False]  # or one is made again as soon as the others are removed
    monkeypatch.setattr(descriptors, "has_room_for_ready", lambda: room_for_ready[0])
    with emulator.client() as client:
        assert pool.descriptors >= len(pool) > 0
        box = client.sandboxes.create(cpus=1)  # of another kind
        assert (box.status, len(pool)) == ("running", 0)
        room_for_ready[0] = True
        fill(emulator, client)
        room_for_ready[0] = False
        with client.sandboxes.stream(box.id, "echo on") as stream:
            assert "on" in "".join(str(piece) for piece in stream)
        assert len(pool) == 0
    assert not list(emulator.run_dir.glob("ready-*"))


def test_they_are_removed_when_idle(emulator: Emulator) -> None:
    run_dir = emulator.run_dir

    async def idle() -> None:
        for kept in pool_of(emulator)._by_kind.values():
            kept.requests.clear()
        pool_of(emulator)._empty_idle()
        await asyncio.gather(*pool_of(emulator)._discarding)

    call_on_loop(emulator, idle())
    assert not list(run_dir.glob("ready-*"))
    assert not [name for name in platform_of(emulator).zygote.inits if name.startswith("ready-")]
