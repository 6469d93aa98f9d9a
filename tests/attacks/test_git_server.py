"""Attacks on the server of fake repositories: from a sandbox, and by what it pushes."""

from __future__ import annotations

import base64
import contextlib
import gzip
import os
import re
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from cases import each
from emulator_testing import Api, api_of

from caged.emulator import Emulator, EmulatorError, RepositoryHandle
from caged.emulator.repositories import git_process, pushes

URL = "https://github.com/acme/calc"
AS_USER = "git -c user.name=a -c user.email=a@example.invalid"
NOTHING = "0" * 40
EMPTY_PACK = bytes.fromhex("5041434b0000000200000000029d08823bd8a8eab510ad6ac75c823cfd3ed31e")
#: Much longer than any answer takes.
SECONDS = 60.0
Shared = tuple[Api, RepositoryHandle, str]


@pytest.fixture
def repo(emulator: Emulator, api: Api) -> RepositoryHandle:
    return emulator.repos.add(URL, {"calc.py": "print(1)\n"}, account=api.account_id)


@pytest.fixture
def box(repo: RepositoryHandle, api: Api) -> str:
    """A sandbox with a clone, on the host's network, so that the test can speak with the server as it would."""
    made = api.sandbox(network_mode="full")
    api.output(made, f"git clone -q {URL} .")
    return made


@pytest.fixture(scope="module")
def shared(emulator: Emulator) -> Iterator[Shared]:
    """An account, its repository and a sandbox with a clone, for attacks after which the repository is intact."""
    with api_of(emulator) as api:
        repo = emulator.repos.add(URL, {"calc.py": "print(1)\n"}, account=api.account_id)
        box = api.sandbox(network_mode="full")
        api.output(box, f"git clone -q {URL} .")
        yield api, repo, box
    emulator.remove_account(api.account_id)


def directory(emulator: Emulator, repo: RepositoryHandle) -> Path:
    return emulator.run_dir / "repositories" / repo.id


def intact(repo: RepositoryHandle) -> bool:
    return repo.branches() == ["main"] and repo.file("calc.py") == "print(1)\n" and repo.pushes() == []


class Line:
    """A connection to the server with what a sandbox knows: its port and its secret."""

    def __init__(self, api: Api, box: str) -> None:
        found = re.search(r"http://caged:(\w+)@127.0.0.1:(\d+)", api.output(box, "git config http.proxy"))
        assert found is not None
        self.secret, self.port = found[1], int(found[2])

    @contextlib.contextmanager
    def connected(self, secret: str = "") -> Iterator[socket.socket]:
        with socket.create_connection(("127.0.0.1", self.port), SECONDS) as connection:
            self.authorization = base64.b64encode(f"caged:{secret or self.secret}".encode()).decode()
            yield connection

    def head(self, line: str, *headers: str) -> bytes:
        return "\r\n".join(
            [line, "Host: github.com", f"Proxy-Authorization: Basic {self.authorization}", *headers, "", ""]
        ).encode()

    def request(self, line: str, *headers: str, body: bytes = b"", secret: str = "") -> bytes:
        """The whole answer to one request of an http:// URL."""
        with self.connected(secret) as connection, contextlib.suppress(ConnectionResetError, BrokenPipeError):
            length = [f"Content-Length: {len(body)}"] if body else []
            connection.sendall(self.head(line, "Connection: close", *length, *headers) + body)
            return b"".join(iter(lambda: connection.recv(65536), b""))
        return b""


def push_body(*commands: str, pack: bytes = b"") -> bytes:
    first, *others = commands
    lines = [f"{first}\0report-status side-band-64k".encode(), *(one.encode() for one in others)]
    return b"".join(map(pushes.packet, lines)) + b"0000" + pack


RECEIVE = "POST http://github.com/acme/calc/git-receive-pack HTTP/1.1"


# --- who may speak with it


