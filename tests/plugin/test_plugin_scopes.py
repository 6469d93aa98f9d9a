"""One account per test, whatever the order of its fixtures; `caged_factory` for wider scopes."""

from __future__ import annotations

from typing import Any

import pytest

ORDERS = """
    import asyncio, os
    import pytest
    from caged import Caged, CagedServerError

    @pytest.fixture(autouse=True)
    def prepared(caged_emulator):  # before any client
        caged_emulator.faults.add("account.list_keys", status=500, retry_after=0, optional=True)
        caged_emulator.clock.freeze("2031-01-01T00:00:00Z")
        caged_emulator.commands.stub("whoami", "a stub", optional=True)
        return caged_emulator

    def broken(client):
        with pytest.raises(CagedServerError):
            client.account.list_keys()
        return True

    def test_autouse_before_caged(caged, prepared):
        assert broken(caged)
        assert caged.account.get().id == prepared.id

    def test_autouse_before_caged_sandbox(caged_sandbox, caged):
        assert caged_sandbox.created_at.year == 2031 if hasattr(caged_sandbox.created_at, "year") \\
            else caged_sandbox.created_at.startswith("2031")
        assert caged.sandboxes.exec(caged_sandbox.id, "whoami").output == "a stub"

    def test_autouse_before_async_caged(async_caged):
        async def work():
            with pytest.raises(CagedServerError):
                await async_caged.account.list_keys()
        asyncio.run(work())

    def test_without_a_client(caged_emulator):
        with caged_emulator.client() as client:
            assert broken(client)

    def test_bare_client(prepared):
        with Caged() as client:
            assert broken(client)
            assert client.account.get().id == prepared.id

    def test_by_getfixturevalue(request, prepared):
        caged = request.getfixturevalue("caged")
        assert broken(caged)
        assert request.getfixturevalue("caged_emulator") is prepared

    class TestInAClass:
        @pytest.fixture(autouse=True)
        def also(self, caged_emulator):
            self.controls = caged_emulator

        def test_method(self, caged):
            assert broken(caged)
            assert self.controls.id == caged.account.get().id

        @pytest.mark.usefixtures("caged")
        def test_usefixtures(self):
            with Caged() as client:
                assert broken(client)
"""


def test_controls_of_any_fixture_are_effective_in_its_test(run_suite) -> None:
    run_suite(ORDERS).assert_outcomes(passed=8)


def test_controls_of_any_fixture_are_effective_with_shared_workers(run_suite) -> None:
    run_suite(ORDERS, "-n1", "--caged-shared").assert_outcomes(passed=8)


def test_unused_controls_of_fixtures_are_reported(run_suite) -> None:
    result = run_suite(
        """
        import pytest

        @pytest.fixture
        def prepared(caged_emulator):
            caged_emulator.faults.add("snapshots.*", status=503)

        def test_before_caged(prepared, caged): caged.sandboxes.list()

        def test_without_caged(prepared): pass

        def test_inside(request):
            request.getfixturevalue("prepared")

        def test_passes(caged): caged.sandboxes.list()
        """
    )
    result.assert_outcomes(failed=3, passed=1)
    text = result.stdout.str()
    for name in ("test_before_caged", "test_without_caged", "test_inside"):
        assert f"::{name}: a fault never" in text


@pytest.mark.parametrize(("ending", "outcomes"), [("pass", {"passed": 1, "errors": 1}), ("assert 0", {"failed": 1})])
def test_unused_controls_are_reported_when_the_first_fixture_of_the_run_is_set_up_inside_a_test(
    run_suite, ending: str, outcomes: dict[str, int]
) -> None:
    # The hooks are registered by the first fixture: too late for the test that is running.
    result = run_suite(
        f"""
        def test_inside(request):
            request.getfixturevalue("caged_emulator").faults.add("snapshots.*", status=503)
            {ending}
        """
    )
    result.assert_outcomes(**outcomes)
    assert ("a fault never" in result.stdout.str()) is (ending == "pass")


