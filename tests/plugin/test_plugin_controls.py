"""A control of a test applies to that test alone, and an unused one fails it."""

from __future__ import annotations

import pytest

from caged.emulator import Emulator

CONTROLS = """
    import pytest
    from caged import CagedServerError

    def test_a_fault_of_its_own(caged, caged_emulator):
        caged_emulator.faults.add("sandboxes.list", status=500)
        with pytest.raises(CagedServerError):
            caged.sandboxes.list()
        with caged_emulator.emulator.account() as other, other.client() as client:
            assert client.sandboxes.list() == []
        assert [one.operation for one in caged_emulator.journal] == ["sandboxes.list"]

    def test_is_gone_for_the_next(caged, caged_emulator):
        assert caged_emulator.faults.list() == []
        caged.sandboxes.list()

    def test_for_all_accounts(caged, caged_emulator):
        caged_emulator.faults.add("sandboxes.list", status=500, account="*")
        caged_emulator.clock.freeze("2031-01-01T00:00:00Z", account="*")
        with pytest.raises(CagedServerError):
            caged.sandboxes.list()

    def test_controls_of_all_accounts_are_cleared_too(caged, caged_emulator):
        assert caged_emulator.faults.list(account="*") == []
        assert caged_emulator.clock.now("*").year < 2031
        caged.sandboxes.list()
"""

UNUSED = """
    import pytest

    def test_by_name(caged, caged_emulator):
        caged_emulator.faults.add("snapshots.*", status=503)

    def test_without_a_client(caged_emulator):
        caged_emulator.faults.add("alerts.list", status=503)

    def test_on_the_first_account(caged_emulator):
        caged_emulator.emulator.faults.add("sessions.list", status=503)

    def test_for_all_accounts(caged, caged_emulator):
        caged_emulator.faults.add("billing.get_usage", status=503, account="*")

    def test_stub(caged, caged_emulator, caged_sandbox):
        caged_emulator.commands.stub("npm install", "done")
        caged_emulator.commands.stub("npm audit", "done", optional=True)
        caged.sandboxes.exec(caged_sandbox.id, "echo npm")

    def test_reply(caged, caged_emulator):
        caged_emulator.agent("claude").reply("done")

    def test_stub_and_reply_for_all_accounts(caged, caged_emulator):
        caged_emulator.commands.program("cargo", "done", account="*")
        caged_emulator.agent("cn").reply("done", account="*")

    def test_used_ones(caged, caged_emulator, caged_sandbox):
        assert caged_emulator.commands.list(account="*") == caged_emulator.agents.list(account="*") == []
        caged_emulator.commands.stub("npm install", "done")
        assert caged.sandboxes.exec(caged_sandbox.id, "npm install").output == "done"

    def test_optional(caged, caged_emulator):
        caged_emulator.faults.add("snapshots.*", status=503, optional=True)

    def test_removed(caged, caged_emulator):
        caged_emulator.faults.add("snapshots.*", status=503).remove()

    def test_that_fails_anyhow(caged, caged_emulator):
        caged_emulator.faults.add("sessions.list", status=503)
        assert 0, "by itself"

    @pytest.mark.xfail(reason="known", strict=True)
    def test_expected_to_fail(caged, caged_emulator):
        caged_emulator.faults.add("snapshots.*", status=503)
        assert 0
"""


def test_controls_are_about_the_tests_own_account(run_suite) -> None:
    run_suite(CONTROLS).assert_outcomes(passed=4)


def test_controls_of_a_shared_emulator_stay_in_their_account(run_suite) -> None:
    result = run_suite(CONTROLS, "-n1", "--caged-shared")
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["caged: target=emulator, isolation=process, shared by all workers"])


