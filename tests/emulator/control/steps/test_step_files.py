"""Steps: which files a command, a prompt or a restore has changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from emulator_testing import Api
from sockets import open_socket
from steps_testing import ended, only, steps_of, stream

from caged.emulator import Emulator
from caged.emulator.control.step import Step


@pytest.fixture(scope="module")
def emulator(isolated_emulator: Emulator) -> Emulator:
    """Changes are read from the overlays of an isolated sandbox, if it has some."""
    return isolated_emulator


def changes(step: Step) -> dict[str, tuple[Any, ...]]:
    return {
        one["path"].replace("/workspace/", ""): (one["change"], one.get("before"), one.get("after"))
        for one in step.detail.get("changes", ())
    }


def test_changed_files_of_each_kind_of_step(api: Api, controls: Any, box: str):
    controls.journal.record_file_changes()
    controls.agent("claude-code").reply("done", files={"a.txt": "agent\n"})
    box = api.sandbox(agents=["claude-code"], init_script="echo built > built.txt")
    api.run(box, "echo one > a.txt; mkdir -p d; echo x > d/b")
    snapshot = api.snapshot(box)
    stream(api, box, "echo two >> a.txt; rm d/b")
    api.run(box, "claude -p go")
    with open_socket(api.emulator.base_url, f"/sandboxes/{box}/mcp", api.key, "mcp") as opened:
        call = {"name": "terminal_exec", "arguments": {"command": "echo mcp > m"}}
        opened.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}))
        opened.recv(timeout=60)
    api.restore(snapshot, box)
    steps = ended(api, box)
    assert changes(only(steps, "command", "built")) == {"built.txt": ("added", None, "built\n")}
    first = {"a.txt": ("added", None, "one\n"), "d/b": ("added", None, "x\n")}
    assert changes(only(steps, "command", "mkdir")) == first
    assert changes(only(steps, "command", "two")) == {
        "a.txt": ("changed", "one\n", "one\ntwo\n"),
        "d/b": ("removed", "x\n", None),
    }
    assert changes(only(steps, "prompt")) == {"a.txt": ("changed", "one\ntwo\n", "agent\n")}
    assert changes(only(steps, "command", "claude")) == changes(only(steps, "prompt"))
    assert changes(only(steps, "command", "mcp")) == {"m": ("added", None, "mcp\n")}
    assert changes(only(steps, "sandbox", "restored")) == {
        "a.txt": ("changed", "agent\n", "one\n"),
        "d/b": ("added", None, "x\n"),
        "m": ("removed", "mcp\n", None),
    }


def test_files_are_recorded_only_while_it_is_switched_on_for_the_account(new_api: Callable[[], Api]):
    one, other = new_api(), new_api()
    first, second = one.sandbox(), other.sandbox()
    one.emulator.journal.record_file_changes(account=one.account_id)
    one.run(first, "echo a > a")
    other.run(second, "echo a > a")
    one.emulator.journal.record_file_changes(False, account=one.account_id)
    one.run(first, "echo b > b")
    assert [bool(changes(step)) for step in steps_of(one, kind="command")] == [True, False]
    assert [bool(changes(step)) for step in steps_of(other, kind="command")] == [False]


def test_reset_switches_the_recording_of_files_off(api: Api, controls: Any):
    controls.journal.record_file_changes()
    api.emulator.reset(account=api.account_id)
    api.run(api.sandbox(), "echo a > a")
    assert "changes" not in only(steps_of(api), "command").detail


def switched_off(emulator: Emulator, account: str) -> None:
    emulator.for_account(account).journal.record_file_changes(False)


def reset(emulator: Emulator, account: str) -> None:
    emulator.for_account(account).reset_controls()


@pytest.mark.parametrize("switch_off", [switched_off, reset])
def test_recording_for_all_accounts_is_off_for_an_account_that_switches_it_off(
    own_emulator: Any, switch_off: Callable[[Emulator, str], None]
):
    emulator = own_emulator(isolation="auto")
    one, other, later = (emulator.create_account() for _ in range(3))

    def records(account: Any) -> bool:
        view = emulator.for_account(account)
        with view.client() as client:
            client.sandboxes.exec(client.sandboxes.create(template="minimal").id, "echo a > a")
        return bool(changes(view.journal.steps(kind="command")[-1]))

    emulator.journal.record_file_changes(account="*")
    switch_off(emulator, one.id)
    assert [records(one), records(other)] == [False, True]
    emulator.for_account(one).journal.record_file_changes()
    assert records(one)
    emulator.for_account(one).journal.record_file_changes(False)
    emulator.journal.record_file_changes(account="*")
    assert records(one), "what was said last, for all accounts, applies"
    emulator.for_account(later).journal.record_file_changes()
    emulator.journal.record_file_changes(False, account="*")
    assert [records(one), records(other), records(later)] == [False, False, False]


@pytest.mark.parametrize("enabled", [None, 1, "yes"])
def test_recording_of_files_is_on_or_off(api: Api, enabled: Any):
    with pytest.raises(TypeError, match="enabled"):
        api.emulator.journal.record_file_changes(enabled)


def test_what_was_not_scanned_is_said(api: Api, controls: Any, box: str):
    controls.journal.record_file_changes()
    api.run(box, "mkdir .git node_modules; echo x > .git/x; head -c 70000 /dev/zero | tr '\\0' x > large; ln -s /etc l")
    step = only(steps_of(api), "command")
    assert step.detail["changes_note"] == "not scanned: .git, node_modules"
    assert changes(step) == {"large": ("added", None, None), "l": ("added", None, None)}
    notes = {one["path"]: one["note"] for one in step.detail["changes"]}
    assert notes == {"/workspace/large": "it has more than 64 KiB", "/workspace/l": "it is a link"}


def test_a_large_workspace_is_scanned_in_part(api: Api, controls: Any, box: str):
    controls.journal.record_file_changes()
    api.output(box, "mkdir many; cd many; for i in $(seq 3000); do : > f$i; done")
    api.output(box, "echo changed > many/f1; echo new > many/new")
    first, second = steps_of(api, kind="command")
    assert len(first.detail.get("changes", ())) <= 200
    assert "scanned" in second.detail["changes_note"]
    assert all(one["change"] == "changed" for one in second.detail.get("changes", ()))
