"""Sandboxes and accounts as the SDK and the emulator give them, wherever an id is taken; and what a newcomer writes."""

from __future__ import annotations

import pytest

from caged import CagedRateLimitError, CagedServerError


def test_sandbox_object_is_accepted_in_place_of_its_id(either, client):
    box, other = client.sandboxes.create(budget=5.0), client.sandboxes.create()
    client.sandboxes.exec(box.id, "rm -rf /workspace/x")
    assert [ran.command for ran in either.journal.commands(box)] == ["rm -rf /workspace/x"]
    assert len(either.journal.requests(operation="sandboxes.exec", sandbox=box)) == 1
    assert either.journal.commands(other) == []
    with pytest.raises(AssertionError, match="ran 1 times"):
        either.journal.assert_not_ran("rm *", sandbox=box)
    assert either.spend(box, usd=1.0) >= 1.0
    with either.faults.add("sandboxes.exec", sandbox=box, status=500):
        assert client.sandboxes.exec(other.id, "true").ok
        with pytest.raises(CagedServerError):
            client.sandboxes.exec(box.id, "true")
    with either.commands.stub("zz", output="q", sandbox=box):
        assert client.sandboxes.exec(box.id, "zz").output == "q"
        assert client.sandboxes.exec(other.id, "zz").exit_code == 127


def test_account_object_is_accepted_in_place_of_its_id(emulator, new_account):
    mine = new_account()
    assert emulator.for_account(mine).id == emulator.for_account(mine.id).id == mine.id
    assert emulator.journal.requests(account=mine) == []


def test_a_rate_limit_may_name_its_retry_after_and_an_operation_may_be_a_method_and_a_path(double, client, box):
    with (
        double.faults.add("POST /v1/sandboxes/*/exec", rate_limit={"retry_after": 7}),
        pytest.raises(CagedRateLimitError),
    ):
        client.sandboxes.exec(box, "true")


def test_the_prompt_that_a_function_gets_is_a_text(double, client):
    box = client.sandboxes.create(agents=["claude"]).id
    seen = []

    def answer(prompt, sandbox):
        seen.append((prompt, prompt.text, prompt.agent, prompt.sandbox_id))
        return "fixed: " + prompt if "fix" in prompt else None

    double.agent("claude").reply(answer)
    assert client.sandboxes.exec(box, "claude -p 'fix it'").output == "fixed: fix it\n"
    assert seen == [("fix it", "fix it", "claude-code", box)]
    with pytest.raises(TypeError, match=r"reply_to\(\)"):
        double.agent("claude").reply({"a": "b"})


def test_a_program_over_http_needs_no_kind(admin, client, box):
    assert admin.post("/_emulator/commands", json={"program": "npx", "output": "r"}).status_code == 201
    assert client.sandboxes.exec(box, "npx x").output == "r"
