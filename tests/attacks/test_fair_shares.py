"""Slow work of one account does not delay another account, and a copy stops when it is no longer needed."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from cli_testing import Served
from emulator_testing import eventually
from internals import platform_of

from caged.emulator.control.current_account import acting_for
from caged.emulator.workers import THREADS, CallStopped, Pool, StopToken, TooManyCalls, Workers, checkpoint

# --- thread pools


def run(scenario: Callable[[Workers], object]) -> None:
    async def main() -> None:
        workers = Workers()
        try:
            await scenario(workers)  # type: ignore[misc]
        finally:
            workers.close()

    asyncio.run(asyncio.wait_for(main(), 30))


def start(pool: Pool, account: str, call: Callable[..., object], *arguments: object) -> asyncio.Task[object]:
    with acting_for(account):
        return asyncio.ensure_future(pool.run(call, *arguments))


@pytest.mark.parametrize("kind", THREADS)
def test_account_uses_at_most_its_share_of_threads(kind: str):
    async def scenario(workers: Workers) -> None:
        pool, gate, running = getattr(workers, kind), threading.Event(), set()

        def wait(name: str) -> None:
            running.add(name)
            gate.wait(60)

        greedy = [start(pool, "greedy", wait, f"greedy {number}") for number in range(50)]
        await until(lambda: len(running) >= THREADS[kind][1], "the share of the first account")
        # The other accounts still get a thread without waiting.
        others = [start(pool, f"other {number}", wait, f"other {number}") for number in range(4)]
        await until(lambda: len(running) >= THREADS[kind][1] + 4, "the calls of the second account")
        assert sum(name.startswith("greedy") for name in running) == THREADS[kind][1]
        gate.set()
        await asyncio.gather(*greedy, *others)

    run(scenario)


def test_accounts_take_turns_although_one_has_long_queue():
    async def scenario(workers: Workers) -> None:
        pool, order = Pool("one", 1, 1), []
        gate = threading.Event()
        first = start(pool, "first", gate.wait, 20)
        await asyncio.sleep(0)
        tasks = [start(pool, "many", order.append, f"many {number}") for number in range(20)]
        await asyncio.sleep(0)
        tasks += [start(pool, name, order.append, name) for name in ("few", "fewer")]
        await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(first, *tasks)
        assert order.index("few") <= 2
        assert order.index("fewer") <= 3
        pool.close("over")

    run(scenario)


def test_small_read_does_not_wait_for_copies_of_same_account():
    async def scenario(workers: Workers) -> None:
        gate = threading.Event()
        copies = [start(workers.copy, "one", gate.wait, 20) for _ in range(100)]
        walks = [start(workers.walk, "one", gate.wait, 20) for _ in range(100)]
        assert await start(workers.small, "one", lambda: "read") == "read"
        gate.set()
        await asyncio.gather(*copies, *walks)

    run(scenario)


async def until(look: Callable[[], bool], what: str) -> None:
    """Wait, as `eventually` does, without blocking the loop."""
    await asyncio.to_thread(eventually, look, what, 20)


def spin(began: threading.Event, over: threading.Event) -> None:
    began.set()
    try:
        while True:
            checkpoint()
    finally:
        over.set()


@pytest.mark.parametrize("how", ["cancelled", "stopped", "closed"])
def test_stopped_work_ends_at_next_checkpoint(how: str):
    async def scenario(workers: Workers) -> None:
        began, over, stop = threading.Event(), threading.Event(), StopToken()
        task = asyncio.ensure_future(workers.copy.run(spin, began, over, stop=stop))
        await until(began.is_set, "the work to begin")
        if how == "cancelled":
            task.cancel()
        elif how == "stopped":
            stop.set("enough")
        else:
            workers.copy.close("enough")
        with pytest.raises(asyncio.CancelledError if how == "cancelled" else CallStopped, match=None):
            await task
        assert over.is_set(), "the caller goes on before its thread has ended"

    run(scenario)


async def use_up_share(workers: Workers, gate: threading.Event) -> list[asyncio.Task[object]]:
    """Keep the threads of one account for copies busy until the gate opens."""
    begun: list[int] = []

    def wait(number: int) -> None:
        begun.append(number)
        gate.wait(20)

    running = [start(workers.copy, "one", wait, number) for number in range(THREADS["copy"][1])]
    await until(lambda: len(begun) == len(running), "the calls to run")
    return running


def test_queued_call_of_cancelled_caller_never_runs():
    async def scenario(workers: Workers) -> None:
        gate, done = threading.Event(), []
        running = await use_up_share(workers, gate)
        waiting = start(workers.copy, "one", done.append, "never")
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        gate.set()
        await asyncio.gather(*running)
        assert done == []

    run(scenario)


def test_call_over_queue_limit_is_refused(monkeypatch):
    monkeypatch.setattr("caged.emulator.workers.MOST_WAITING", 5)

    async def scenario(workers: Workers) -> None:
        gate = threading.Event()
        running = await use_up_share(workers, gate)
        running += [start(workers.copy, "one", gate.wait, 20) for _ in range(5)]
        await asyncio.sleep(0)
        with pytest.raises(TooManyCalls):
            await start(workers.copy, "one", gate.wait, 20)
        assert await start(workers.copy, "two", lambda: 2) == 2
        gate.set()
        await asyncio.gather(*running)

    run(scenario)


def test_threads_end_with_emulator():
    async def scenario(workers: Workers) -> None:
        await asyncio.gather(*(start(pool, "one", lambda: 1) for pool in (workers.small, workers.walk, workers.copy)))

    run(scenario)
    names = ("caged-small", "caged-walk", "caged-copy")
    assert all(thread.daemon for thread in threading.enumerate() if thread.name in names)
    before = [thread for thread in threading.enumerate() if thread.name in names]
    run(scenario)
    eventually(lambda: not [one for one in threading.enumerate() if one.name in names and one not in before], "the end")


# --- over the wire

MEGABYTES = 200
#: Seconds within which a stopped copy must end. On an idle machine it takes a fraction of a second.
STOPPED_WITHIN = 30


def fill(api, box: str, megabytes: int = MEGABYTES) -> None:
    """Create a sparse file: it needs no space on the disk, but its copies do."""
    api.output(box, f"truncate -s {megabytes}M big")


def test_small_read_does_not_wait_for_snapshots_of_other_account(api, other):
    boxes = [api.sandbox() for _ in range(4)]
    for box in boxes:
        fill(api, box)
    mine = other.sandbox()
    other.write(mine, "small", "x")
    for box in boxes:
        assert api.post(f"/sandboxes/{box}/snapshots", json={}).status_code == 201
    times = []
    for _ in range(20):
        begun = time.monotonic()
        assert other.read(mine, "small").text == "x"
        times.append(time.monotonic() - begun)
    pending = [snap for box in boxes for snap in api.get(f"/sandboxes/{box}/snapshots").json()]
    for snapshot in pending:
        assert api.delete(f"/snapshots/{snapshot['id']}").status_code == 204
    assert sorted(times)[10] < 1.0, times


def test_deleting_pending_snapshot_stops_its_copy(api):
    box = api.sandbox()
    fill(api, box, 1900)
    begun = time.monotonic()
    snapshot = api.post(f"/sandboxes/{box}/snapshots", json={}).json()
    assert api.delete(f"/snapshots/{snapshot['id']}").status_code == 204
    api.write(box, "after", "x")  # returns after the copy has ended
    assert time.monotonic() - begun < STOPPED_WITHIN
    files = Path(platform_of(api.emulator).files_dir, "snapshots")
    assert not list(files.glob(f"{snapshot['id']}*"))
    assert not [line for line in api.logs(box) if "failed" in line["message"]]


@pytest.mark.parametrize("how", ["hang up", "destroy"])
def test_restore_stops_and_changes_nothing_when_client_disconnects(api, how: str):
    box = api.sandbox()
    fill(api, box, 200)
    snapshot = api.post(f"/sandboxes/{box}/snapshots", json={}).json()["id"]
    eventually(lambda: api.get(f"/snapshots/{snapshot}").json()["status"] == "completed", "the snapshot", 60)
    target = api.sandbox()
    api.write(target, "mine", "x")
    path, body = f"/snapshots/{snapshot}/restore", {"target_sandbox_id": target}
    if how == "hang up":
        with pytest.raises(httpx.ReadTimeout):
            api.post(path, json=body, timeout=httpx.Timeout(30, read=0.05))
        begun = time.monotonic()
        assert api.read(target, "mine").text == "x"
        api.write(target, "more", "x")
    else:
        with ThreadPoolExecutor() as threads:
            restoring = threads.submit(api.post, path, json=body)
            directory = Path(platform_of(api.emulator).files_dir, "sandboxes", target)
            staging = directory / "restore-new" / "tree" / "workspace" / "big"
            eventually(staging.exists, "the copy to begin")
            begun = time.monotonic()
            assert api.delete(f"/sandboxes/{target}").status_code == 204
            assert restoring.result().status_code in (404, 409)
    assert time.monotonic() - begun < STOPPED_WITHIN
    api.delete(f"/snapshots/{snapshot}")


@pytest.mark.parametrize("state", [False, True], ids=["without state", "with state"])
def test_sigterm_stops_emulator_while_copies_run(tmp_path: Path, state: bool):
    options = ["--state-dir", str(tmp_path / "state")] if state else []
    served = Served(tmp_path / "tmp", "--port", "0", *options, env=dict(os.environ))
    try:
        for _ in range(4):
            box = served.post("/v1/sandboxes", {"template": "minimal"}).json()["id"]
            served.post(f"/v1/sandboxes/{box}/exec", {"command": "truncate -s 1900M big"})
            assert served.post(f"/v1/sandboxes/{box}/snapshots", {}).status_code == 201
        begun = time.monotonic()
        served.process.send_signal(signal.SIGTERM)
        assert served.end(60) == 0
        assert time.monotonic() - begun < STOPPED_WITHIN
    finally:
        served.process.kill()
    if state:
        assert not list((tmp_path / "state" / "snapshots").glob("*")), "half of a copy was left"
