"""Snapshots, diffs and forks of a bound sandbox."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from either_kind import opened, result
from sdk_driver import js, problem
from workspace_testing import new_sandbox

from caged import (
    AsyncCaged,
    CagedError,
    CagedNotFoundError,
    CagedProcessLostError,
    CagedSandboxError,
    CagedServerError,
    SandboxCreateParams,
)


@pytest.fixture(autouse=True)
def clock():
    """Time is real here."""


async def write(box, text):
    assert (await result(box.run("cat >state", stdin=text))).ok


async def read(box):
    return (await result(box.run("cat state"))).stdout


async def sandbox_ids(client):
    return {sandbox.id for sandbox in await result(client.sandboxes.list())}


def test_restore_brings_back_what_the_snapshot_has(on):
    async def use(client):
        async with opened(client) as box:
            await write(box, "then")
            snapshot = await result(box.snapshot("before", description="of a test"))
            assert (snapshot.status, snapshot.name, snapshot.sandbox_id) == ("completed", "before", box.id)
            assert snapshot.description == "of a test"
            for wanted in (snapshot, snapshot.id):
                await write(box, "now")
                await result(box.restore(wanted))
                assert await read(box) == "then"
            async with opened(client) as other:
                await result(other.restore(snapshot))
                assert await read(other) == "then"

    on(use)


def test_restore_of_an_unknown_snapshot_raises_not_found(on, sandbox_id):
    async def use(client):
        with pytest.raises(CagedNotFoundError):
            await result(client.sandboxes.bind(sandbox_id).restore("snap_unknown"))

    on(use)


def test_diff_is_that_of_the_work_tree(on):
    async def use(client):
        async with opened(client) as box:
            await result(box.run("git init -q tree && cd tree && echo text >new", check=True))
            diff = await result(box.diff("/workspace/tree"))
            assert [(file.path, file.status) for file in diff.files] == [("new", "untracked")]

    on(use)


def test_forks_begin_with_the_content_and_options_and_are_independent(on):
    async def use(client):
        async with opened(client, template="python", env={"NAME": "value"}, memory_mb=640) as box:
            await write(box, "at the fork")
            forks = await result(box.fork(2))
            assert [type(one) for one in forks] == [type(box)] * 2
            await write(forks[0], "another")
            assert [await read(one) for one in (box, *forks)] == ["at the fork", "another", "at the fork"]
            for one in forks:
                assert (one.template, one.memory_mb) == (box.template, 640)
                assert (await result(one.run("echo $NAME"))).stdout == "value\n"
                await result(one.destroy())
            assert await result(client.snapshots.list(box.id)) == []

    on(use)


def test_processes_are_not_those_of_the_sandbox_that_a_snapshot_is_of(on):
    async def use(client):
        async with opened(client) as box:
            ended = await result(box.start("exit 3"))
            assert await result(ended.wait()) == 3
            (fork,) = await result(box.fork())
            assert await result(fork.processes()) == []
            own = await result(fork.start("exit 4"))
            assert [process.pid for process in await result(fork.processes())] == [own.pid]
            await result(fork.destroy())
            assert [process.pid for process in await result(box.processes())] == [ended.pid]

    on(use)


# At level `process` a sandbox sees all processes of the machine, and without the record it looks at each.
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_process_whose_records_a_restore_replaced_is_lost_and_can_be_killed(places, kind):
    with new_sandbox(places.served("namespace-sync")) as sandbox_id:
        box = places.bind("namespace-sync", sandbox_id, kind)
        before = box.snapshot()
        process = box.start("exec sleep 1000")
        box.restore(before)
        assert box.processes() == []
        with pytest.raises(CagedProcessLostError, match=r"was lost: .* replaced, by a restore for example"):
            process.poll()
        process.kill()
        assert not box.run(f"kill -0 {process.pid}").ok


def test_diff_of_a_directory_has_the_changes_below_it(on):
    async def use(client):
        async with opened(client) as box:
            assert (await result(box.diff())).files == []  # no repository
            await result(box.run("git init -q && mkdir sub && echo 1 >new && echo 1 >sub/new", check=True))
            for path, expected in ((None, ["new", "sub/new"]), ("sub", ["sub/new"]), ("/workspace/sub", ["sub/new"])):
                assert [file.path for file in (await result(box.diff(path))).files] == expected

    on(use)


def test_fork_of_a_bound_sandbox_has_what_the_api_returns_of_it(on):
    async def use(client):
        made = await result(client.sandboxes.create("node", cpus=1, disk_gb=3, budget=2.5, timeout=77, env={"A": "b"}))
        (fork,) = await result(client.sandboxes.bind(made.id).fork())
        shown = [(one.template, one.cpus, one.disk_gb, one.budget, one.timeout) for one in (fork, made)]
        assert shown[0] == shown[1]
        for one in (made, fork):
            await result(client.sandboxes.destroy(one.id))

    on(use)


def test_fork_with_parameters_has_these(on, sandbox_id):
    async def use(client):
        params = SandboxCreateParams(env={"GREETING": "other"})
        (fork,) = await result(client.sandboxes.bind(sandbox_id).fork(params=params))
        assert (await result(fork.run("echo $GREETING"))).stdout == "other\n"
        await result(fork.destroy())

    on(use)


def test_fork_that_cannot_be_set_up_leaves_nothing(on, sandbox_id):
    async def use(client):
        before = await sandbox_ids(client), await result(client.snapshots.list(sandbox_id))
        params = SandboxCreateParams(init_script="echo the cause; exit 3")
        with pytest.raises(CagedSandboxError, match=r"could not be set up \(it is destroyed\)(.|\n)*the cause"):
            await result(client.sandboxes.bind(sandbox_id).fork(params=params))
        assert (await sandbox_ids(client), await result(client.snapshots.list(sandbox_id))) == before

    on(use)


def test_fork_of_a_destroyed_sandbox_raises_and_leaves_nothing(on):
    async def use(client):
        box = client.sandboxes.bind(await result(client.sandboxes.create()))
        await result(box.destroy())
        before = await sandbox_ids(client)
        with pytest.raises(CagedNotFoundError):
            await result(box.fork(params=SandboxCreateParams()))
        assert await sandbox_ids(client) == before

    on(use)


SNAPSHOT = {"id": "snap_1", "sandbox_id": "cage_1", "status": "completed"}


def test_failure_of_one_fork_destroys_those_before_it(driver):
    answers = [
        js(SNAPSHOT),
        js(SNAPSHOT),
        js({"id": "cage_2", "status": "running"}),
        js(None, 204),
        problem(500, title="out of order"),
        js(None, 204),
        js(None, 204),
    ]
    with pytest.raises(CagedServerError, match="out of order"):
        driver.run(answers, lambda client: client.sandboxes.bind("cage_1").fork(2, params=SandboxCreateParams()))
    assert [f"{request.method} {request.url.path}" for request in driver.requests] == [
        "POST /v1/sandboxes/cage_1/snapshots",
        "GET /v1/snapshots/snap_1",
        "POST /v1/sandboxes",
        "POST /v1/snapshots/snap_1/restore",
        "POST /v1/sandboxes",
        "DELETE /v1/sandboxes/cage_2",
        "DELETE /v1/snapshots/snap_1",
    ]


def test_snapshot_of_a_fork_that_cannot_be_deleted_is_logged(driver, caplog):
    answers = [
        js(SNAPSHOT),
        js(SNAPSHOT),
        js({"id": "cage_2", "status": "running"}),
        js(None, 204),
        problem(500, title="out of order"),
    ]
    (fork,) = driver.run(answers, lambda client: client.sandboxes.bind("cage_1").fork(params=SandboxCreateParams()))
    assert fork.id == "cage_2"
    assert "snapshot snap_1 could not be deleted and may still exist: " in caplog.text


def test_arguments_of_a_fork_are_checked_before_any_request(driver):
    for n, params, message in [
        (0, None, "n is 0; a fork makes at least one"),
        ("2", None, "n must be an int"),
        (1, {"env": {}}, "params must be a SandboxCreateParams, not dict"),
        (1, SandboxCreateParams(cpus="2"), "cpus must be an int"),
    ]:
        with pytest.raises(CagedError, match=message):
            driver.run([], lambda client, n=n, params=params: client.sandboxes.bind("cage_1").fork(n, params=params))


def test_cancelled_fork_removes_what_it_has_made():
    requests = []

    async def main():
        second, go = asyncio.Event(), asyncio.Event()

        async def answer(request):
            requests.append(f"{request.method} {request.url.path}")
            if requests.count("POST /v1/sandboxes") == 2 and not go.is_set():
                second.set()
                await go.wait()
            if request.method == "DELETE" or request.url.path.endswith("/restore"):
                return httpx.Response(204)
            if request.url.path == "/v1/sandboxes":
                number = requests.count("POST /v1/sandboxes") + 1
                return httpx.Response(201, json={"id": f"cage_{number}", "status": "running"})
            return httpx.Response(200, json=SNAPSHOT)

        async with AsyncCaged("k", "http://api.test", transport=httpx.MockTransport(answer)) as client:
            task = asyncio.ensure_future(client.sandboxes.bind("cage_1").fork(3, params=SandboxCreateParams()))
            await second.wait()
            task.cancel()
            await asyncio.sleep(0)
            go.set()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
    assert requests[-3:] == [
        "DELETE /v1/sandboxes/cage_2",
        "DELETE /v1/sandboxes/cage_3",
        "DELETE /v1/snapshots/snap_1",
    ]
