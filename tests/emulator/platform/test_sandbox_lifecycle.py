"""pending, running, paused, stopped, error, destroyed: what leads from one to the next, and what is refused where."""

import asyncio
import os
import signal
import threading
import time

import pytest
from emulator_testing import assert_problem, eventually, init_of, live
from internals import call_on_loop

#: Shell: wait until the test says so.
GATE = "while [ ! -e go ]; do sleep 0.01; done"
NEEDS_RUNNING = [
    ("GET", "/files", None),
    ("GET", "/files/content?path=x", None),
    ("PUT", "/files/content?path=x", {"content": ""}),
    ("GET", "/git/diff", None),
]


def sandbox_in(api, state):
    if state == "error":
        return api.post("/sandboxes", json={"template": "minimal", "init_script": "exit 1"}).json()["id"]
    box = api.sandbox()
    if state == "paused":
        assert api.post(f"/sandboxes/{box}/pause").status_code == 204
    return box


def test_pause_and_resume_answer_204_without_a_body(api, box):
    for call, state in [("pause", "paused"), ("resume", "running"), ("pause", "paused")]:
        response = api.post(f"/sandboxes/{box}/{call}")
        assert (response.status_code, response.content) == (204, b"")
        assert api.status(box) == state


@pytest.mark.parametrize(
    ("state", "call"), [("paused", "pause"), ("error", "pause"), ("running", "resume"), ("error", "resume")]
)
def test_a_call_in_the_wrong_state_is_a_409_that_names_it(api, state, call):
    box = sandbox_in(api, state)
    response = api.post(f"/sandboxes/{box}/{call}")
    assert_problem(response, 409, f"is {state}", "invalid_state")
    assert response.json()["reason"]["subject_id"] == box
    assert api.status(box) == state


@pytest.mark.parametrize("state", ["paused", "error"])
@pytest.mark.parametrize(("method", "path", "body"), NEEDS_RUNNING)
def test_files_of_a_sandbox_that_does_not_run_are_a_409(api, state, method, path, body):
    box = sandbox_in(api, state)
    assert_problem(api.request(method, f"/sandboxes/{box}{path}", json=body), 409, f"is {state}", "sandbox_not_running")


def test_the_409_of_a_paused_sandbox_says_what_to_do(api):
    box = sandbox_in(api, "paused")
    assert "resume it first" in api.read(box, "x").json()["detail"]


def test_a_restore_into_a_paused_sandbox_is_a_409(api, box):
    snapshot = api.snapshot(box)
    api.post(f"/sandboxes/{box}/pause")
    assert_problem(api.restore(snapshot, box), 409, "is paused", "sandbox_not_running")


def test_a_snapshot_of_a_sandbox_in_error_is_a_409(api):
    assert_problem(api.post(f"/sandboxes/{sandbox_in(api, 'error')}/snapshots"), 409, "is error", "sandbox_not_running")


@pytest.mark.parametrize("state", ["running", "paused", "error"])
def test_a_destroyed_sandbox_is_gone_everywhere(api, state):
    box = sandbox_in(api, state)
    response = api.delete(f"/sandboxes/{box}")
    assert (response.status_code, response.content) == (204, b"")
    assert api.get("/sandboxes").json() == []
    calls = [
        *NEEDS_RUNNING,
        ("GET", "", None),
        ("DELETE", "", None),
        ("POST", "/pause", None),
        ("POST", "/resume", None),
    ]
    calls += [("GET", "/logs", None), ("POST", "/exec", {"command": "true"}), ("POST", "/snapshots", {})]
    for method, path, body in calls:
        assert_problem(api.request(method, f"/sandboxes/{box}{path}", json=body), 404, "sandbox not found")


