"""Steps: why no control answered."""

from __future__ import annotations

import re
from typing import Any

import pytest
from emulator_testing import Api
from steps_testing import only, steps_of, texts

from caged.emulator.control.near_misses import of_stubs
from caged.emulator.control.patterns import TextPattern
from caged.emulator.control.stubs import Invocation, Stub


def test_command_that_no_stub_answers_has_near_misses(api: Api, controls: Any, box: str):
    near = controls.commands.stub("make test*", "x", optional=True)
    far = controls.commands.stub("docker push", "x", optional=True)
    used = controls.commands.stub("make build", "x", times=1)
    api.run(box, "make build")
    api.run(box, "make build")
    api.run(box, "make tset")
    first, second, third = steps_of(api, kind="command")
    assert "near_misses" not in first.detail
    assert second.detail["near_misses"][0] == f"stub {used.id}: is used up: it has applied once"
    assert third.detail["near_misses"][0] == f"stub {near.id}: the command does not match the glob 'make test*'"
    assert any(far.id in line for line in third.detail["near_misses"])


@pytest.mark.parametrize(
    ("pattern", "text", "rule", "remedy"),
    [
        ("npm install", "npm install -q", "exact text 'npm install'", "'-q' is left over; the glob 'npm install*'"),
        ("npm install", "x; npm install", "exact text 'npm install'", "'x;' is left over; the glob '*npm install'"),
        ("npm i?", "npm ix -g", "glob 'npm i?'", "'-g' is left over; the glob 'npm i?*'"),
        ("npm i?", "npm ci", "glob 'npm i?'", ""),
        ("npm install", "make", "exact text 'npm install'", ""),
        (re.compile("^npm$"), "npm install", "regular expression '^npm$'", ""),
    ],
)  # fmt: skip
def test_near_miss_names_the_rule_and_how_to_match(pattern: Any, text: str, rule: str, remedy: str):
    stub = Stub("stub_1", "acc_1", kind="command", match=TextPattern.of_python("match", pattern))
    end = f": {remedy} would match" if remedy else ""
    assert of_stubs(Invocation("cage_1", text), [stub]) == [f"stub stub_1: the command does not match the {rule}{end}"]


def test_call_of_a_program_that_no_stub_answers_has_near_misses(api: Api, controls: Any):
    stub = controls.commands.program("frobnicate", "x", args="install *", optional=True)
    box = api.sandbox()
    api.run(box, "frobnicate remove x")
    step = only(steps_of(api), "command")
    wanted = f"stub {stub.id} of frobnicate: the arguments do not match the glob 'install *'"
    assert step.detail["near_misses"] == [wanted]


def test_prompt_without_a_scripted_reply_has_near_misses(api: Api, controls: Any):
    reply = controls.agent("claude-code").reply_to("fix *", "done", optional=True)
    box = api.sandbox(agents=["claude-code"])
    api.run(box, "claude -p 'repair it'")
    wanted = [f"reply {reply.id}: the prompt does not match the glob 'fix *'"]
    assert only(steps_of(api), "prompt").detail["near_misses"] == wanted


def test_request_that_a_fault_nearly_matches_has_near_misses(api: Api, controls: Any, box: str):
    late = controls.faults.add("sandboxes.exec", status=503, after=2, optional=True)
    elsewhere = controls.faults.add("sandboxes.exec", sandbox=api.sandbox(), status=500, optional=True)
    controls.faults.add("account.get", status=500, optional=True)
    api.run(box, "true")
    lines = only(steps_of(api), "request", "/exec").detail["near_misses"]
    assert lines[0] == f"fault {late.id}: lets 2 matching requests pass first; this was number 1"
    assert lines[1].startswith(f"fault {elsewhere.id}: applies in sandbox ")
    assert len(lines) == 2


def test_without_controls_there_are_no_near_misses(api: Api, box: str):
    api.run(box, "true")
    assert "near_misses" not in texts(steps_of(api))


def test_near_misses_are_bounded(api: Api, controls: Any, box: str):
    for number in range(60):
        controls.commands.stub(f"{'x' * 5000}{number}", "x", optional=True)
    api.run(box, "true")
    lines = only(steps_of(api), "command").detail["near_misses"]
    assert len(lines) == 4
    assert lines[-1] == "and 47 more"
    assert all(len(line) < 1000 for line in lines)
