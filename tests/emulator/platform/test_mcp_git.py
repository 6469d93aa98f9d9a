"""The git and network tools of a sandbox's MCP server."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from emulator_testing import eventually
from internals import platform_of
from leftovers import processes_with, unique_seconds
from mcp_testing import Mcp

from caged.emulator.platform.mcp import git

SETUP = "git init -q -b main . && git config user.name t && git config user.email t@example.invalid"


@pytest.fixture
def mcp(api, box):
    return Mcp(api, box)


@pytest.fixture
def repo(api, box, mcp):
    """A client of a sandbox whose workspace is a repository with one commit."""
    api.output(box, f"{SETUP}; for name in kept changed staged removed moved; do echo $name > $name; done")
    mcp.text("git_commit", message="first")
    return mcp


@pytest.mark.shared_sandbox
@pytest.mark.parametrize("tool", ["git_status", "git_log", "git_diff", "git_commit", "git_push"])
def test_without_a_repository_git_says_what_is_wrong(mcp, tool):
    said = mcp.failure(tool, **({"message": "x"} if tool == "git_commit" else {}))
    assert "not a git repository" in said.lower()


def test_a_clean_work_tree_has_no_output(repo):
    assert repo.text("git_status") == "(no output)"
    assert repo.structured("git_status") == {"clean": True, "files": []}
    assert repo.text("git_diff") == "(no output)"
    assert repo.text("git_diff", staged=True) == "(no output)"


def test_the_status_is_gits_and_its_parts(api, box, repo):
    api.output(box, "echo x >> changed; echo x > staged; git add staged; git rm -q removed; git mv moved 'other place'")
    api.output(box, "touch -- new 'a b' 'é' '-> x'")
    assert repo.text("git_status") == api.output(box, "git status --porcelain=v1")
    files = repo.structured("git_status")
    assert files["clean"] is False
    assert {file["path"]: (file["index"], file["workTree"]) for file in files["files"]} == {
        "changed": (" ", "M"),
        "staged": ("M", " "),
        "removed": ("D", " "),
        "other place": ("R", " "),
        "new": ("?", "?"),
        "a b": ("?", "?"),
        "é": ("?", "?"),
        "-> x": ("?", "?"),
    }
    assert [file["renamedFrom"] for file in files["files"] if "renamedFrom" in file] == ["moved"]


def test_a_renamed_file_keeps_odd_characters_of_both_names(api, box, repo):
    api.output(box, "git mv moved $'a \"q\"\\n\\\\ -> b'; git commit -qm odd; git mv a* $'\\tü -> \"'")
    (file,) = repo.structured("git_status")["files"]
    assert (file["renamedFrom"], file["path"]) == ('a "q"\n\\ -> b', '\tü -> "')


def test_the_diff_is_of_what_is_not_staged_or_of_what_is(api, box, repo):
    api.output(box, "echo later >> changed; echo now >> staged; git add staged")
    assert "+later" in repo.text("git_diff")
    assert "+now" not in repo.text("git_diff", staged=False)
    assert "+now" in repo.text("git_diff", staged=True)
    assert "+later" not in repo.text("git_diff", staged=True)


def test_log_has_the_requested_length(api, box, repo):
    api.output(box, 'for i in $(seq 14); do git commit -q --allow-empty -m "number $i"; done')
    for arguments, count in ({}, 10), ({"count": 0}, 10), ({"count": -3}, 10), ({"count": 2}, 2):
        assert repo.text("git_log", **arguments) == api.output(box, f"git log --oneline -n{count}"), arguments
        commits = repo.structured("git_log", **arguments)["commits"]
        assert len(commits) == count, arguments
        assert commits[0]["subject"] == "number 14"
        assert api.output(box, f"git rev-parse --short {commits[0]['sha']}").strip() == commits[0]["sha"]


def test_the_log_takes_any_number(repo):
    assert len(repo.structured("git_log", count=2**62)["commits"]) == 1


def test_a_commit_takes_everything_and_its_message_as_it_is(api, box, repo):
    api.output(box, "rm removed; echo x > new; mkdir d; echo y > d/z")
    message = "-m 'quotes' \"and\" $(touch /workspace/ran)\n\nsecond paragraph ü"
    assert "3 files changed" in repo.text("git_commit", message=message)
    assert api.output(box, "git log -1 --format=%B; git status --porcelain") == f"{message}\n\n"


def test_nothing_to_commit_is_a_failure_in_gits_words(repo):
    assert "nothing to commit, working tree clean" in repo.failure("git_commit", message="again")


def test_a_commit_without_an_identity_is_a_failure_in_gits_words(api, box, mcp):
    api.output(box, "git init -q; git config user.useConfigOnly true; touch f")
    assert "user.email" in mcp.failure("git_commit", message="x")


def test_an_identity_in_the_sandboxs_environment_is_used(api):
    names = {f"GIT_{role}_{what}": "me@x" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    box = api.sandbox(env=names)
    mcp = Mcp(api, box)
    mcp.text("terminal_exec", command="git init -q; touch f")
    mcp.text("git_commit", message="x")
    assert api.output(box, "git log -1 --format=%ae") == "me@x\n"


def hook(api, box, line):
    """Lets every commit run a line of shell first, and leaves something to commit."""
    api.output(box, f"printf '#!/bin/sh\\n{line}' > .git/hooks/pre-commit; chmod +x .git/hooks/pre-commit; touch new")


def test_failure_of_a_hook_is_reported_with_its_output(api, box, repo):
    hook(api, box, "echo no way >&2; exit 1")
    assert repo.failure("git_commit", message="x") == "no way\n"


def test_output_of_a_commit_has_standard_error_in_its_place(api, box, repo):
    hook(api, box, "echo from the hook >&2")
    assert repo.text("git_commit", message="x").startswith("from the hook\n[main ")


def test_a_push_reaches_the_remote(api, box, repo):
    api.output(box, "git init -q --bare /tmp/remote; git remote add origin /tmp/remote")
    assert "HEAD -> main" in repo.text("git_push", set_upstream=True)
    api.output(box, "git commit -q --allow-empty -m second; git branch side")
    repo.text("git_push")
    repo.text("git_push", remote="/tmp/remote", branch="side")
    assert api.output(box, "git -C /tmp/remote log --format=%s side; git rev-parse --abbrev-ref @{u}") == (
        "second\nfirst\norigin/main\n"
    )
    assert "/tmp/nowhere" in repo.failure("git_push", remote="/tmp/nowhere")
    assert "nosuch" in repo.failure("git_push", branch="nosuch")


def test_git_that_hangs_is_killed(api, box, repo, monkeypatch):
    monkeypatch.setattr(git, "SECONDS", 1)
    mark = unique_seconds()
    hook(api, box, f"sleep {mark}")
    assert repo.failure("git_commit", message="x") == "git commit was killed: it took longer than 1 s"
    eventually(lambda: not processes_with(mark), "what it had started to be gone")


# --- network_fetch


LISTED = {"network_mode": "allowlist", "allowlist": ["listed.invalid"]}


#: Set when the client of the slow answer has given up.
GIVEN_UP = threading.Event()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        length = int(self.headers.get("Content-Length", 0))
        body = f"{self.command} {self.path} {self.headers.get('X-Test')} {self.rfile.read(length).decode()}".encode()
        if self.path == "/large":
            body = b"x" * 300_000
        elif self.path == "/slow":
            GIVEN_UP.wait(60)
        self.send_response({"/gone": 410, "/moved": 302, "/to-file": 302}.get(self.path, 200))
        target = {"/moved": "/target", "/to-file": "file:///etc/passwd"}.get(self.path)
        if target:
            self.send_header("Location", target)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(BrokenPipeError):
            self.wfile.write(body if self.command != "HEAD" else b"")

    do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_GET

    def log_message(self, *_):
        pass


@pytest.fixture
def server() -> Iterator[str]:
    """A web server on the host's loopback."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def test_http_request_returns_status_headers_and_body(mcp, server):
    text = mcp.text("network_fetch", url=f"{server}/a", headers={"X-Test": "ü".encode().decode("latin-1")})
    head, _, body = text.partition("\n\n")
    assert head.startswith("HTTP 200 OK\n")
    assert "Content-Length: " in head
    assert body.startswith("GET /a ")


