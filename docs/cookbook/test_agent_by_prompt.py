"""Agents answer by the prompt, or as a function of yours that works in their sandbox."""

import re

from caged import Caged
from caged.emulator import AccountView, PromptSandbox, PromptText, Reply


def count(prompt: PromptText, sandbox: PromptSandbox) -> Reply:
    lines = sandbox.read("notes.txt").count("\n")
    sandbox.write("count.txt", str(lines))
    return Reply(f"{lines} lines", tokens_out=3)


def test_each_question_has_its_answer(caged: Caged, caged_emulator: AccountView) -> None:
    box = caged.sandboxes.create(agents=["claude"])
    caged.files.write(box.id, "notes.txt", "a\nb\n")
    caged_emulator.agent("claude").reply_to({"Plan *": "1. count", re.compile("count", re.I): count})
    said = caged.sandboxes.exec(box.id, 'claude -p "Plan it"; claude -p "Count the lines"; cat count.txt').output
    assert said == "1. count\n2 lines\n2"
