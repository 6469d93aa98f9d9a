"""Sandboxes: pausing and resuming."""

from __future__ import annotations

from ..assertions import (
    assert_detail_contains,
    assert_equal,
    assert_error,
    assert_no_content,
    assert_reason,
    assert_status,
    assert_true,
    read_array,
    read_object,
    read_text,
)
from ..check import Group
from ..context import Context
from ..scenarios import record_pause

group = Group("sandboxes")


@group.contract("pause-204", "Pausing a sandbox returns 204 with an empty body.", "wire-contract 3.1")
def pause_204(context: Context) -> None:
    assert_no_content(record_pause(context).pause)


@group.contract("paused", "A paused sandbox has the status `paused`.", "wire-contract 3.1")
def is_paused(context: Context) -> None:
    assert_equal("status", read_text(record_pause(context).get, "status"), "paused")


@group.contract("resume-204", "Resuming a sandbox returns 204 with an empty body.", "wire-contract 3.1")
def resume_204(context: Context) -> None:
    assert_no_content(record_pause(context).resume)


@group.contract("resumed", "A resumed sandbox has the status `running`.", "wire-contract 3.1")
def resumed(context: Context) -> None:
    assert_equal("status", read_text(record_pause(context).get_after, "status"), "running")


@group.contract("pause-keeps", "Files survive a pause.", "platform-behaviour B17")
def pause_keeps(context: Context) -> None:
    assert_equal("output", read_object(record_pause(context).exec_after).get("output"), "kept\n")


@group.decision("pause-twice", "Pausing a paused sandbox returns 409 with its status.", "Part A, States")
def pause_twice(context: Context) -> None:
    answer = record_pause(context).pause_again
    assert_error(answer, 409)
    assert_detail_contains(answer, "paused")
    assert_reason(answer, "invalid_state")


@group.decision("resume-running", "Resuming a running sandbox returns 409 with its status.", "Part A, States")
def resume_running(context: Context) -> None:
    answer = record_pause(context).resume_running
    assert_error(answer, 409)
    assert_detail_contains(answer, "running")
    assert_reason(answer, "invalid_state")


@group.decision(
    "paused-exec", "A command in a paused sandbox returns 200 with error set and exit code -1.", "Part A, Exec"
)
def paused_exec(context: Context) -> None:
    answer = record_pause(context).exec
    assert_status(answer, 200)
    result = read_object(answer)
    assert_equal("exit_code", result.get("exit_code"), -1)
    assert_equal("output", result.get("output"), "")
    assert_true(isinstance(result.get("error"), str) and result["error"], "error, a text", repr(result.get("error")))


@group.decision("paused-files", "Listing the files of a paused sandbox returns 409.", "Part A, Not running")
def paused_files(context: Context) -> None:
    answer = record_pause(context).files
    assert_error(answer, 409)
    assert_reason(answer, "sandbox_not_running")


@group.decision("paused-terminal", "A terminal of a paused sandbox returns 409 before the upgrade.", "Part A, Sockets")
def paused_terminal(context: Context) -> None:
    assert_status(record_pause(context).handshake, 409)


@group.contract("auto-snapshot", "A pause creates a snapshot named auto-pause.", "platform-behaviour B17")
def auto_snapshot(context: Context) -> None:
    names = [item.get("name") for item in read_array(record_pause(context).snapshots)]
    assert_true("auto-pause" in names, "a snapshot auto-pause", names)


@group.decision("auto-trigger", "The snapshot that a pause creates has the trigger `auto`.", "Part A, States")
def auto_trigger(context: Context) -> None:
    found = [
        item.get("trigger") for item in read_array(record_pause(context).snapshots) if item.get("name") == "auto-pause"
    ]
    assert_equal("triggers", found, ["auto"])
