"""Scopes of controls. The end of a name is the expected outcome of the test: passes, fails, errors."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from caged import Caged, CagedServerError


class TestAutouse:
    @pytest.fixture(autouse=True)
    def frozen(self, caged_emulator):
        caged_emulator.clock.freeze("2031-05-06T07:08:09Z")
        caged_emulator.commands.stub("deploy", output="stubbed")

    def test_autouse_fixture_before_caged__passes(self, caged):
        box = caged.sandboxes.create()
        assert box.created_at.startswith("2031-05-06T07:08:09")
        assert caged.sandboxes.exec(box.id, "deploy").output == "stubbed"

    def test_autouse_fixture_without_use__fails(self, caged):
        caged.sandboxes.create()


def test_fault_of_a_fixture_before_caged__passes(outage, caged):
    # CAGED_API_KEY and CAGED_BASE_URL are those of the test's account.
    with Caged(max_retries=0) as client, pytest.raises(CagedServerError):
        client.sandboxes.list()


def test_unused_fault_of_a_fixture_before_caged__fails(outage, caged):
    caged.account.get()


def test_unused_stub_without_caged__fails(caged_emulator):
    caged_emulator.commands.stub("never")


def test_unused_fault_for_all_accounts__fails(caged_emulator):
    caged_emulator.faults.add("sandboxes.list", status=503, account="*")


def test_threads_with_views_of_two_accounts__passes(caged_emulator):
    whole = caged_emulator.emulator

    def work(text):
        with whole.account(text) as account, account.client() as client:
            account.commands.stub("whoami", output=text)
            box = client.sandboxes.create()
            return [client.sandboxes.exec(box.id, "whoami").output for _ in range(5)]

    with ThreadPoolExecutor(2) as pool:
        one, two = pool.map(work, ("one", "two"))
    assert (one, two) == (["one"] * 5, ["two"] * 5)


def test_sandbox_of_the_module__passes(team, team_box):
    assert team.client().sandboxes.exec(team_box.id, "echo shared").output == "shared\n"


def test_sandbox_of_another_account__fails(caged, team_box):
    caged.sandboxes.exec(team_box.id, "true")


def test_function_fixture_in_a_module_fixture__errors(too_wide):
    pass


def test_list_contains_applicable_controls__passes(caged_emulator):
    everyone = caged_emulator.faults.add("account.get", status=500, account="*", optional=True)
    mine = caged_emulator.faults.add("account.get", status=501, optional=True)
    with caged_emulator.emulator.account("other", allow_unused=True) as other:
        other.faults.add("account.get", status=502)
        listed = [fault.id for fault in caged_emulator.faults.list() if fault.id in (everyone.id, mine.id)]
        assert listed == [mine.id, everyone.id]
        assert [fault.account for fault in caged_emulator.faults.list() if fault.account == other.id] == []


def test_near_misses_are_of_own_account__passes(caged_emulator, caged, team, team_box):
    team.client().sandboxes.exec(team_box.id, "echo secret-of-the-team")
    box = caged.sandboxes.create()
    caged.sandboxes.exec(box.id, "echo mine")
    with pytest.raises(AssertionError) as caught, caged_emulator.commands.stub("echo"):
        pass
    assert "echo mine" in str(caught.value)
    assert "secret-of-the-team" not in str(caught.value)


def test_export_scopes__passes(caged_emulator, tmp_path):
    caged_emulator.export(tmp_path / "mine.tar.gz")
    caged_emulator.emulator.export(tmp_path / "all.tar.gz", account="*")
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