def test_other_programs_of_the_machine_and_other_accounts_are_kept_out(
    emulator: Emulator, api: Api, other: Api, repo: RepositoryHandle, box: str
):
    line = Line(api, box)
    refs = "GET http://github.com/acme/calc/info/refs?service=git-upload-pack HTTP/1.1"
    assert line.request(refs).startswith(b"HTTP/1.1 200")
    assert line.request(refs, secret="0" * 32).startswith(b"HTTP/1.1 407")
    emulator.repos.add("https://github.com/acme/theirs", {"a": "b"}, account=other.account_id)
    theirs = Line(other, other.sandbox(network_mode="full"))
    answer = theirs.request(refs)
    assert answer.startswith(b"HTTP/1.1 503")
    assert URL.encode() not in answer
    assert b"acme/theirs" in answer
    assert line.request(refs, secret=theirs.secret) == answer
    # Secret and port end with the sandbox.
    api.delete(f"/sandboxes/{box}")
    assert theirs.request(refs, secret=line.secret).startswith(b"HTTP/1.1 407")
    with pytest.raises(ConnectionRefusedError):
        line.request(refs)


def test_server_connects_to_no_host(api: Api, box: str):
    line = Line(api, box)
    with socket.create_server(("127.0.0.1", 0)) as target:
        port = target.getsockname()[1]
        assert line.request(f"GET http://127.0.0.1:{port}/ HTTP/1.1").startswith(b"HTTP/1.1 503")
        with line.connected() as connection:
            connection.sendall(line.head(f"CONNECT 127.0.0.1:{port} HTTP/1.1"))
            assert connection.recv(1024).startswith(b"HTTP/1.1 200")
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            with context.wrap_socket(connection) as tunnel:
                tunnel.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                assert tunnel.recv(1024).startswith(b"HTTP/1.1 503")
        target.settimeout(0.0)
        with pytest.raises(BlockingIOError):
            target.accept()


@each(
    "path",
    [
        "/acme/calc/../../../../etc",
        "/acme/calc/%2e%2e/%2e%2e/etc",
        "/../repositories",
        "/acme/calc/objects",
        "//etc/passwd",
        "/acme\\calc",
        "/%00",
        "/--upload-pack=x",
        "/acme/calc%0a",
        "/" + "a/" * 10_000,
    ],
)
def test_path_of_a_url_reaches_no_other_file(shared: Shared, path: str):
    api, _repo, box = shared
    line = Line(api, box)
    for end in ("/info/refs?service=git-upload-pack", "/git-upload-pack", "/HEAD", "/config"):
        answer = line.request(f"GET http://github.com{path}{end} HTTP/1.1")
        assert answer[:12] in (b"HTTP/1.1 503", b"HTTP/1.1 404", b"HTTP/1.1 405"), answer[:200]
        assert b"root:" not in answer


def test_command_of_ssh_is_not_run_by_a_shell(shared: Shared, tmp_path: Path):
    api, repo, box = shared
    api.output(box, "git config core.sshCommand > ssh-words")
    marker = tmp_path / "ran"
    for command in (
        f"git-upload-pack 'acme/calc.git'; touch {marker}",
        f"git-upload-pack 'acme/calc.git; touch {marker}'",
        "git-upload-pack --exec=touch 'acme/calc'",
        f'git-upload-pack "$(touch {marker})"',
        f"touch {marker}",
        "git-upload-archive acme/calc",
        "git config --list",
        "'",
        "",
    ):
        result = api.run(
            box,
            "GIT_PROTOCOL='x\r\ny' $(cat ssh-words) git@github.com \"$CMD\" </dev/null 2>&1".replace(
                '"$CMD"', "'" + command.replace("'", "'\\''") + "'"
            ),
        )
        assert result["exit_code"] != 0, (command, result)
    assert not marker.exists()
    assert intact(repo)