@pytest.mark.shared_sandbox
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a_request_can_carry_something(mcp, server, method):
    text = mcp.text("network_fetch", url=f"{server}/x", method=method, headers={"X-Test": "h"}, body="böd")
    assert text.endswith(f"\n\n{method} /x h böd")


def test_a_refusal_is_an_answer_too(mcp, server):
    assert mcp.text("network_fetch", url=f"{server}/gone").startswith("HTTP 410 Gone\n")


def test_a_redirection_is_followed_but_never_to_a_file(mcp, server):
    text = mcp.text("network_fetch", url=f"{server}/moved")
    assert f"(from {server}/target)" in text
    assert text.endswith("GET /target None ")
    assert "root:" not in str(mcp.call("network_fetch", url=f"{server}/to-file"))


def test_a_large_answer_is_cut_with_a_last_line_that_says_so(mcp, server):
    text = mcp.text("network_fetch", url=f"{server}/large")
    assert text.endswith("x\n[truncated: the first 256 KiB of the body]")
    assert text.count("x") >= 256 * 1024


def test_a_slow_answer_is_given_up(mcp, server):
    GIVEN_UP.clear()
    start = time.monotonic()
    try:
        assert mcp.failure("network_fetch", url=f"{server}/slow", timeout=1).startswith("fetch error: ")
        assert time.monotonic() - start < 40  # the server waits longer
    finally:
        GIVEN_UP.set()