def test_fault_that_never_triggered_fails_its_test_by_name(run_suite) -> None:
    result = run_suite(UNUSED)
    result.assert_outcomes(failed=8, passed=3, xfailed=1)
    text = result.stdout.str()
    for name, operation in (
        ("test_by_name", "snapshots.*"),
        ("test_without_a_client", "alerts.list"),
        ("test_for_all_accounts", "billing.get_usage"),
    ):
        assert f"::{name}: a fault never triggered:" in text
        assert f"operation='{operation}', status=503" in text
    assert "::test_on_the_first_account: added by caged_emulator.emulator, not in the test's account: a fault" in text
    assert "::test_stub: a stub was never used:" in text
    assert "npm install" in text
    assert "npm audit" not in text.partition("::test_stub: ")[2].partition("- caged timeline -")[0]
    assert "  echo npm" in text  # which ran instead
    assert "::test_reply: a reply was never used:" in text
    assert "::test_stub_and_reply_for_all_accounts: a stub was never used:" in text
    assert "cargo" in text.partition("::test_stub_and_reply_for_all_accounts: ")[2]
    assert "::test_that_fails_anyhow: a fault never triggered" not in text
    assert "by itself" in text


def test_unused_faults_can_be_a_warning_or_nothing(run_suite, pytester, monkeypatch) -> None:
    result = run_suite(UNUSED, "--caged-unused=warn", "-n2", "--caged-report=none")
    result.assert_outcomes(failed=1, passed=10, xfailed=1)
    result.stdout.fnmatch_lines(["-* caged: never used -*"])
    said = [line for line in result.outlines if line.endswith("::test_by_name:")]
    assert len(said) == 1
    result.stdout.no_fnmatch_line("*::test_optional:")

    pytester.makeini("[pytest]\ncaged_unused = ignore")
    result = run_suite(None)
    result.assert_outcomes(failed=1, passed=10, xfailed=1)
    result.stdout.no_fnmatch_line("*not used*")

    monkeypatch.setenv("CAGED_UNUSED", "never")
    result = run_suite(None)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*caged_unused 'never', from CAGED_UNUSED*none of error, warn and ignore*"])