def test_what_is_not_the_protocol_ends_the_connection_only(shared: Shared):
    api, repo, box = shared
    line = Line(api, box)
    for body in (
        b"zzzz",
        b"ffff" + b"x" * 70_000,
        b"0001",
        push_body(f"{NOTHING} {NOTHING}"),
        push_body(f"{NOTHING} {'1' * 40} refs/heads/x", pack=b"PACK" + b"\xff" * 100),
        b"0032" * 100_000,
        gzip.compress(b"0" * 1000)[:-20],
    ):
        line.request(RECEIVE, body=body)
        line.request(RECEIVE, "Content-Encoding: gzip", body=body)
        line.request(RECEIVE.replace("receive", "upload"), body=body)
    for raw in (b"\0" * 100, b"GET\r\n\r\n", b"x" * 100_000, b"\x16\x03\x01" + b"\0" * 600):
        with line.connected() as connection, contextlib.suppress(OSError):
            connection.sendall(raw)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass
    assert intact(repo)


def test_compressed_request_that_expands_without_end_is_refused(shared: Shared):
    api, repo, box = shared
    line = Line(api, box)
    bomb = gzip.compress(b"\0" * 64 * 1024**2)
    answer = line.request(RECEIVE.replace("receive", "upload"), "Content-Encoding: gzip", body=bomb)
    assert b"PACK" not in answer
    line.request(RECEIVE, "Content-Encoding: gzip", body=gzip.compress(b"0005x" * 4 * 1024**2))
    assert intact(repo)


# --- what is pushed


def test_refs_outside_of_branches_and_tags_cannot_be_pushed(emulator: Emulator, shared: Shared):
    api, repo, box = shared
    head = api.output(box, "git rev-parse HEAD").strip()
    for ref in ("refs/foo/x", "refs/replace/" + head, "refs/notes/commits", "refs/hidden"):
        result = api.run(box, f"git push origin HEAD:{ref} 2>&1")
        assert "hidden ref" in result["output"], result
    line = Line(api, box)
    for ref in ("../../x", "refs/heads/../../config", "config", "HEAD", "refs/heads/x.lock", "refs/heads/a b", "/x"):
        answer = line.request(RECEIVE, body=push_body(f"{NOTHING} {head} {ref}", pack=EMPTY_PACK))
        assert b"ok refs" not in answer, answer
    assert intact(repo)
    assert "hooksPath" not in (directory(emulator, repo) / "config").read_text()
    assert not (directory(emulator, repo) / "x").exists()


def test_default_branch_cannot_be_deleted(shared: Shared):
    api, repo, box = shared
    result = api.run(box, "git push origin :main 2>&1")
    assert result["exit_code"] == 1
    assert "deletion of the current branch prohibited" in result["output"]
    assert intact(repo)


def test_ten_thousand_refs_are_refused(shared: Shared, monkeypatch: pytest.MonkeyPatch):
    api, repo, box = shared
    head = api.output(box, "git rev-parse HEAD").strip()
    commands = [f"{NOTHING} {head} refs/heads/b{number}" for number in range(10_000)]
    answer = Line(api, box).request(RECEIVE, body=push_body(*commands, pack=EMPTY_PACK))
    assert b"one push may change 1,000 branches and tags, not 10,000" in answer
    assert intact(repo)
    monkeypatch.setattr(pushes, "MOST_REFS", 5)
    for url in (URL, "git@github.com:acme/calc"):
        result = api.run(box, f"git push {url} main:b1 main:b2 main:b3 main:b4 main:b5 2>&1")
        assert result["exit_code"] == 1
        assert "a fake repository may have 5 branches and tags" in result["output"]
    assert intact(repo)