def test_destroying_removes_processes_and_files(process_api, process_box):
    api, box = process_api, process_box
    api.output(box, "sleep 1000 & setsid sleep 1000 & (setsid sh -c 'sleep 1000 & sleep 1000' &) ; echo $! > pid")
    pid = int(api.read(box, "pid").text)
    directory = api.emulator.run_dir / "sandboxes" / box
    assert directory.exists()
    os.kill(pid, 0)
    api.delete(f"/sandboxes/{box}")
    assert not directory.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_destroying_removes_what_modes_protect(api, box):
    api.output(box, "mkdir -p a/b && touch a/b/c && chmod 000 a/b && chmod 100 a")
    assert api.delete(f"/sandboxes/{box}").status_code == 204
    assert not (api.emulator.run_dir / "sandboxes" / box).exists()


# The deep tree takes the kernel some time, both to make and to remove.
def test_destroying_removes_a_tree_deeper_than_pythons_recursion(api, box):
    api.output(box, "python3 -c \"import os\nfor _ in range(1200): os.mkdir('d'); os.chdir('d')\"")
    assert api.delete(f"/sandboxes/{box}").status_code == 204
    assert not (api.emulator.run_dir / "sandboxes" / box).exists()


def unchanged(file):
    """The content of a file, as a list, if it stays the same for the time of many writes."""
    before = file.read_bytes()
    time.sleep(0.05)
    return [before] if file.read_bytes() == before else []


def test_pausing_stops_processes_and_resuming_lets_them_go_on(api, box):
    api.output(box, "(i=0; while :; do i=$((i+1)); echo $i > count; done) > /dev/null 2>&1 &")
    count = api.emulator.run_dir / "sandboxes" / box / "workspace" / "count"
    eventually(lambda: count.exists() and count.read_text(), "the loop to begin")
    api.post(f"/sandboxes/{box}/pause")
    (before,) = eventually(lambda: unchanged(count), "the loop to stand still")
    time.sleep(0.1)  # the time in which it must not move
    assert count.read_bytes() == before
    api.post(f"/sandboxes/{box}/resume")
    eventually(lambda: count.read_text() not in ("", before.decode()), "the loop to go on")


def test_a_command_that_is_paused_ends_after_the_resume(api, box):
    results = []
    thread = threading.Thread(target=lambda: results.append(api.run(box, f"touch begun; {GATE}; echo end")))
    thread.start()
    eventually(lambda: api.read(box, "begun").status_code == 200, "the command to begin")
    api.post(f"/sandboxes/{box}/pause")
    (api.emulator.run_dir / "sandboxes" / box / "workspace" / "go").touch()
    thread.join(0.4)  # the time in which it must not end
    assert thread.is_alive()
    api.post(f"/sandboxes/{box}/resume")
    thread.join(60)
    assert results[0]["output"] == "end\n"


def test_a_command_running_at_the_destruction_is_answered(api, box):
    results = []
    thread = threading.Thread(target=lambda: results.append(api.run(box, "touch begun; sleep 1000")))
    thread.start()
    eventually(lambda: api.read(box, "begun").status_code == 200, "the command to begin")
    api.delete(f"/sandboxes/{box}")
    thread.join(60)
    assert results[0]["exit_code"] == -1
    assert results[0]["error"]


def test_a_sandbox_destroyed_while_it_is_made_is_a_404_for_its_creator(api):
    answers = []
    body = {"template": "minimal", "init_script": "sleep 1000"}
    thread = threading.Thread(target=lambda: answers.append(api.post("/sandboxes", json=body)))
    thread.start()
    (found,) = eventually(
        lambda: [b for b in api.get("/sandboxes").json() if "isolation" in api.log_text(b["id"])], "it to begin"
    )
    assert found["status"] == "pending"
    assert api.delete(f"/sandboxes/{found['id']}").status_code == 204
    thread.join(60)
    assert_problem(answers[0], 404)
    assert not (api.emulator.run_dir / "sandboxes" / found["id"]).exists()


