"""A sandbox falls asleep after 15 idle minutes, and your code must wake it up."""

from caged import BoundSandbox, Caged, ExecResult
from caged.emulator import AccountView


def run(client: Caged, box_id: str, command: str) -> ExecResult:  # code under test
    if client.sandboxes.get(box_id).status == "paused":
        client.sandboxes.resume(box_id)
    return client.sandboxes.exec(box_id, command)


def test_sandbox_idle_for_fifteen_minutes_pauses_at_once(
    caged: Caged, caged_emulator: AccountView, caged_sandbox: BoundSandbox
) -> None:
    caged_emulator.clock.advance(minutes=14)
    assert caged.sandboxes.get(caged_sandbox.id).status == "running"
    caged_emulator.clock.advance(minutes=2)
    assert caged.sandboxes.get(caged_sandbox.id).status == "paused"
    assert "resume it first" in (caged.sandboxes.exec(caged_sandbox.id, "true").error or "")
    assert run(caged, caged_sandbox.id, "echo awake").output == "awake\n"
