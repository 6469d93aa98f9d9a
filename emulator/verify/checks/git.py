"""Git diffs."""

from __future__ import annotations

from typing import Any

from ..assertions import assert_equal, assert_true, read_object
from ..check import Group
from ..context import Context
from ..shapes import DIFF

group = Group("git")

_SETUP = (
    "mkdir {0} && cd {0} && git init -q && git config user.email verify@example.invalid"
    " && git config user.name verify && echo one > changed && echo one > staged && echo one > gone && git add ."
    " && git commit -q -m first && echo two > changed && echo three > staged && git add staged && rm gone"
    " && echo new > fresh && echo new > added && git add added"
)


def _diff(context: Context) -> dict[str, Any]:
    """Return the diff of a repository with one file of each status."""

    def make() -> str:
        folder = context.unique_name()
        context.run_command(_SETUP.format(folder))
        return f"/workspace/{folder}"

    path = context.shared("a git repository", make)
    return read_object(context.get(f"/sandboxes/{context.sandbox_id}/git/diff", params={"path": path}), DIFF)


def _status(context: Context, name: str) -> object:
    return next((item["status"] for item in _diff(context)["files"] or () if item["path"] == name), None)


@group.contract("shape", "A diff has files, diff and staged_diff.", "wire-contract 3.3")
def shape(context: Context) -> None:
    _diff(context)


@group.contract("modified", "A changed file has the status `modified`.", "wire-contract 3.3")
def modified(context: Context) -> None:
    assert_equal("status", _status(context, "changed"), "modified")


@group.contract("deleted", "A deleted file has the status `deleted`.", "wire-contract 3.3")
def deleted(context: Context) -> None:
    assert_equal("status", _status(context, "gone"), "deleted")


@group.contract("untracked", "A file that git does not track has the status `untracked`.", "wire-contract 3.3")
def untracked(context: Context) -> None:
    assert_equal("status", _status(context, "fresh"), "untracked")


@group.contract("added", "A file that was added to the index has the status `added`.", "wire-contract 3.3")
def added(context: Context) -> None:
    assert_equal("status", _status(context, "added"), "added")


@group.decision("unstaged", "`diff` has the unstaged changes.", "Part A, Files")
def unstaged(context: Context) -> None:
    diff = _diff(context)["diff"]
    assert_true("+two" in diff and "+three" not in diff, "a diff with +two, without +three", diff)


@group.decision("staged", "`staged_diff` has the staged changes.", "Part A, Files")
def staged(context: Context) -> None:
    diff = _diff(context)["staged_diff"]
    assert_true("+three" in diff and "+two" not in diff, "a diff with +three, without +two", diff)


@group.decision("no-repository", "Outside a repository all three are empty.", "Part A, Files")
def no_repository(context: Context) -> None:
    answer = context.get(f"/sandboxes/{context.sandbox_id}/git/diff", params={"path": "/workspace"})
    found = read_object(answer, DIFF)
    assert_equal("it", [found["files"], found["diff"], found["staged_diff"]], [[], "", ""])