def test_fixture_of_one_test_in_a_wider_fixture_is_an_error_that_names_the_factory(run_suite) -> None:
    source = "import pytest\n"
    cases = [
        (name, scope)
        for name in ("caged", "async_caged", "caged_sandbox", "caged_emulator")
        for scope in ("class", "module", "session")
    ]
    for name, scope in cases:
        source += f"""
@pytest.fixture(scope={scope!r})
def {scope}_{name}({name}): return 1

def test_{scope}_{name}({scope}_{name}): pass
"""
    result = run_suite(source)
    result.assert_outcomes(errors=len(cases))
    for name, scope in cases:
        header, lines = (
            f"*_ ERROR at setup of test_{scope}_{name} _*",
            ("*ScopeMismatch*", "*with caged_factory.account() as*"),
        )
        result.stdout.fnmatch_lines([header, lines[0], f"{name} has function scope. *", lines[1]])


FACTORY = """
    import asyncio
    import pytest
    from caged import CagedNotFoundError

    @pytest.fixture(scope="session")
    def team(caged_factory):
        with caged_factory.account() as account:
            yield account

    @pytest.fixture(scope="module")
    def shared_box(team):
        return team.client().sandboxes.create()

    @pytest.fixture(scope="class")
    def of_class(caged_factory):
        with caged_factory.account("of the class") as account:
            yield account.async_client()

    def test_first(team, shared_box):
        assert team.client().sandboxes.exec(shared_box.id, "echo hello > kept").ok

    def test_second(team, shared_box, caged):
        with team.client() as client:
            assert client.files.read(shared_box.id, "kept") == "hello\\n"
            print("box:", shared_box.id)

    class TestClass:
        def test_async(self, of_class):
            box = asyncio.run(of_class.sandboxes.create())
            asyncio.run(of_class.sandboxes.get(box.id))  # another event loop

        def test_async_again(self, of_class):
            assert len(asyncio.run(of_class.sandboxes.list())) >= 1
"""


@pytest.mark.parametrize("options", [[], ["-n1", "--caged-shared"]])
def test_wider_scopes_have_clients_of_an_account_of_their_own(run_suite, options: list[str]) -> None:
    source = (
        FACTORY
        + """
    def test_of_its_own(team, shared_box, caged, caged_emulator):
        assert team.id != caged_emulator.id
        assert caged.sandboxes.list() == []
        with pytest.raises(CagedNotFoundError):
            caged.sandboxes.get(shared_box.id)
    """
    )
    run_suite(source, *options).assert_outcomes(passed=5)


def test_what_a_wider_scope_creates_is_destroyed_with_it_on_an_attached_emulator(
    run_suite, caged_factory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with caged_factory.account() as mine:
        whole = mine.emulator
        before = len(whole.accounts())
        monkeypatch.setenv("CAGED_EMULATOR_URL", whole.base_url)
        monkeypatch.setenv("CAGED_EMULATOR_ADMIN_KEY", whole.admin_key)
        source = FACTORY + "\n    def test_left(caged_emulator): caged_emulator.emulator.create_account('left')\n"
        run_suite(source).assert_outcomes(passed=5)
        assert len(whole.accounts()) == before


CONTROLLED = """
    import pytest
    from caged import CagedServerError

    @pytest.fixture(scope="module")
    def flaky(caged_factory):
        with caged_factory.account({options}) as account:
            account.faults.add("sandboxes.create", status=500, times=1)
            account.faults.add("snapshots.*", status=503)
            yield account.client(max_retries=0)

    def test_controls(flaky):
        with pytest.raises(CagedServerError):
            flaky.sandboxes.create()

    def test_of_its_own(flaky, caged):
        caged.sandboxes.create()

    def test_after(caged): {after}
"""


def test_unused_controls_of_a_wider_scope_are_an_error_that_names_the_fixture(run_suite) -> None:
    source = CONTROLLED.format(options="", after="pass")
    result = run_suite(source)
    result.assert_outcomes(passed=3, errors=1)
    result.stdout.fnmatch_lines(["*caged_factory.account('flaky') of flaky in test_*.py: a fault never*"])
    assert "operation='snapshots.*'" in result.stdout.str()
    result = run_suite(None, "--caged-unused=warn")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["*caged_factory.account('flaky') of flaky in test_*.py:"])
    run_suite(None, "--caged-unused=ignore").assert_outcomes(passed=3)


def test_unused_controls_of_a_wider_scope_may_be_allowed(run_suite) -> None:
    run_suite(CONTROLLED.format(options="allow_unused=True", after="pass")).assert_outcomes(passed=3)


