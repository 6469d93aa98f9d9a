"""The bot on a failing platform, and its requests: only the emulator can inject faults and record requests."""

import pytest
from buildbot import build

from caged import CagedAPIError, CagedServerError

pytestmark = [pytest.mark.caged_emulator_only, pytest.mark.caged(template="python", budget=5)]


def test_build_retries_on_busy_platform(caged, caged_emulator):
    caged_emulator.faults.add("files.write", status=503, retry_after=0, times=2)
    assert build({"ok.py": ""}, "python3 ok.py").passed
    caged_emulator.journal.assert_requested(operation="files.write", times=3)


@pytest.mark.usefixtures("caged")
def test_build_on_unavailable_platform_raises(caged_emulator):
    with caged_emulator.faults.add("sandboxes.create", status=500), pytest.raises(CagedServerError):
        build({}, "true")


@pytest.mark.usefixtures("caged")
def test_build_raises_if_sandbox_dies(caged_emulator):
    caged_emulator.faults.add("sandboxes.exec", outcome="dies")
    with pytest.raises(CagedAPIError, match="is error, not running"):
        build({}, "sleep 60")


def test_idle_kept_sandbox_is_paused(caged, caged_emulator, caged_sandbox):
    caged_emulator.clock.advance(minutes=20)
    assert caged.sandboxes.get(caged_sandbox.id).status == "paused"


def test_agent_over_budget_is_stopped(caged, caged_emulator, caged_sandbox):
    assert caged_emulator.spend(caged_sandbox.id, usd=5) >= 5
    assert caged.sandboxes.get(caged_sandbox.id).status == "paused"


def test_build_uses_stubbed_installation(caged_emulator, caged):
    with caged_emulator.commands.program("npm", "added 3 packages\n"):
        assert build({}, "npm install && echo built").log == "added 3 packages\nbuilt\n"


@pytest.mark.caged(agents=["claude"])
def test_agent_gives_reply_of_test(caged, caged_emulator, caged_sandbox):
    caged_emulator.agent("claude").reply("done", files={"fix.py": "fixed = True\n"}, cost_usd=0.02)
    assert caged.sandboxes.exec(caged_sandbox.id, 'claude -p "Fix it"').output.strip() == "done"
    assert caged.files.read(caged_sandbox.id, "fix.py") == "fixed = True\n"
    assert [record.prompt for record in caged_emulator.agent("claude").prompts] == ["Fix it"]


@pytest.mark.usefixtures("caged")
def test_bot_runs_command_unchanged(caged_emulator):
    build({}, "echo 'a  b'")
    caged_emulator.journal.assert_ran("echo 'a  b'", times=1)
    assert caged_emulator.inventory.sandboxes() == []


def test_accounts_are_separate(caged, caged_emulator, caged_sandbox):
    with caged_emulator.emulator.account("another team") as other, other.client() as client:
        assert client.sandboxes.list() == []
    assert [box.id for box in caged.sandboxes.list()] == [caged_sandbox.id]
