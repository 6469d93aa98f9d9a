"""The page of agents: prompts and replies by session, with cost and changed files."""

from __future__ import annotations

import html
import re

EVIL = "<img src=x onerror=alert(1)>\"'&</script>"


def _page(browser, view):
    response = browser.get("/_emulator/ui/agents", params={"account": view.id})
    assert response.status_code == 200, response.text
    assert "<img src=x" not in response.text
    return response.text


def _conversations(page):
    """The text of each conversation, without tags."""
    found = re.findall('<article class="conversation">(.*?)</article>', page, re.S)
    return [re.sub(r"\s+", " ", html.unescape(re.sub("<[^>]*>", " ", one))) for one in found]


def test_without_prompts_it_says_how_to_run_an_agent(browser, view):
    assert "No prompts yet." in _page(browser, view)


def test_each_session_is_a_conversation_with_its_cost_and_files(browser, view, caged):
    sandbox = caged.sandboxes.create(template="minimal", agents=["claude-code", "codex"], budget=2.0)
    reply = view.agent("claude").reply(
        EVIL, cost_usd=0.25, tokens_in=1200, tokens_out=34, files={"a<b>.py": "x"}, exit_code=3, model=EVIL
    )
    caged.sandboxes.exec(sandbox.id, f"claude -p '{EVIL[:28]}'")
    caged.sandboxes.exec(sandbox.id, "codex exec 'write it'")
    newest, oldest = _conversations(_page(browser, view))
    assert "codex" in newest
    assert "Prompt write it" in newest
    assert "codex called no model" in newest
    assert "file" not in newest
    assert "Prompt <img src=x onerror=alert(1)>" in oldest
    assert "exit 3" in oldest
    assert f"by {reply.id}" in oldest
    assert EVIL in oldest
    assert "$0.25" in oldest
    assert "1,200 tokens in, 34 out" in oldest
    assert "1 file wrote /workspace/a<b>.py" in oldest


def test_changes_that_were_recorded_are_shown_as_such(browser, view, caged):
    sandbox = caged.sandboxes.create(template="minimal", agents=["claude-code"])
    view.journal.record_file_changes(True)
    view.agent("claude").reply("done", files={"made.py": "x"})
    caged.sandboxes.exec(sandbox.id, "claude -p go")
    (only,) = _conversations(_page(browser, view))
    assert "1 file added /workspace/made.py" in only


def test_prompts_of_another_account_are_not_shown(browser, emulator, view, caged):
    sandbox = caged.sandboxes.create(template="minimal", agents=["claude-code"])
    caged.sandboxes.exec(sandbox.id, "claude -p secret-plan")
    with emulator.account() as other:
        assert "secret-plan" not in _page(browser, other)
    assert "secret-plan" in _page(browser, view)
