"""`git/diff` ends at its time limit, at its output limit, and when the client disconnects (Guard 15)."""

from __future__ import annotations

import contextlib
import time

import pytest
from emulator_testing import Api, assert_problem, eventually
from net_testing import api, connect, emulator

from caged.emulator.cage import git

REPOSITORY = """
git init -q . && git config user.name t && git config user.email t@example.invalid
echo one > kept; git add . && git commit -qm first
"""
#: Repositories that make git hang. `hang` is a program that writes its process id to a file.
HANG = "printf '#!/bin/sh\\necho $$ > /workspace/hanging; exec sleep 1000\\n' > hang; chmod +x hang"
HANGS = {
    "file system monitor": "git config core.fsmonitor /workspace/hang",
    "clean filter": "git config filter.x.clean /workspace/hang; echo '* filter=x' > .gitattributes; echo two > kept",
    "text conversion": "git config diff.x.textconv /workspace/hang; echo '* diff=x' > .gitattributes; echo two > kept",
    "named pipe as settings": "mkfifo pipe; git config include.path /workspace/pipe",
    "named pipe as excludes": "rm -f .git/info/exclude; mkfifo .git/info/exclude",
}
NOTES_ITSELF = [name for name in HANGS if "pipe" not in name]


@pytest.fixture
def box(api: Api) -> str:
    made = api.sandbox()
    api.output(made, REPOSITORY)
    api.output(made, HANG)
    return made


def gits(api: Api, box: str) -> list[str]:
    """The processes of git in the sandbox, with those that it started."""
    listed = "for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline; echo; done 2>/dev/null"
    lines = str(api.run(box, listed)["output"]).splitlines()
    begin = ("git ", "/usr/bin/env git", "sleep 1000", "/bin/sh /workspace/hang")
    return [line for line in lines if line.startswith(begin)]


@pytest.mark.parametrize("shape", HANGS)
def test_hanging_git_is_killed_at_time_limit(
    api: Api,
    box: str,
    shape: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(git, "DIFF_SECONDS", 0.7)
    api.output(box, HANGS[shape])
    started = time.monotonic()
    assert_problem(api.get(f"/sandboxes/{box}/git/diff"), 409, "longer than 0.7 s")
    assert time.monotonic() - started < 25
    if api.emulator.isolation != "process":
        assert gits(api, box) == []
    assert api.output(box, "echo on") == "on\n"


@pytest.mark.parametrize("shape", NOTES_ITSELF)
def test_git_is_killed_when_client_disconnects(api: Api, box: str, shape: str) -> None:
    api.output(box, HANGS[shape])
    api.output(box, "rm -f hanging")
    with contextlib.closing(connect(api.emulator.base_url)) as client:
        request = f"GET /v1/sandboxes/{box}/git/diff HTTP/1.1"
        lines = request, "Host: localhost", f"Authorization: Bearer {api.key}", "", ""
        client.sendall("\r\n".join(lines).encode())
        eventually(lambda: api.read(box, "hanging").text.strip().isdigit(), "git to hang")
    number = api.read(box, "hanging").text.strip()
    eventually(lambda: api.run(box, f"kill -0 {number}")["exit_code"] != 0, "the processes of git to end")


@pytest.mark.parametrize(
    ("shape", "part"),
    [
        ("seq 20000 > kept", "unstaged diff"),
        ("seq 20000 > kept; git add kept", "staged diff"),
        ("mkdir many; cd many; seq 4000 | xargs touch", "list of changed files"),
    ],
)
def test_diff_over_size_limit_is_refused(
    api: Api,
    box: str,
    shape: str,
    part: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(git, "DIFF_BYTES", 32 * 1024)
    api.output(box, "rm -f hang")
    api.output(box, shape)
    answer = api.get(f"/sandboxes/{box}/git/diff")
    assert_problem(answer, 400, f"the {part} is larger than", "file_too_large")


def test_diff_below_size_limit_is_complete(api: Api, box: str) -> None:
    api.output(box, "seq 20000 > kept")
    found = api.get(f"/sandboxes/{box}/git/diff").json()
    assert found["diff"].count("\n+") >= 20000
