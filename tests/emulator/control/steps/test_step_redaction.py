"""Steps: no secret is shown."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from emulator_testing import Api
from sockets import Term
from steps_testing import ended, only, output, steps_of, stream, texts

from caged.emulator.control.step import Step
from caged.emulator.control.step_output import OUTPUT_HEAD, OUTPUT_TAIL

SECRET = "hunter2-correct-horse-battery"
#: A request after everything that a listener is to see.
LAST = "/sandboxes/cage_last"


def is_last(step: Step) -> bool:
    return step.title == f"GET /v1{LAST}" and step.status != "running"


def secret_box(api: Api, **more: Any) -> str:
    return api.sandbox(env={"TOKEN": SECRET}, secrets=["TOKEN"], **more)


def test_no_secret_is_in_any_step(api: Api, controls: Any, tmp_path: Any, git: Callable[..., str]):
    repository_token = "ghp_0123456789abcdefghijklmnop"
    controls.journal.record_file_changes(True)
    controls.agent("claude-code").reply(f"I saw {SECRET}", files={"notes.txt": f"key {SECRET}"})
    controls.commands.stub(f"never {SECRET}", "x", optional=True)
    controls.commands.program("deploy", f"deployed with {SECRET}", optional=True)
    box = secret_box(api, agents=["claude-code"], init_script="echo $TOKEN")
    admin = api.emulator.admin_key
    api.run(box, f"echo $TOKEN; echo {api.key}; echo {admin}; echo 'token {repository_token}' | cut -c 1-5")
    api.run(box, f"mkdir $TOKEN; cd $TOKEN; claude -p 'use {SECRET}'; deploy $TOKEN; echo $TOKEN > file")
    api.run(box, f"echo {SECRET}; cat /missing/{SECRET}")
    api.write(box, f"/workspace/{SECRET}.txt", SECRET)
    api.get(f"/sandboxes/{box}/files", params={"path": f"/workspace/{SECRET}"})
    api.get(f"/sandboxes/{SECRET}")
    stream(api, box, "echo $TOKEN")
    with Term(api.emulator.base_url, box, api.key) as term:
        term.prompt()
        term.type("echo $TOKEN; claude -p $TOKEN\r")
        term.until("I saw")
    httpx.get(f"{api.emulator.base_url}/v1/account", headers={"Authorization": f"Bearer {api.key}x"}, verify=False)
    api.post("/events", json={"events": [{"type": "tool_call", "sandbox_id": box, "payload": {"tool": SECRET}}]})
    found = texts([*ended(api), *api.emulator.journal.steps(account="*")])
    for secret in (SECRET, api.key, admin):
        assert secret not in found, found[max(0, found.index(secret) - 300) :][:600]
    assert "***" in found
    stop = json.dumps([vars(step) for step in api.emulator.journal.follow(wait=0, account=api.account_id)])
    assert SECRET not in stop


def test_environment_that_is_not_declared_as_secret_is_in_no_step_and_in_records(api: Api, controls: Any):
    planted, also = "planted-in-env-0123", 'second "planted" value'
    env = {"PLAIN": planted, "ALSO": also, "CI": "1", "TOOLS_PATH": "/opt/tools"}
    controls.journal.record_file_changes(True)
    controls.commands.stub(f"never {planted}", "x", optional=True)
    box = api.sandbox(env=env, agents=["claude-code"], init_script="echo $PLAIN")
    api.run(box, f"echo $PLAIN $ALSO $CI $TOOLS_PATH; echo {planted} > file; claude -p 'use {planted}'; mkdir $PLAIN")
    api.run(box, f"true {'x' * 285} {planted}")
    api.run(box, "printf %s planted-in; sleep 0.6; echo -env-0123")
    api.write(box, f"/workspace/{planted}.txt", planted)
    api.get(f"/sandboxes/{planted}")
    streamed = [vars(step) for step in controls.journal.follow(wait=0)]
    found = json.dumps(streamed) + texts(ended(api))
    assert planted not in found, found[max(0, found.index(planted) - 300) :][:600]
    assert "planted" not in found.replace("planted-in;", ""), "nor a value as JSON writes it"
    command = next(step for step in ended(api) if step.kind == "command" and "$CI" in step.title)
    assert output(command).startswith("*** *** 1 /opt/tools\n"), "neither short words nor paths are secrets"
    # Tests compare records with what they expect.
    assert controls.journal.requests(operation="sandboxes.create")[-1].json()["env"] == env
    assert controls.journal.commands()[-1].output == f"{planted}\n"
    controls.journal.clear()
    api.run(box, "echo $PLAIN")
    assert planted not in texts(ended(api)), "what was redacted once stays so"


def test_body_of_a_create_that_is_cut_is_in_no_step(api: Api):
    api.sandbox(env={"PLAIN": "planted-in-env-0123"}, init_script=f"true {'#' * 70_000}")
    request = next(step for step in ended(api) if step.detail.get("operation") == "sandboxes.create")
    assert request.detail["request"] == "(not shown: it was cut, and names an environment)"


def test_secret_is_never_in_a_step_of_the_stream_while_it_runs(api: Api):
    box = secret_box(api)
    seen: list[str] = []

    def follow() -> None:
        for step in api.emulator.journal.follow(wait=60, account=api.account_id):
            seen.append(json.dumps(vars(step)))
            if is_last(step):
                return

    thread = threading.Thread(target=follow)
    thread.start()
    api.run(box, f"echo {SECRET}; sleep 0.3")
    api.get(f"/sandboxes/{SECRET}/logs")
    api.get(f"/sandboxes/{box}", params={"x": SECRET})
    ended(api, box)
    api.get(LAST)
    thread.join(60)
    assert not thread.is_alive()
    assert len(seen) > 5
    assert SECRET not in "".join(seen)


@pytest.mark.parametrize("place", [OUTPUT_HEAD, OUTPUT_HEAD + 100_000 - OUTPUT_TAIL])
@pytest.mark.parametrize("before", [1, len(SECRET) // 2, len(SECRET) - 1])
def test_secret_across_a_cut_is_not_shown(api: Api, place: int, before: int):
    """`place`: of the end of the head, and of the beginning of the tail, in an output of so many characters."""
    box, length = secret_box(api), OUTPUT_HEAD + 100_000
    rest = length - (place - before) - len(SECRET)
    fill = "head -c {} /dev/zero | tr '\\0' x"
    api.run(box, f"{fill.format(place - before)}; printf %s $TOKEN; {fill.format(rest)}")
    kept = output(only(steps_of(api), "command"))
    assert not any(SECRET[at : at + 6] in kept for at in range(len(SECRET) - 6)), kept.replace("x", "")


def test_long_secret_across_the_beginning_of_the_tail_is_not_shown(api: Api):
    secret = "".join(f"{number:05d}-" for number in range(2000))  # 12,000 characters, none of them an x
    box = api.sandbox(env={"TOKEN": secret}, secrets=["TOKEN"])
    fill = "head -c {} /dev/zero | tr '\\0' x"
    api.run(box, f"{fill.format(100_000)}; printf %s $TOKEN; {fill.format(OUTPUT_TAIL - 2000)}")
    kept = output(only(steps_of(api), "command"))
    assert set(kept) <= set("x*"), kept.replace("x", "")[:200]


def test_secret_in_two_pieces_of_an_output_is_not_shown(api: Api):
    box = secret_box(api)
    half = len(SECRET) // 2
    seen: list[str] = []

    def follow() -> None:
        for step in api.emulator.journal.follow(wait=60, account=api.account_id):
            seen.append("".join(text for _at, text in step.detail.get("output", ())))
            if is_last(step):
                return

    thread = threading.Thread(target=follow)
    thread.start()
    # The first wait is longer than it takes until a running command's output is shown.
    line = f"printf %s {SECRET[:half]}; sleep 0.6; printf %s {SECRET[half:]}; sleep 0.2; echo end"
    api.run(box, f"sh -c '{line}'")
    stream(api, box, f"sh -c '{line}'")
    ended(api, box)
    api.get(LAST)
    thread.join(60)
    assert not thread.is_alive()
    assert "".join(seen).count("end\n") >= 2
    assert SECRET[:half] not in "".join(seen)
    for step in ended(api, box):
        if step.kind == "command":
            assert SECRET[:half] not in output(step), step.detail["output"]
            assert output(step).endswith("end\n")