def test_size_of_a_push_and_of_a_repository_is_bounded(
    emulator: Emulator, api: Api, repo: RepositoryHandle, box: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(git_process._SETTINGS, "receive.maxInputSize", str(1024**2))
    commit = f"head -c 3000000 /dev/urandom > big && git add big && {AS_USER} commit -qm big"
    result = api.run(box, f"{commit} && git push 2>&1")
    assert result["exit_code"] != 0
    assert "exceeds maximum allowed size" in result["output"]
    assert intact(repo)
    assert sum(file.stat().st_size for file in directory(emulator, repo).rglob("*") if file.is_file()) < 1024**2
    monkeypatch.undo()
    monkeypatch.setattr(pushes, "MOST_BYTES", 10)
    result = api.run(box, "git push 2>&1")
    assert "the fake repository is larger than" in result["output"]
    assert intact(repo)
    monkeypatch.undo()
    assert api.run(box, "git push 2>&1")["exit_code"] == 0
    assert len(repo.pushes()) == 1


def test_objects_that_would_harm_a_work_tree_are_refused(shared: Shared):
    api, repo, box = shared
    blob = "$(echo '[core] fsmonitor = touch /tmp/ran' | git hash-object -w --stdin)"
    for entry in (f"100644 blob {blob}\t.git/config", f"100644 blob {blob}\t.GIT", f"100644 blob {blob}\t.."):
        name = entry.rpartition("\t")[2].partition("/")[0]
        make = (
            f"blob={blob}; printf '100644 {name}\\0' > t; echo $blob | xxd -r -p >> t 2>/dev/null ||"
            ' python3 -c "import sys; sys.stdout.buffer.write(bytes.fromhex(sys.argv[1]))" $blob >> t;'
            " tree=$(git hash-object -w -t tree --literally t);"
            f" git push -q origin $({AS_USER} commit-tree -m bad $tree):refs/heads/bad 2>&1"
        )
        result = api.run(box, make)
        assert result["exit_code"] != 0, result
        assert "fsck" in result["output"] or "hasDotgit" in result["output"] or "unpack" in result["output"], result
    assert intact(repo)


def test_links_hooks_and_settings_in_a_repository_are_only_content(
    emulator: Emulator, api: Api, repo: RepositoryHandle, box: str, tmp_path: Path
):
    marker = tmp_path / "ran"
    api.output(
        box,
        "ln -s /etc/passwd link && ln -s / root && mkdir hooks && echo '* filter=x' > .gitattributes"
        f" && printf '#!/bin/sh\\ntouch {marker}\\n' > hooks/post-receive && chmod +x hooks/post-receive"
        f" && cp hooks/post-receive hooks/update && git add . && {AS_USER} commit -qm x"
        f" && git push -q -o 'x=$(touch {marker})' origin main 2>/dev/null || git push -q origin main",
    )
    assert repo.file("link") == "/etc/passwd"
    with pytest.raises(EmulatorError, match="has no file 'root/etc/passwd'"):
        repo.file("root/etc/passwd")
    assert "hooks/post-receive" in repo.files()
    assert not marker.exists()
    assert not (directory(emulator, repo) / "hooks").exists()


def test_connections_of_one_sandbox_keep_neither_others_nor_the_end_waiting(own_emulator, tmp_path: Path):
    (tmp_path / "large").write_bytes(os.urandom(8 * 1024**2))
    with contextlib.ExitStack() as stack:
        emulator = own_emulator(allow_unused=True)
        repo = emulator.repos.add(URL, tmp_path)
        api = stack.enter_context(api_of(emulator, emulator.accounts()[0]))
        line = Line(api, api.sandbox(network_mode="full"))
        want = pushes.packet(f"want {repo.commits()[0].id}\n".encode()) + b"0000" + pushes.packet(b"done\n")
        fetch = RECEIVE.replace("receive", "upload")
        for number in range(100):  # more than are served at a time
            connection = stack.enter_context(line.connected())
            begun = line.head(fetch, f"Content-Length: {len(want)}") + want
            connection.sendall(begun if number < 4 else b"GET ")  # some read none of what they request
        own = api.sandbox(network_mode="full", repo=URL)
        assert api.output(own, "ls") == "large\n"
        emulator.stop()
