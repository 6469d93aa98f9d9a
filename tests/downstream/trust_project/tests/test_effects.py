"""A control without effect is always reported."""

from __future__ import annotations

import re

import pytest

from caged import RuleConfig


def test_death_that_comes_too_late__fails(caged_emulator, caged):
    caged_emulator.faults.add("sandboxes.exec", outcome="dies", delay=60)
    assert caged.sandboxes.exec(caged.sandboxes.create().id, "true").ok


def test_death_in_time__passes(caged_emulator, caged):
    caged_emulator.faults.add("sandboxes.exec", outcome="dies", delay=0.1)
    assert caged.sandboxes.exec(caged.sandboxes.create().id, "sleep 60").error


def test_exception_in_a_stub_function__fails(caged_emulator, caged):
    caged_emulator.commands.stub("deploy", lambda command: 1 / 0)
    caged.sandboxes.exec(caged.sandboxes.create().id, "deploy")


def test_exception_in_an_agent_function__fails(caged_emulator, caged):
    def answer(prompt, workplace):
        raise KeyError("no-such-answer")

    caged_emulator.agent("claude").reply(answer)
    caged.sandboxes.exec(caged.sandboxes.create(agents=["claude"]).id, "claude -p hello")


def test_exception_that_is_allowed__passes(caged_emulator, caged):
    caged_emulator.commands.stub("deploy", lambda command: 1 / 0, allow_errors=True)
    caged.sandboxes.exec(caged.sandboxes.create().id, "deploy")


def test_glob_beside_a_regular_expression__passes(caged_emulator, caged):
    caged_emulator.commands.program("tool", "stubbed", args="install", stdin=re.compile("y"))
    box = caged.sandboxes.create()
    assert caged.sandboxes.exec(box.id, "echo y | tool install").output == "stubbed"
    assert "stubbed" not in caged.sandboxes.exec(box.id, "echo y | tool reinstall").output


def test_misspelt_operation_in_a_query__fails(caged_emulator):
    assert caged_emulator.journal.requests(operation="sandboxes.exce") == []


def test_misspelt_operation_with_zero_times__fails(caged_emulator):
    caged_emulator.journal.assert_requested(operation="sandboxes.exce", times=0)


def test_misspelt_agent_in_a_query__fails(caged_emulator):
    assert caged_emulator.journal.prompts(agent="claudee") == []


def test_misspelt_agent__fails(caged_emulator):
    caged_emulator.agent("claudee").prompts  # noqa: B018


def test_misspelt_source_in_a_query__fails(caged_emulator):
    assert caged_emulator.journal.commands(source="terminl") == []


def test_misspelt_name_in_a_scenario__fails(caged_emulator, tmp_path):
    (tmp_path / "s.toml").write_text('[[faults]]\noperation = "sandboxes.exce"\nstatus = 503\n')
    caged_emulator.load_scenario(tmp_path / "s.toml")


@pytest.mark.caged(templat="node-20")
def test_misspelt_option_of_the_marker__errors(caged):
    pass


@pytest.mark.caged(template="node-20")
def test_marker_without_a_sandbox__fails(caged):
    pass


@pytest.mark.caged_needs("namspace")
def test_misspelt_isolation_level__errors(caged):
    pass


def test_alias_of_an_agent__passes(caged_emulator, caged):
    caged.sandboxes.exec(caged.sandboxes.create(agents=["claude"]).id, "claude -p hello")
    names = ("claude", "claude-code")
    assert [len(caged_emulator.journal.prompts(agent=name)) for name in names] == [1, 1]


def test_allowlist_without_its_mode_is_noted__passes(caged_emulator, caged):
    box = caged.sandboxes.create(allowlist=["example.com"])
    assert any("allowlist" in text for text in caged_emulator.journal.requests()[-1].warnings)
    assert any("allowlist" in entry.message for entry in caged.sandboxes.logs(box.id))


def test_same_stub_error_through_exec_and_mcp__passes(caged_emulator, caged):
    import asyncio

    caged_emulator.commands.stub("deploy", error="no route to host")
    box = caged.sandboxes.create()
    by_exec = caged.sandboxes.exec(box.id, "deploy").error

    async def call():
        async with await caged.sandboxes.mcp(box.id) as mcp:
            return await mcp.call_tool("terminal_exec", {"command": "deploy"})

    answer = asyncio.run(call())
    assert by_exec == answer["content"][0]["text"]


def test_old_errors_after_the_clock_was_reset__passes(caged_emulator, caged):
    caged_emulator.clock.advance(days=2)
    box = caged.sandboxes.create()
    rule = next(rule for rule in caged.alerts.list_rules() if rule.type == "error_spike")
    caged.alerts.update_rule(rule.id, enabled=True, config=RuleConfig(error_count_threshold=3, window_minutes=5))
    for _ in range(2):
        caged.sandboxes.exec(box.id, "exit 1")
    caged_emulator.clock.advance(minutes=30)
    caged_emulator.clock.reset()
    caged.sandboxes.exec(box.id, "exit 1")
    assert [alert for alert in caged.alerts.list().alerts if alert.rule_type == "error_spike"] == []


def test_reply_to_in_with_statement__passes(caged_emulator, caged):
    with caged_emulator.agent("claude").reply_to("hello", "there"):
        box = caged.sandboxes.create(agents=["claude"])
        assert "there" in caged.sandboxes.exec(box.id, "claude -p hello").output


def test_empty_journal_is_true__passes(caged_emulator):
    assert caged_emulator.journal
    assert len(caged_emulator.journal) == 0


def test_failed_scenario_leaves_nothing__passes(caged_emulator, caged, tmp_path):
    (tmp_path / "s.toml").write_text('[[sandboxes]]\nname = "web"\n[[faults]]\nstatus = 503\ntimes = 0\n')
    with pytest.raises(ValueError, match=r"faults\[0\]"):
        caged_emulator.load_scenario(tmp_path / "s.toml")
    assert caged.sandboxes.list() == []


def test_import_after_write_sees_new_code__passes(caged):
    box = caged.sandboxes.create(template="python")
    for number in range(5):
        caged.files.write(box.id, "fix.py", f"VALUE = {number}\n")
        assert caged.sandboxes.exec(box.id, "python -c 'import fix; print(fix.VALUE)'").output == f"{number}\n"
