"""The agent works in a sandbox of the emulator, with a scripted model: no tokens."""

from __future__ import annotations

import pytest
from langchain_core.messages import AIMessage
from program import solve
from scripted_model import ScriptedModel, call

from caged import BoundSandbox


@pytest.mark.caged(template="python-312")
def test_agent_works_in_a_sandbox(caged_sandbox: BoundSandbox) -> None:
    model = ScriptedModel(
        answers=[
            call("write_file", file_path="/workspace/answer.py", content="print(6 * 7)\n"),
            call("execute", command="python3 answer.py"),
            AIMessage("It is 42."),
        ]
    )
    assert solve(caged_sandbox, "What is the answer?", model) == "It is 42."
    assert caged_sandbox.read_text("answer.py") == "print(6 * 7)\n"
    assert str(model.received[-1].content).startswith("42\n")