def test_a_pending_sandbox_cannot_be_paused_resumed_or_used(api):
    body = {"template": "minimal", "init_script": GATE}
    answers = []
    thread = threading.Thread(target=lambda: answers.append(api.post("/sandboxes", json=body)))
    thread.start()
    (found,) = eventually(
        lambda: [b for b in api.get("/sandboxes").json() if "isolation" in api.log_text(b["id"])], "it to begin"
    )
    path = f"/sandboxes/{found['id']}"
    assert_problem(api.post(f"{path}/pause"), 409, "is pending", "invalid_state")
    assert_problem(api.post(f"{path}/resume"), 409, "is pending", "invalid_state")
    assert_problem(api.get(f"{path}/files"), 409, "is pending", "sandbox_not_running")
    assert api.run(found["id"], "true")["exit_code"] == -1
    (api.emulator.run_dir / "sandboxes" / found["id"] / "workspace" / "go").touch()
    thread.join(60)
    assert answers[0].json()["status"] == "running"


def test_many_at_once_pause_it_once(api, box):
    statuses = []
    threads = [
        threading.Thread(target=lambda: statuses.append(api.post(f"/sandboxes/{box}/pause").status_code))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(statuses) == [204] + [409] * 7


def test_many_at_once_destroy_it_once(api, box):
    statuses = []
    threads = [
        threading.Thread(target=lambda: statuses.append(api.delete(f"/sandboxes/{box}").status_code)) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(statuses) == [204] + [404] * 7


def test_a_command_that_waits_for_a_pause_does_not_run_in_the_paused_sandbox(api, box):
    """What waits for the disk while it is paused finds a paused sandbox, not the running one it was let in by."""
    sandbox = live(api.emulator, box)
    hold(api, sandbox.workspace_lock)
    answers = {}
    calls = {
        "exec": lambda: answers.update(exec=api.run(box, "touch ran")),
        "write": lambda: answers.update(write=api.write(box, "written", "x")),
    }
    pausing = threading.Thread(target=lambda: api.post(f"/sandboxes/{box}/pause"))
    pausing.start()
    eventually(sandbox.state_lock.locked, "the pause to wait")
    threads = [threading.Thread(target=call) for call in calls.values()]
    for thread in threads:
        thread.start()
    eventually(lambda: sandbox.calls == 2, "both calls to wait")
    release(api, sandbox.workspace_lock)
    for thread in [pausing, *threads]:
        thread.join(60)
    assert "is paused" in answers["exec"]["error"]
    assert_problem(answers["write"], 409, "is paused", "sandbox_not_running")
    api.post(f"/sandboxes/{box}/resume")
    assert api.listing(box).json() == []


def test_a_sandbox_whose_processes_are_killed_from_outside_is_in_error(api, box):
    os.kill(init_of(api.emulator, box), signal.SIGKILL)
    eventually(lambda: api.status(box) == "error", "the loss to be noticed")
    assert "killed from outside" in api.log_text(box)
    how = f"the first process of {box} was ended by signal 9 (SIGKILL)"
    eventually(lambda: how in "\n".join(api.emulator.log_tail(1000)), "the emulator's log to say how")
    assert api.get(f"/sandboxes/{box}").json()["stopped_at"]
    assert api.run(box, "true")["exit_code"] == -1
    assert api.delete(f"/sandboxes/{box}").status_code == 204


def hold(api, lock):
    async def acquire():
        await lock.acquire()

    call_on_loop(api.emulator, acquire())


def release(api, lock):
    async def let_go():
        lock.release()

    call_on_loop(api.emulator, let_go())


def test_a_command_that_arrives_in_a_frozen_sandbox_waits_for_the_thaw(api, box):
    emulator = api.emulator
    cage = live(emulator, box).cage

    async def scenario():
        await cage.freeze()
        waiting = asyncio.ensure_future(cage.shell("echo ran > /workspace/ran; echo out", {}))
        given_up = asyncio.ensure_future(cage.shell("echo ran > /workspace/given-up", {}))
        await cage.freeze()  # an answer to this means that init has seen both
        given_up.cancel()
        await asyncio.wait({given_up})
        before = (cage.layout.workspace / "ran").exists()
        await cage.thaw()
        return before, (await asyncio.wait_for(waiting, 5)).output

    assert call_on_loop(emulator, scenario()) == (False, b"out\n")
    assert [entry["name"] for entry in api.listing(box, "/workspace").json()] == ["ran"]
