"""One emulator for many: one that runs already, and one that xdist's workers share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from caged.emulator import Emulator

SOURCE = """
    import pytest

    @pytest.mark.parametrize("time", range(3))
    def test_own_account(caged, caged_emulator, caged_sandbox, time, worker_id):
        print("at:", caged_emulator.base_url)
        assert [box.id for box in caged.sandboxes.list()] == [caged_sandbox.id]
        caged_emulator.faults.add("snapshots.create", status=503, optional=True)
        assert len(caged_emulator.faults.list()) == 1

    def test_account_of_the_worker(caged_emulator):
        with caged_emulator.client() as client:
            client.sandboxes.create()
            assert len(client.sandboxes.list()) == 1
        caged_emulator.clock.freeze()

    @pytest.mark.caged_needs("namespace")
    def test_strong(caged_sandbox): pass
"""


@pytest.fixture(scope="module")
def running_one() -> Iterator[Emulator]:
    with Emulator(isolation="process", allow_unused=True) as emulator:
        yield emulator


@pytest.fixture
def attached(running_one: Emulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """A running emulator with a sandbox and a fault in it, which has both, and nothing else, at the end."""
    monkeypatch.setenv("CAGED_EMULATOR_URL", running_one.base_url)
    monkeypatch.setenv("CAGED_EMULATOR_ADMIN_KEY", running_one.admin_key)
    with running_one.client() as owner:
        owned = owner.sandboxes.create()
        running_one.faults.add("alerts.list", status=503)
        yield running_one
        assert [box.id for box in owner.sandboxes.list()] == [owned.id]
        assert len(running_one.faults.list()) == 1
        assert running_one.clock.frozen is False
        status = running_one._admin.call("GET", "/status")
        assert (status["accounts"], status["sandboxes"]) == (1, 1)
        running_one.reset()


def urls(result: pytest.RunResult) -> set[str]:
    return {line.split()[1] for line in result.outlines if line.startswith("at: ")}


def test_a_running_emulator_is_used_by_all_workers_and_nothing_is_left_there(run_suite, attached) -> None:
    result = run_suite(SOURCE, "-n2")
    result.assert_outcomes(passed=4, skipped=1)
    assert urls(result) == {attached.base_url}
    result.stdout.fnmatch_lines([f"caged: target=emulator, running at {attached.base_url}"])
    result.stdout.fnmatch_lines(["*the emulator has process isolation*"])
    result.stdout.fnmatch_lines(["caged: sandboxes had process isolation*"])


def test_options_name_the_emulator_too(run_suite, attached, monkeypatch) -> None:
    monkeypatch.delenv("CAGED_EMULATOR_URL")
    monkeypatch.delenv("CAGED_EMULATOR_ADMIN_KEY")
    result = run_suite(
        SOURCE.replace(", worker_id", ""),
        f"--caged-emulator-url={attached.base_url}/",
        f"--caged-emulator-admin-key={attached.admin_key}",
    )
    result.assert_outcomes(passed=4, skipped=1)
    assert urls(result) == {attached.base_url}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"CAGED_EMULATOR_URL": "http://127.0.0.1:9"}, "*does not answer*start it with `caged-emulator serve`*"),
        ({"CAGED_EMULATOR_URL": "nowhere"}, "*UsageError: cannot use the emulator at nowhere*"),
        ({"CAGED_EMULATOR_ADMIN_KEY": "wrong"}, "*UsageError: cannot use*the admin key is not its own*"),
        ({"CAGED_EMULATOR_ADMIN_KEY": ""}, "*UsageError: to use the emulator at*its admin key is needed*"),
        ({"CAGED_ISOLATION": "namespace"}, "*UsageError: isolation=namespace was requested*has process*"),
    ],
)
def test_an_emulator_that_cannot_be_used_is_an_error_that_says_what_to_do(
    run_suite, attached, monkeypatch, changed: dict[str, str], said: str
) -> None:
    for name, value in changed.items():
        monkeypatch.setenv(name, value)
    result = run_suite("def test_nothing(): pass\ndef test_use(caged): pass")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines([said])


def test_workers_share_one_emulator_with_the_setting(run_suite, pytester, tmp_path, monkeypatch) -> None:
    """As with the option: test_plugin_controls.py."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    pytester.makeini("[pytest]\ncaged_shared = true")
    result = run_suite(
        """
        import time

        def test_where(caged, caged_emulator, worker_id):
            print("at:", caged_emulator.base_url, worker_id)
            assert caged.sandboxes.list() == []
            caged.sandboxes.create()

        def test_accounts(caged_emulator):
            with caged_emulator.client() as client:
                assert client.sandboxes.list() == []
                client.sandboxes.create()
        """,
        "-n2",
        "--dist=each",
    )
    result.assert_outcomes(passed=4)
    assert len(urls(result)) == 1
    assert {line.split()[2] for line in result.outlines if line.startswith("at: ")} == {"gw0", "gw1"}
    result.stdout.fnmatch_lines(["caged: target=emulator, isolation=process, shared by all workers"])
    assert list(tmp_path.glob("caged*")) == []


def test_sharing_means_nothing_without_workers(run_suite) -> None:
    run_suite("def test_it(caged): caged.sandboxes.list()", "--caged-shared").assert_outcomes(passed=1)