def test_fetch_from_a_port_without_a_server_is_a_failure(mcp):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    assert "refused" in mcp.failure("network_fetch", url=f"http://127.0.0.1:{port}/")


@pytest.mark.shared_sandbox
@pytest.mark.parametrize("url", ["http://127.0.0.1:99999/", "http://127.0.0.1:x/", "http://a b/", "http://é\u2028/x"])
def test_an_address_that_makes_no_sense_is_a_failure(mcp, url):
    assert mcp.failure("network_fetch", url=url)


@pytest.mark.parametrize("mode", [{"network_mode": "none"}, LISTED], ids=["none", "allowlist"])
def test_the_sandboxs_network_mode_holds(api, server, mode):
    if not platform_of(api.emulator).isolation.own_network:
        pytest.skip("these isolation has no network of their own")
    mcp = Mcp(api, api.sandbox(**mode))
    assert mcp.failure("network_fetch", url=f"{server}/a").startswith("fetch error: ")
    mcp.text("terminal_exec", command="cd /tmp; echo inside > f; python3 -m http.server 8000 &> /dev/null &")
    deadline = time.monotonic() + 60
    while "inside" not in str(mcp.call("network_fetch", url="http://127.0.0.1:8000/f")):
        assert time.monotonic() < deadline


def test_with_an_allowlist_the_proxy_decides(api):
    if not platform_of(api.emulator).isolation.own_network:
        pytest.skip("these isolation has no network of their own")
    box = api.sandbox(**LISTED)
    said = str(Mcp(api, box).call("network_fetch", url="http://unlisted.invalid/"))
    assert "403" in said
    assert "unlisted.invalid:80 was refused" in api.log_text(box)


def test_a_request_becomes_an_event_of_the_network(mcp, server):
    mcp.text("network_fetch", url=f"{server}/gone")
    events = [event.data for event in mcp.session._sandbox.history.events() if event.type == "network"]
    assert [(event["host"], event["method"], event["status"]) for event in events] == [("127.0.0.1", "GET", 410)]