def test_unused_controls_of_a_wider_scope_are_not_reported_after_a_failed_test(run_suite) -> None:
    run_suite(CONTROLLED.format(options="", after="assert 0")).assert_outcomes(passed=2, failed=1)


def test_a_misspelt_attribute_of_the_tests_account_is_an_error(run_suite) -> None:
    result = run_suite(
        """
        def test_whole(caged_emulator): caged_emulator.create_account("x")
        def test_misspelt(caged_emulator): caged_emulator.fautls.add("x")
        def test_frozen(caged_emulator): caged_emulator.clock = None
        """
    )
    result.assert_outcomes(failed=3)
    result.stdout.fnmatch_lines(["*no attribute 'create_account'; *use .emulator.create_account"])


# --- reports


def test_a_sandbox_of_another_account_is_explained_in_the_report(run_suite) -> None:
    result = run_suite(
        """
        import pytest

        @pytest.fixture(scope="module")
        def box(caged_factory):
            with caged_factory.account("of the module") as account:
                yield account.client().sandboxes.create()

        def test_wrong_client(box, caged):
            caged.sandboxes.exec(box.id, "true")

        def test_wrong_client_of_a_socket(box, caged):
            caged.sandboxes.stream(box.id, "true").text()
        """
    )
    result.assert_outcomes(failed=2)
    explained = "  *! sandbox cage_* exists, but belongs to another account (acct_*, 'of the module'); use a client *"
    result.stdout.fnmatch_lines([explained, "*/terminal -> 404*", explained])


def test_a_report_shows_the_steps_of_all_accounts_of_its_test_but_only_its_own_log(run_suite) -> None:
    result = run_suite(
        """
        import logging
        from caged.emulator.control.current_account import acting_for

        def test_fails(caged, caged_emulator):
            logger = logging.getLogger("caged.emulator.platform")
            with caged_emulator.emulator.account() as other, other.client() as client:
                box = client.sandboxes.create()
                client.sandboxes.exec(box.id, "echo of_the_" + "other")
                with acting_for(other.id), caged_emulator.emulator._running().log.selected():
                    logger.warning("trouble of the " + "other")
            with caged_emulator.emulator._running().log.selected():
                with acting_for(caged_emulator.id):
                    logger.warning("trouble of " + "mine")
                logger.warning("trouble of the " + "emulator")
            assert 0
        """
    )
    result.assert_outcomes(failed=1)
    text = result.stdout.str()
    assert "$ echo of_the_other -> exit 0" in text, "what the test did in an account that it made, and that is deleted"
    assert "trouble of the other" not in text
    assert "trouble of mine" in text
    assert "trouble of the emulator" in text


# --- live runs


def test_wider_scopes_work_in_live_runs_and_leave_nothing(run_suite, api: Any, live: Any) -> None:
    kept = api.sandboxes.create()
    source = (
        FACTORY
        + """
    lazy = []

    def test_lazily(team, caged):
        # Created while a test runs, by a client of the wider scope: it lives as long as that.
        lazy.append(team.client().sandboxes.create().id)
        caged.sandboxes.create()

    def test_still_there(caged):
        assert caged.sandboxes.get(lazy[0]).id == lazy[0]

    def test_controls_skip(team):
        team.faults.add("sandboxes.list", status=503)
    """
    )
    result = run_suite(source, *live)
    result.assert_outcomes(passed=6, skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED*the caged target is live, there is no emulator*"])
    assert [box.id for box in api.sandboxes.list()] == [kept.id]


def test_killed_run_keeps_sandbox_of_module_fixture_in_its_ledger(run_suite, api: Any, live: Any) -> None:
    result = run_suite(
        """
        import os, pytest, signal

        @pytest.fixture(scope="module")
        def box(caged_factory):
            with caged_factory.account() as account:
                yield account.client().sandboxes.create()

        def test_it(box):
            os.kill(os.getpid(), signal.SIGKILL)
        """,
        *live,
    )
    assert result.ret == -9
    from caged._runs import runs

    (left,) = runs()
    (box,) = api.sandboxes.list()
    assert (left.held, left.unanswered) == ([("sandbox", box.id)], 0)
