"""A control for all accounts (`account="*"`) belongs to the test that adds it, by whatever way, and ends with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from caged.emulator import Emulator

TOOLS = str(Path(__file__).parents[1] / "tools")

WAYS = """
    import json
    import os
    import sys
    import urllib.request

    sys.path.append("@TOOLS@")
    import fork_server
    import pytest
    from caged import CagedServerError
    from caged.emulator import RemoteEmulator

    UNUSED = {"operation": "sandboxes.list", "status": 500}

    def add(controls, **more):
        return controls.faults.add(account="*", **{**UNUSED, **more})

    def remotely(account, use):
        with RemoteEmulator(account.base_url, account.emulator.admin_key) as remote:
            use(remote)

    def freeze(controls):
        controls.clock.freeze("2031-01-01T00:00:00Z", account="*")

    def own_view(account):
        return account.emulator.for_account(account.id)

    def scenario(tmp_path, text):
        path = tmp_path / "scenario.toml"
        path.write_text(text)
        return path

    def with_command_line(account, tmp_path):
        command = "faults", "add", "sandboxes.list", "--status", "500", "--account", "*"
        where = "--url", account.base_url, "--admin-key", account.emulator.admin_key
        fork_server.run([sys.executable, "-m", "caged.emulator", *command, *where], check=True, timeout=60)

    def post(account, body, **headers):
        url = f"{account.base_url}/_emulator/faults?account=*"
        headers |= {"Authorization": f"Bearer {account.emulator.admin_key}", "Content-Type": "application/json"}
        request = urllib.request.Request(url, json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    ADD = {
        "own": lambda account, tmp_path: add(account),
        "view": lambda account, tmp_path: add(own_view(account)),
        "view_of_another": lambda account, tmp_path: add(
            account.emulator.for_account(account.emulator.create_account())
        ),
        "whole": lambda account, tmp_path: add(account.emulator),
        "remote": lambda account, tmp_path: remotely(account, add),
        "view_of_remote": lambda account, tmp_path: remotely(
            account, lambda remote: add(remote.for_account(account.id))
        ),
        "stub": lambda account, tmp_path: own_view(account).commands.stub("deploy", account="*"),
        "program": lambda account, tmp_path: own_view(account).commands.program("deploy", account="*"),
        "reply": lambda account, tmp_path: own_view(account).agent("claude").reply("done", account="*"),
        "repository": lambda account, tmp_path: own_view(account).repos.add(
            "https://github.com/acme/calc", {"a": "1"}, account="*"
        ),
        "prepared": lambda account, tmp_path: own_view(account).prepare("ready", account="*"),
        "scenario": lambda account, tmp_path: own_view(account).load_scenario(
            scenario(tmp_path, '[[faults]]\\noperation="sandboxes.list"\\nstatus=500\\n'), account="*"
        ),
        "entry_of_a_scenario": lambda account, tmp_path: account.load_scenario(
            scenario(tmp_path, '[[faults]]\\noperation="sandboxes.list"\\nstatus=500\\naccount="*"\\n')
        ),
        "command_line": with_command_line,
        "http": lambda account, tmp_path: post(account, UNUSED),
    }
    FREEZE = {
        "own": lambda account: freeze(account),
        "view": lambda account: freeze(own_view(account)),
        "whole": lambda account: freeze(account.emulator),
        "remote": lambda account: remotely(account, freeze),
    }

    def nothing_is_left(account):
        for controls in (account.faults, account.commands, account.agents, account.repos, account.prepared):
            assert controls.list(account="*") == []

    @pytest.mark.parametrize("way", ADD)
    def test_unused__fails(caged_emulator, tmp_path, way):
        nothing_is_left(caged_emulator)
        ADD[way](caged_emulator, tmp_path)

    @pytest.mark.parametrize("way", FREEZE)
    def test_time__passes(caged_emulator, caged, way):
        assert caged_emulator.clock.now().year < 2031
        nothing_is_left(caged_emulator)
        FREEZE[way](caged_emulator)
        assert caged_emulator.clock.now().year == 2031

    def test_time_is_real_again__passes(caged_emulator):
        assert caged_emulator.clock.now().year < 2031
        nothing_is_left(caged_emulator)

    def test_used__passes(caged_emulator, caged):
        own_view(caged_emulator).faults.add("sandboxes.list", status=503, account="*")
        with pytest.raises(CagedServerError):
            caged.sandboxes.list()

    def test_http_with_owner__passes(caged_emulator):
        owner = {"Caged-Owner": os.environ.get("CAGED_EMULATOR_OWNER", "")}
        post(caged_emulator, {**UNUSED, "optional": True}, **owner)

    def test_http_without_owner__@HTTP@(caged_emulator):
        post(caged_emulator, {**UNUSED, "optional": True})

    @pytest.fixture
    def late(caged_emulator):
        yield
        add(own_view(caged_emulator))

    def test_added_in_teardown__errors(late):
        pass

    @pytest.fixture(scope="module")
    def team(caged_factory):
        with caged_factory.account("team") as account:
            yield account

    def test_added_for_a_team__fails(team):
        nothing_is_left(team)
        add(team)

    def test_team_only__passes(team):
        nothing_is_left(team)
        add(team, optional=True)

    def test_nothing_is_left__passes(team):
        nothing_is_left(team)

    @pytest.fixture(scope="class")
    def wide(caged_factory):
        with caged_factory.account("wide") as account:
            yield add(account.emulator, status=418, optional=True)

    class TestOfWideFixture:
        def test_first__passes(self, caged_emulator, request):
            request.getfixturevalue("wide")
            assert [one.options["status"] for one in caged_emulator.faults.list()] == [418]

        def test_second__passes(self, caged_emulator, wide):
            assert [one.id for one in caged_emulator.faults.list()] == [wide.id]
            add(caged_emulator, optional=True)

        def test_third__passes(self, caged_emulator, wide):
            assert [one.id for one in caged_emulator.faults.list()] == [wide.id]

    def test_wide_one_is_removed__passes(caged_emulator):
        nothing_is_left(caged_emulator)

    def test_last__passes(caged_emulator):
        add(own_view(caged_emulator), optional=True)
        caged_emulator.clock.freeze("2031-01-01T00:00:00Z", account="*")
"""

UNUSED_OF_FIXTURE = """
    import pytest

    @pytest.fixture(scope="module")
    def wide(caged_factory):
        with caged_factory.account("wide") as account:
            account.emulator.faults.add("sandboxes.list", status=500, account="*")
            yield

    def test_wide(wide, caged): pass
"""

ENDS = """
    def test_red(caged_emulator):
        caged_emulator.faults.add("sandboxes.list", status=500, account="*")
        caged_emulator.clock.freeze("2031-01-01T00:00:00Z", account="*")
        {end}

    def test_next(caged_emulator):
        pass
"""


@pytest.fixture(scope="module")
def running_one() -> Iterator[Emulator]:
    with Emulator(isolation="process", allow_unused=True) as emulator:
        yield emulator


@pytest.fixture
def attached(running_one: Emulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """A running emulator, which has no control for all accounts at the end."""
    monkeypatch.setenv("CAGED_EMULATOR_URL", running_one.base_url)
    monkeypatch.setenv("CAGED_EMULATOR_ADMIN_KEY", running_one.admin_key)
    yield running_one
    kinds = running_one.faults, running_one.commands, running_one.agents, running_one.repos, running_one.prepared
    for controls in kinds:
        assert controls.list(account="*") == []
    assert running_one.clock.now("*").year < 2031


def outcomes(result: pytest.RunResult) -> dict[str, str]:
    """The outcome of each test, by its name."""
    words = {"PASSED": "passes", "FAILED": "fails", "ERROR": "errors"}
    found: dict[str, str] = {}
    for line in result.outlines:
        word, _, rest = line.partition(" ")
        if word in words and "::" in rest:
            found[rest.split(" - ")[0].rpartition("::")[2]] = words[word]
    return found


def check_names(result: pytest.RunResult) -> None:
    found = outcomes(result)
    assert len(found) == 32
    assert {name: one for name, one in found.items() if one != name.partition("[")[0].rpartition("__")[2]} == {}


def test_on_own_emulator_each_control_for_all_accounts_belongs_to_its_test(run_suite) -> None:
    result = run_suite(WAYS.replace("@HTTP@", "passes").replace("@TOOLS@", TOOLS))
    check_names(result)
    assert "::test_unused__fails[view]: a fault never triggered:" in result.stdout.str()
    assert "::test_unused__fails[command_line]: a fault never triggered:" in result.stdout.str()


def test_on_attached_emulator_each_control_for_all_accounts_belongs_to_its_test(run_suite, attached) -> None:
    source = WAYS.replace("@HTTP@", "fails").replace("@TOOLS@", TOOLS)
    # Without reports, for each of which a failure would send some thirty requests.
    result = run_suite(source, "--caged-report=none", "--caged-trace=off")
    check_names(result)
    assert "by a request without the header Caged-Owner" in result.stdout.str()


def test_workers_of_a_shared_emulator_leave_each_others_controls_alone(run_suite, pytester) -> None:
    """Two tests that run at the same time: the first ends while the second still needs its control."""
    pytester.makepyfile(
        test_first="""
            from pathlib import Path
            from time import monotonic, sleep

            def test_ends_first(caged_emulator):
                deadline = monotonic() + 60
                while not Path("added").exists():
                    assert monotonic() < deadline, "waited 60 s for the other worker"
                    sleep(0.02)
        """,
        test_second="""
            from pathlib import Path
            from time import monotonic, sleep

            import pytest
            from caged import CagedServerError

            def test_uses_its_control(caged_emulator, caged):
                fault = caged_emulator.faults.add("sandboxes.list", status=500, account="*")
                Path("added").touch()
                deadline = monotonic() + 60
                while len(caged_emulator.emulator.accounts()) > 4:
                    assert monotonic() < deadline, "waited 60 s for the end of the other test"
                    sleep(0.02)
                with pytest.raises(CagedServerError):
                    caged.sandboxes.list()
        """,
    )
    result = run_suite(None, "-n2", "--caged-shared", "--dist=loadfile")
    result.assert_outcomes(passed=2)


def test_unused_control_of_a_fixture_of_wider_scope_is_an_error_of_the_fixture(run_suite) -> None:
    result = run_suite(UNUSED_OF_FIXTURE)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*fixture wide: a control for all accounts was never used: fault *"])


@pytest.mark.parametrize(
    ("end", "options"),
    [("assert 0", ["-x"]), ("raise KeyboardInterrupt", []), ("import pytest; pytest.exit('now')", [])],
    ids=["failure", "interrupt", "exit"],
)
def test_controls_of_the_last_test_are_removed_however_the_run_ends(run_suite, attached, end, options) -> None:
    result = run_suite(ENDS.format(end=end), *options)
    assert result.ret in (pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED)
    assert "test_next" not in outcomes(result)