WHERE_NO_TEST_WORKS = """
    import pytest
    from caged.emulator import RemoteEmulator

    @pytest.fixture
    def late(caged_emulator):
        caged_emulator.agents
        yield
        caged_emulator.faults.add("sandboxes.create", status=503)

    def test_late(late):
        pass

    @pytest.fixture
    def late_and_optional(caged_emulator):
        yield
        caged_emulator.faults.add("sandboxes.create", status=503, optional=True)

    def test_late_and_optional__passes(late_and_optional):
        pass

    def test_created__fails(caged_emulator):
        account = caged_emulator.emulator.create_account("other")
        caged_emulator.emulator.for_account(account).commands.stub("deploy")

    def test_created_and_named__fails(caged_emulator):
        account = caged_emulator.emulator.create_account("other")
        caged_emulator.faults.add("sandboxes.create", status=503, account=account)

    def test_created_and_used__passes(caged_emulator):
        account = caged_emulator.emulator.for_account(caged_emulator.emulator.create_account("other"))
        account.commands.stub("deploy")
        with account.client() as client:
            client.sandboxes.exec(client.sandboxes.create().id, "deploy")

    def test_created_and_deleted__passes(caged_emulator):
        account = caged_emulator.emulator.create_account("other")
        caged_emulator.emulator.for_account(account).commands.stub("deploy")
        caged_emulator.emulator.remove_account(account)

    def test_block_that_allows_it__passes(caged_emulator):
        with caged_emulator.emulator.account(allow_unused=True) as account:
            account.commands.stub("deploy")

    @pytest.fixture
    def other(caged_emulator):
        with caged_emulator.emulator.account(allow_unused=True) as account:
            account.commands.stub("deploy")
            yield account

    def test_fixture_that_allows_it__passes(other):
        pass

    def test_clock_of_the_first_account__fails(caged_emulator, caged):
        caged_emulator.emulator.clock.freeze()
        caged.sandboxes.create()

    def test_journal_of_the_first_account__fails(caged_emulator, caged):
        caged.sandboxes.create()
        assert not caged_emulator.emulator.journal.requests(operation="sandboxes.create")

    def test_clock_of_all_accounts__passes(caged_emulator, caged):
        caged_emulator.emulator.clock.freeze(account="*")
        assert caged_emulator.emulator.journal.requests(account="*") is not None

    def test_first_account_with_a_client__fails(caged_emulator):
        emulator = caged_emulator.emulator
        emulator.clock.freeze("2031-01-01T00:00:00Z")
        emulator.faults.add("sessions.list", status=503, optional=True)
        with emulator.client() as client:
            client.sandboxes.list()
        emulator.journal.assert_requested(operation="sandboxes.list")

    def test_first_account_is_cleared__passes(caged_emulator):
        emulator = caged_emulator.emulator
        first = emulator.for_account(emulator._admin.account or emulator.accounts()[0])
        with emulator._admin.notes.paused():
            assert first.faults.list() == []
            assert first.journal.requests() == []
            assert first.clock.now().year < 2031

    USES = {
        "inventory": lambda emulator: emulator.inventory.sandboxes(),
        "faults": lambda emulator: emulator.faults.list(),
        "commands": lambda emulator: emulator.commands.unused(),
        "agent()": lambda emulator: emulator.agent("claude").list(),
        "journal": lambda emulator: emulator.agent("claude").prompts,
        "callback_errors()": lambda emulator: emulator.callback_errors(),
        "client()": lambda emulator: emulator.client().close(),
        "reset()": lambda emulator: emulator.reset(),
        "reset_controls()": lambda emulator: emulator.reset_controls(),
        "allow_device_login()": lambda emulator: emulator.allow_device_login(),
    }

    @pytest.mark.parametrize("name", USES)
    def test_use_of_the_first_account__fails(caged_emulator, name):
        USES[name](caged_emulator.emulator)

    def test_remote_emulator_without_account__fails(caged_emulator):
        emulator = caged_emulator.emulator
        with RemoteEmulator(emulator.base_url.replace("127.0.0.1", "localhost"), emulator.admin_key) as remote:
            remote.faults.add("sessions.list", status=503, optional=True)

    def test_remote_emulator_of_the_tests_account__passes(caged_emulator, caged):
        emulator = caged_emulator.emulator
        with RemoteEmulator(emulator.base_url, emulator.admin_key, account=caged_emulator.id) as remote:
            remote.faults.add("sandboxes.list", status=503, times=1)
            caged.sandboxes.list()
        with RemoteEmulator(emulator.base_url, emulator.admin_key) as remote:
            assert remote.accounts() and "*" not in [one.account for one in remote.faults.list(account="*")]

    def test_use_of_the_emulator__passes(caged_emulator):
        emulator = caged_emulator.emulator
        assert emulator.isolation and emulator.accounts() and emulator.log_tail() is not None
        assert emulator.inventory.sandboxes(account=caged_emulator.id) == []
        assert "*" not in [one.account for one in emulator.faults.list(account="*")]
        with emulator.client(caged_emulator.api_key) as client:
            assert client.sandboxes.list() == []
"""


@pytest.mark.parametrize("attached", [False, True], ids=["own", "attached"])
def test_control_where_no_test_works_is_reported(run_suite, attached):
    options = ["--caged-report=none", "--caged-trace=off"]  # each failure would send some thirty requests
    if attached:
        emulator = Emulator(isolation="process").start()
        options += ["--caged-emulator-url", emulator.base_url, "--caged-emulator-admin-key", emulator.admin_key]
    try:
        result = run_suite(WHERE_NO_TEST_WORKS, *options)
    finally:
        if attached:
            emulator.stop()
    result.assert_outcomes(passed=10, failed=16, errors=1)
    for name in ("created", "created_and_named", "clock_of_the_first_account", "journal_of_the_first_account"):
        result.stdout.fnmatch_lines([f"FAILED *::test_{name}__fails*"])
    result.stdout.fnmatch_lines(["ERROR *::test_late*"])
    result.stdout.fnmatch_lines(["*in account acct_*, which the test created: a stub was never used:*"])
    for name in ("client()", "inventory", "faults", "callback_errors()", "reset()", "allow_device_login()"):
        said = f"caged_emulator.emulator.{name} is that of the emulator's first account, which no test uses"
        assert f"::test_use_of_the_first_account__fails[{name}]: {said}" in result.stdout.str()
    said = "::test_remote_emulator_without_account__fails: RemoteEmulator(...).faults is that of the emulator's first"
    assert said in result.stdout.str()
