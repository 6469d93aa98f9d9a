"""Sandboxes: destruction, and what remains."""

from __future__ import annotations

from ..assertions import (
    assert_error,
    assert_no_content,
    assert_status,
    assert_true,
    read_array,
)
from ..check import Group
from ..context import Context
from ..scenarios import record_destruction
from ..shapes import LOG

group = Group("sandboxes")


@group.decision("secrets", "The value of a variable declared as a secret is redacted in the logs.", "Part A, Create")
def secrets(context: Context) -> None:
    record = record_destruction(context)
    lines = " ".join(item["message"] for item in read_array(record.logs, LOG))
    assert_true(record.secret not in lines and "***" in lines, "*** in its place", lines)


@group.contract("destroy-204", "Destroying a sandbox returns 204 with an empty body.", "wire-contract 3.1")
def destroy_204(context: Context) -> None:
    assert_no_content(record_destruction(context).delete)


@group.decision("destroyed-404", "A destroyed sandbox returns 404.", "Part A, States")
def destroyed_404(context: Context) -> None:
    assert_error(record_destruction(context).get, 404)


@group.decision("destroyed-list", "A destroyed sandbox is not in the list.", "Part A, States")
def destroyed_list(context: Context) -> None:
    record = record_destruction(context)
    found = [item.get("id") for item in read_array(record.list)]
    assert_true(record.sandbox_id not in found, f"{record.sandbox_id} not in the list", "it is")


@group.decision("destroyed-exec", "A command in a destroyed sandbox returns 404.", "Part A, States")
def destroyed_exec(context: Context) -> None:
    assert_error(record_destruction(context).exec, 404)


@group.decision("destroy-twice", "Destroying a destroyed sandbox returns 404.", "Part A, States")
def destroy_twice(context: Context) -> None:
    assert_error(record_destruction(context).delete_again, 404)


@group.decision("destroyed-snapshots", "Snapshots survive the destruction of their sandbox.", "Part A, States")
def destroyed_snapshots(context: Context) -> None:
    assert_status(record_destruction(context).snapshot, 200)


@group.contract("destroyed-terminal", "A terminal is closed when its sandbox is destroyed.", "wire-contract 4.3")
def destroyed_terminal(context: Context) -> None:
    assert_true(record_destruction(context).close_code is not None, "the socket closed within 10 s", "open")
