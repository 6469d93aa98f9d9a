"""What time does: cost, budgets, and idle pauses. The emulator's clock is moved; no test waits."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from emulator_testing import FakeClock, assert_problem, eventually
from internals import platform_of
from sessions_testing import script

from caged.emulator import Reply


@pytest.fixture(scope="module")
def emulator(process_emulator):
    """Nothing here depends on the isolation."""
    return process_emulator


HOUR = 3600
#: The longest idle timeout, in seconds.
DAY = 24 * HOUR
#: USD per hour of the default sandbox: 2 cores, half a GB of memory, 5 GB of disk.
DEFAULT_RATE = 2 * 0.01 + 0.5 * 0.005 + 5 * 0.001


def money(api, box):
    found = api.get(f"/sandboxes/{box}").json()
    assert found["total_cost"] == pytest.approx(found["cost"] + found["llm_cost"], abs=1e-6)
    return found["cost"]


def test_an_hour_of_running_costs_the_documented_rate(timed):
    api, clock = timed
    box = api.sandbox(timeout=DAY)
    clock.advance(HOUR)
    assert money(api, box) == pytest.approx(DEFAULT_RATE, rel=0.01)
    clock.advance(9 * HOUR)
    assert money(api, box) == pytest.approx(10 * DEFAULT_RATE, rel=0.01)


@pytest.mark.parametrize(
    ("fields", "rate"),
    [
        ({"cpus": 8}, 8 * 0.01 + 0.0025 + 0.005),
        ({"memory_mb": 8192}, 0.02 + 8 * 0.005 + 0.005),
        ({"disk_gb": 50}, 0.02 + 0.0025 + 0.05),
        ({"cpus": 1, "memory_mb": 1024, "disk_gb": 1}, 0.01 + 0.005 + 0.001),
    ],
)
def test_the_rate_is_by_cores_memory_and_disk(timed, fields, rate):
    api, clock = timed
    box = api.sandbox(**fields, timeout=DAY)
    clock.advance(HOUR)
    assert money(api, box) == pytest.approx(rate, rel=0.01)


def test_a_paused_sandbox_costs_nothing_more(timed):
    api, clock = timed
    box = api.sandbox(timeout=DAY)
    clock.advance(HOUR)
    api.post(f"/sandboxes/{box}/pause")
    before = money(api, box)
    clock.advance(100 * 3600)
    assert money(api, box) == before
    api.post(f"/sandboxes/{box}/resume")
    clock.advance(HOUR)
    assert money(api, box) == pytest.approx(2 * DEFAULT_RATE, rel=0.01)


def test_a_sandbox_in_error_costs_nothing(timed):
    api, clock = timed
    box = api.post("/sandboxes", json={"template": "minimal", "init_script": "exit 1"}).json()["id"]
    clock.advance(3600)
    assert money(api, box) == 0


def test_the_list_shows_the_same_cost(timed):
    api, clock = timed
    api.sandbox(timeout=DAY)
    clock.advance(2 * HOUR)
    (listed,) = api.get("/sandboxes").json()
    assert listed["total_cost"] == pytest.approx(2 * DEFAULT_RATE, rel=0.01)


# --- budgets


def budget_lines(api, box):
    return [line["message"] for line in api.logs(box) if line["type"] == "budget"]


def test_80_and_95_percent_of_the_budget_are_logged_once_each(timed):
    api, clock = timed
    box = api.sandbox(budget=DEFAULT_RATE * 10, timeout=DAY)
    clock.advance(7.9 * HOUR)
    assert budget_lines(api, box) == []
    clock.advance(0.2 * HOUR)
    assert ["80%" in line for line in budget_lines(api, box)] == [True]
    clock.advance(1.0 * HOUR)
    assert len(budget_lines(api, box)) == 1
    clock.advance(0.5 * HOUR)
    assert ["95%" in line for line in budget_lines(api, box)] == [False, True]
    assert api.status(box) == "running"


def test_at_100_percent_the_sandbox_is_paused(timed):
    api, clock = timed
    box = api.sandbox(budget=DEFAULT_RATE, timeout=DAY)
    clock.advance(0.99 * HOUR)
    assert api.status(box) == "running"
    clock.advance(0.02 * HOUR)
    assert api.status(box) == "paused"
    assert "used up" in budget_lines(api, box)[-1]
    assert [snapshot["name"] for snapshot in api.get(f"/sandboxes/{box}/snapshots").json()] == ["auto-pause"]


def test_a_sandbox_over_its_budget_is_not_resumed(timed):
    api, clock = timed
    box = api.sandbox(budget=DEFAULT_RATE, timeout=DAY)
    clock.advance(1.01 * HOUR)
    response = api.post(f"/sandboxes/{box}/resume")
    assert_problem(response, 409, "budget", "budget_exceeded")
    assert response.json()["reason"]["subject_id"] == box
    assert api.status(box) == "paused"
    assert api.delete(f"/sandboxes/{box}").status_code == 204


def test_model_spend_counts_towards_the_budget(timed):
    api, clock = timed
    script(api, Reply("ok\n", cost_usd=0.999))
    box = api.sandbox(budget=1.0, agents=["claude"], timeout=DAY)
    api.output(box, "claude -p hi")
    found = api.get(f"/sandboxes/{box}").json()
    assert (found["llm_cost"], found["status"]) == (0.999, "running")
    clock.advance(HOUR)
    assert api.status(box) == "paused"


def test_spend_of_a_model_in_a_paused_sandbox_is_logged_once(timed):
    api, clock = timed
    box = api.sandbox(budget=1.0)
    api.post(f"/sandboxes/{box}/pause")
    for spent, reported in ((0.85, 1), (0.96, 2), (1.5, 3), (2.0, 3)):
        platform_of(api.emulator).store.sandboxes[box].spent_llm = spent
        clock.advance(0)
        assert len(budget_lines(api, box)) == reported
        assert api.get("/alerts").json()["total"] == reported
    assert api.status(box) == "paused"
    assert_problem(api.post(f"/sandboxes/{box}/resume"), 409, code="budget_exceeded")


def test_the_budget_may_destroy_instead(own_emulator, new_api):
    emulator = own_emulator(budget_action="destroy", isolation="process")
    api, clock = new_api(emulator), FakeClock(emulator)
    box = api.sandbox(budget=DEFAULT_RATE, timeout=DAY)
    clock.advance(2 * HOUR)
    assert_problem(api.get(f"/sandboxes/{box}"), 404)
    assert not (emulator.run_dir / "sandboxes" / box).exists()


def test_without_a_budget_there_is_no_end(timed):
    api, clock = timed
    box = api.sandbox()
    platform_of(api.emulator).store.sandboxes[box].timeout = 10**9  # longer than a client may set
    clock.advance(100_000 * HOUR)
    assert api.status(box) == "running"
    assert budget_lines(api, box) == []


def test_the_smallest_budget_is_enforced(timed):
    api, clock = timed
    box = api.post("/sandboxes", content=b'{"template": "minimal", "budget": 5e-324}').json()["id"]
    clock.advance(1)
    assert api.status(box) == "paused"
    assert_problem(api.post(f"/sandboxes/{box}/resume"), 409, code="budget_exceeded")


# --- falling asleep


def test_an_idle_sandbox_is_paused_after_its_timeout(timed):
    api, clock = timed
    box = api.sandbox(timeout=60)
    clock.advance(55)
    assert api.status(box) == "running"
    clock.advance(10)
    assert api.status(box) == "paused"
    assert "paused after 60 s without activity" in api.log_text(box)
    assert [snapshot["trigger"] for snapshot in api.get(f"/sandboxes/{box}/snapshots").json()] == ["auto"]


def test_the_default_timeout_is_a_quarter_of_an_hour(timed):
    api, clock = timed
    box = api.sandbox()
    clock.advance(890)
    assert api.status(box) == "running"
    clock.advance(15)
    assert api.status(box) == "paused"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/exec", {"command": "true"}),
        ("GET", "/files", None),
        ("GET", "/files/content?path=f", None),
        ("PUT", "/files/content?path=f", {"content": "x"}),
        ("GET", "/git/diff", None),
        ("GET", "/files/content?path=missing", None),
    ],
)
def test_using_a_sandbox_keeps_it_awake(timed, method, path, body):
    api, clock = timed
    box = api.sandbox(timeout=60)
    for _ in range(3):
        clock.advance(50)
        api.request(method, f"/sandboxes/{box}{path}", json=body)
    assert api.status(box) == "running"
    clock.advance(61)
    assert api.status(box) == "paused"


@pytest.mark.parametrize("path", ["", "/logs", "/snapshots"])
def test_looking_at_a_sandbox_does_not_keep_it_awake(timed, path):
    api, clock = timed
    box = api.sandbox(timeout=60)
    clock.advance(50)
    assert api.get(f"/sandboxes/{box}{path}").status_code == 200
    clock.advance(15)
    assert api.status(box) == "paused"


def test_a_running_command_keeps_its_sandbox_awake(timed):
    api, clock = timed
    box = api.sandbox(timeout=60)
    thread = threading.Thread(target=lambda: api.run(box, "touch begun; while [ ! -e go ]; do sleep 0.01; done"))
    thread.start()
    eventually(lambda: api.read(box, "begun").status_code == 200, "the command to begin")
    clock.advance(1000)
    assert api.status(box) == "running"
    api.write(box, "go", "")
    thread.join(60)
    clock.advance(61)
    assert api.status(box) == "paused"


def test_a_background_process_does_not(timed):
    api, clock = timed
    box = api.sandbox(timeout=60)
    api.output(box, "sleep 1000 &")
    clock.advance(61)
    assert api.status(box) == "paused"


def test_a_resumed_sandbox_begins_anew(timed):
    api, clock = timed
    box = api.sandbox(timeout=60)
    clock.advance(61)
    assert api.post(f"/sandboxes/{box}/resume").status_code == 204
    clock.advance(50)
    assert api.status(box) == "running"
    clock.advance(15)
    assert api.status(box) == "paused"


def test_each_sandbox_has_its_own_timeout(timed):
    api, clock = timed
    short, long = api.sandbox(timeout=60), api.sandbox(timeout=600)
    clock.advance(61)
    assert (api.status(short), api.status(long)) == ("paused", "running")


def test_a_sandbox_that_cannot_be_looked_after_does_not_keep_the_others_awake(timed):
    api, clock = timed
    broken, box = api.sandbox(timeout=60), api.sandbox(timeout=60)
    platform_of(api.emulator).store.sandboxes[broken].timeout = None
    clock.advance(61)
    assert api.status(box) == "paused"
    assert broken in "\n".join(api.emulator.log_tail(50))
    platform_of(api.emulator).store.sandboxes[broken].timeout = 60
    eventually(lambda: api.status(broken) == "paused", "the emulator to go on looking by itself")


def test_scheduler_works_without_a_request(timed):
    api, clock = timed
    box = api.sandbox(timeout=60)
    clock.offset += 61  # without a call that makes the emulator look
    eventually(lambda: api.status(box) == "paused", "the emulator to look")


def test_a_command_that_runs_when_the_budget_is_used_up_is_answered(api):
    """It will never end: a sandbox without budget cannot be resumed."""
    box = api.sandbox(budget=1.0)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(api.run, box, "touch begun; sleep 1000")
        eventually(lambda: api.read(box, "begun").status_code == 200, "the command to begin")
        api.emulator.spend(box, 2.0)
        result = running.result(60)
    assert (result["exit_code"], result["output"]) == (-1, "")
    assert "its budget of $1.00 was used up, and it was paused, before the command ended" in result["error"]
    assert api.status(box) == "paused"


def test_a_command_that_runs_when_its_user_pauses_goes_on_after_the_resume(api):
    box = api.sandbox(budget=1.0)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(api.run, box, "touch begun; until [ -e go ]; do sleep 0.01; done; echo end")
        eventually(lambda: api.read(box, "begun").status_code == 200, "the command to begin")
        assert api.post(f"/sandboxes/{box}/pause").status_code == 204
        assert api.post(f"/sandboxes/{box}/resume").status_code == 204
        api.write(box, "go", "")
        assert running.result(60)["output"] == "end\n"
