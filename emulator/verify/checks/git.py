"""What git sees in a sandbox."""

from __future__ import annotations

from typing import Any

from ..check import Group
from ..context import Context
from ..expect import an_object, same, true
from ..shapes import DIFF

group = Group("git")

_SETUP = (
    "mkdir {0} && cd {0} && git init -q && git config user.email verify@example.invalid"
    " && git config user.name verify && echo one > changed && echo one > staged && echo one > gone && git add ."
    " && git commit -q -m first && echo two > changed && echo three > staged && git add staged && rm gone"
    " && echo new > fresh && echo new > added && git add added"
)


def _diff(bench: Context) -> dict[str, Any]:
    """Of a repository with one file of each kind."""

    def make() -> str:
        folder = bench.name()
        bench.shell(_SETUP.format(folder))
        return f"/workspace/{folder}"

    path = bench.shared("a git repository", make)
    return an_object(bench.get(f"/sandboxes/{bench.box}/git/diff", params={"path": path}), DIFF)


def _status(bench: Context, name: str) -> object:
    return next((item["status"] for item in _diff(bench)["files"] or () if item["path"] == name), None)


@group.contract("shape", "A diff is files, diff and staged_diff.", "wire-contract 3.3")
def shape(bench: Context) -> None:
    _diff(bench)


@group.contract("modified", "A changed file is `modified`.", "wire-contract 3.3")
def modified(bench: Context) -> None:
    same("status", _status(bench, "changed"), "modified")


@group.contract("deleted", "A file that is gone is `deleted`.", "wire-contract 3.3")
def deleted(bench: Context) -> None:
    same("status", _status(bench, "gone"), "deleted")


@group.contract("untracked", "A file that git does not know is `untracked`.", "wire-contract 3.3")
def untracked(bench: Context) -> None:
    same("status", _status(bench, "fresh"), "untracked")


@group.contract("added", "A file that was added is `added`.", "wire-contract 3.3")
def added(bench: Context) -> None:
    same("status", _status(bench, "added"), "added")


@group.decision("unstaged", "`diff` is what is not staged.", "Part A, Files")
def unstaged(bench: Context) -> None:
    diff = _diff(bench)["diff"]
    true("+two" in diff and "+three" not in diff, "a diff with +two, without +three", diff)


@group.decision("staged", "`staged_diff` is what is staged.", "Part A, Files")
def staged(bench: Context) -> None:
    diff = _diff(bench)["staged_diff"]
    true("+three" in diff and "+two" not in diff, "a diff with +three, without +two", diff)


@group.decision("no-repository", "Where there is no repository everything is empty.", "Part A, Files")
def no_repository(bench: Context) -> None:
    answer = bench.get(f"/sandboxes/{bench.box}/git/diff", params={"path": "/workspace"})
    found = an_object(answer, DIFF)
    same("it", [found["files"], found["diff"], found["staged_diff"]], [[], "", ""])
