"""A sandbox falls asleep after 15 idle minutes, and your code must wake it up."""


def run(client, box_id, command):  # code under test
    if client.sandboxes.get(box_id).status == "paused":
        client.sandboxes.resume(box_id)
    return client.sandboxes.exec(box_id, command)


def test_sandbox_idle_for_fifteen_minutes_pauses_at_once(caged, caged_emulator, caged_sandbox):
    caged_emulator.clock.advance(minutes=14)
    assert caged.sandboxes.get(caged_sandbox.id).status == "running"
    caged_emulator.clock.advance(minutes=2)
    assert caged.sandboxes.get(caged_sandbox.id).status == "paused"
    assert "resume it first" in caged.sandboxes.exec(caged_sandbox.id, "true").error
    assert run(caged, caged_sandbox.id, "echo awake").output == "awake\n"
