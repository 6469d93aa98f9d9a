"""Fake repositories: what they are made of, tokens, what is read back, accounts, and reports of unused ones."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Optional

import cli_testing
import httpx
import pytest
from waiting import eventually

from caged import Caged
from caged.emulator import AccountView, Emulator, EmulatorError, RemoteEmulator
from caged.emulator.cage.cage import Cage
from caged.emulator.cage.init_client import SandboxGone
from caged.emulator.control.repository_urls import parse
from caged.emulator.repositories import git_process
from caged.emulator.repositories.bare_repository import BareRepository
from caged.emulator.repositories.git_process import GitProcesses

URL = "https://github.com/acme/calc"
AS_USER = "git -c user.name=Ada -c user.email=ada@example.invalid"


@pytest.fixture
def view(emulator: Emulator) -> Iterator[AccountView]:
    with emulator.account(allow_unused=True) as view:
        yield view


@pytest.fixture
def client(view: AccountView) -> Iterator[Caged]:
    with view.client() as client:
        yield client


def run(client: Caged, box: str, command: str, code: int = 0) -> str:
    result = client.sandboxes.exec(box, f"({command}) 2>&1")
    assert result.exit_code == code, (command, result.output)
    return result.output


@pytest.fixture(scope="module")
def whole_origin(tmp_path_factory: pytest.TempPathFactory, git) -> Path:
    """A repository with two branches, a tag and uncommitted changes; `trunk` is checked out."""
    place = tmp_path_factory.mktemp("origin")
    git("init", "-q", "-b", "trunk", cwd=place)
    (place / "README").write_text("first\n")
    git("add", ".", cwd=place)
    git("commit", "-qm", "first", cwd=place)
    git("tag", "v1", cwd=place)
    git("checkout", "-qb", "feature", cwd=place)
    (place / "sub dir").mkdir()
    (place / "sub dir" / "é.txt").write_text("feature\n")
    git("add", ".", cwd=place)
    git("commit", "-qm", "second\n\nwith a body", cwd=place)
    git("checkout", "-q", "trunk", cwd=place)
    (place / "README").write_text("not committed\n")
    return place


@pytest.fixture
def origin(tmp_path: Path, whole_origin: Path) -> Path:
    """A copy of it, which the test may change."""
    return Path(shutil.copytree(whole_origin, tmp_path / "origin"))


# --- what a repository is made of


def test_files_become_one_commit_with_the_same_id_each_time(view: AccountView):
    files = {"a.py": "1\n", "bin/run": "#!/bin/sh\n", "data": b"\0\xff", 'odd "name"\\é\n': "x", "empty": ""}
    repo = view.repos.add(URL, files)
    assert repo.files() == sorted(files, key=str.encode)
    assert repo.file_bytes("data") == b"\0\xff"
    assert repo.file('odd "name"\\é\n') == "x"
    assert repo.file("empty") == ""
    [commit] = repo.commits()
    assert commit.subject == "Initial commit"
    assert (repo.branches(), repo.tags(), repo.pushes()) == (["main"], [], [])
    assert view.repos.add("https://github.com/acme/same", files, branch="dev").commits()[0].id == commit.id


def test_git_repository_keeps_branches_tags_and_history(view: AccountView, origin: Path):
    repo = view.repos.add(URL, origin)
    assert repo.info.default_branch == "trunk"
    assert (repo.branches(), repo.tags()) == (["feature", "trunk"], ["v1"])
    assert repo.file("README") == "first\n"
    assert repo.files("feature") == ["README", "sub dir/é.txt"]
    newest, oldest = repo.commits("feature")
    assert (newest.message, newest.parents) == ("second\n\nwith a body", [oldest.id])
    assert repo.commits("feature", last=1) == [newest]
    assert repo.commits("v1") == repo.commits(oldest.id) == [oldest]
    bare = view.repos.add("git@github.com:acme/second.git", str(origin / ".git"), branch="feature")
    assert bare.info.default_branch == "feature"


@pytest.mark.parametrize(("branch", "expected"), [(None, "main"), ("develop", "develop")])
def test_commit_without_a_branch_becomes_the_branch(
    view: AccountView, origin: Path, git, branch: Optional[str], expected: str
):
    """As CI checks out a pull request."""
    git("checkout", "-qf", "--detach", "feature", cwd=origin)
    commit = git("rev-parse", "HEAD", cwd=origin).strip()
    git("branch", "-qD", "feature", "trunk", cwd=origin)
    repo = view.repos.add(URL, origin, branch=branch)
    assert (repo.info.default_branch, repo.branches(), repo.tags()) == (expected, [expected], ["v1"])
    assert repo.commits()[0].id == commit
    assert repo.files() == ["README", "sub dir/é.txt"]


@pytest.mark.parametrize("branch", ["feature", "trunk"])
def test_detached_head_at_the_commit_of_a_branch_is_that_branch(view: AccountView, origin: Path, git, branch: str):
    git("checkout", "-qf", "--detach", branch, cwd=origin)
    repo = view.repos.add(URL, origin)
    assert (repo.info.default_branch, repo.branches()) == (branch, ["feature", "trunk"])


def test_detached_head_at_a_commit_of_no_branch_needs_a_branch(view: AccountView, origin: Path, git):
    """Another branch in its place would lack what is checked out."""
    git("checkout", "-qf", "--detach", cwd=origin)
    git("commit", "-q", "--allow-empty", "-m", "third", cwd=origin)
    with pytest.raises(ValueError, match=r"^branch: a commit of no branch is checked out in .*, of feature, trunk"):
        view.repos.add(URL, origin)
    assert view.repos.list() == []
    assert view.repos.add(URL, origin, branch="feature").info.default_branch == "feature"


def test_repository_with_other_ids_is_refused(view: AccountView, tmp_path: Path, git):
    git("init", "-q", "--object-format=sha256", cwd=tmp_path)
    git("commit", "-q", "--allow-empty", "-m", "first", cwd=tmp_path)
    with pytest.raises(EmulatorError, match=r"has SHA-256 ids"):
        view.repos.add(URL, tmp_path)


def test_repository_without_a_commit_is_empty(view: AccountView, tmp_path: Path, git):
    git("init", "-q", "-b", "trunk", cwd=tmp_path)
    repo = view.repos.add(URL, tmp_path)
    assert (repo.info.default_branch, repo.branches(), repo.commits()) == ("trunk", [], [])


def test_shallow_clone_is_refused_with_the_command_that_completes_it(
    view: AccountView, origin: Path, git, tmp_path: Path
):
    git("clone", "-q", "--depth", "1", "-b", "feature", origin.as_uri(), str(tmp_path / "shallow"), cwd=tmp_path)
    with pytest.raises(EmulatorError, match=r"is a shallow clone.*git fetch --unshallow"):
        view.repos.add(URL, tmp_path / "shallow")
    assert view.repos.list() == []
    git("fetch", "-q", "--unshallow", cwd=tmp_path / "shallow")
    assert len(view.repos.add(URL, tmp_path / "shallow").commits()) == 2


def test_other_directory_becomes_one_commit_also_within_a_repository(view: AccountView, origin: Path):
    inner = origin / "plain"
    inner.mkdir()
    (inner / ".gitignore").write_text("*.log\n")
    (inner / "x.log").write_text("kept\n")
    (inner / "run").write_text("#!/bin/sh\n")
    (inner / "run").chmod(0o755)
    (inner / "link").symlink_to("/etc/passwd")
    repo = view.repos.add(URL, inner)
    assert repo.files() == [".gitignore", "link", "run", "x.log"]
    assert repo.file("link") == "/etc/passwd"
    assert len(repo.commits()) == 1
    assert not (inner / ".git").exists()


def test_empty_repository_gets_its_first_commit_by_a_push(view: AccountView, client: Caged, tmp_path: Path):
    repo = view.repos.add(URL, tmp_path / "none") if (tmp_path / "none").exists() else view.repos.add(URL, {})
    assert (repo.branches(), repo.commits(), repo.files()) == ([], [], [])
    box = client.sandboxes.create().id
    run(
        client,
        box,
        f"git clone {URL} . && git checkout -qb main && echo x > f && git add f && {AS_USER} commit -qm one"
        " && git push origin main && git tag v1 && git push origin v1",
    )
    assert repo.file("f") == "x\n"
    branch, tag = repo.pushes()
    assert repo.pushes(last=1) == [tag]
    assert (repo.branches(last=1), repo.tags(last=1), repo.files(last=1)) == (["main"], ["v1"], ["f"])
    for listed in (repo.pushes, repo.branches, repo.tags, repo.files, repo.commits):
        with pytest.raises(ValueError, match="last: must be"):
            listed(last=0)
    assert (branch.branch, branch.before, branch.sandbox) == ("main", "", box)
    assert branch.after == repo.commits()[0].id
    assert (tag.ref, tag.branch) == ("refs/tags/v1", "")
    assert repo.commits()[0].author == "Ada"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"url": "/srv/calc"}, "url: '/srv/calc' is not the URL of a repository on a host; give https://HOST/PATH"),
        ({"url": "file:///srv/calc"}, "url: .* is not the URL of a repository"),
        ({"url": "https://me:s3cret@github.com/a/b"}, "url: has credentials; give the URL without them"),
        ({"url": "https://github.com/"}, "url: '' is not the path of a repository"),
        ({"url": "https://github.com/a/../b"}, r"url: 'a/../b' is not the path of a repository"),
        ({"source": {"../x": ""}}, "source: '../x' cannot be the path of a file"),
        ({"source": {".git/config": ""}}, "source: '.git/config' cannot be the path of a file"),
        ({"source": {"a": "", "a/b": ""}}, "source: 'a' is a file, and also the directory of 'a/b'"),
        ({"source": "/no/such/directory"}, "source: there is no directory '/no/such/directory'"),
        ({"source": ""}, "source: is empty; give the path of a directory, or {} for an empty repository"),
        ({"branch": "a..b"}, "branch: 'a..b' is not the name of a branch"),
        ({"branch": "--output=x"}, "branch: '--output=x' is not the name of a branch"),
        ({"token": ""}, "token: is empty"),
        ({"token": ["a", ""]}, "token: is empty"),
    ],
    ids=str,
)
def test_wrong_argument_is_refused(view: AccountView, arguments: dict[str, object], message: str):
    with pytest.raises(ValueError, match=f"^{message}") as raised:
        view.repos.add(**{"url": URL, "source": {"a": "b"}, **arguments})  # type: ignore[arg-type]
    assert "s3cret" not in str(raised.value)
    assert view.repos.list() == []


def test_wrong_types_are_refused(view: AccountView):
    for source in (None, 5, {"a": 5}, {5: "a"}, b"x"):
        with pytest.raises(TypeError, match=r"^source: "):
            view.repos.add(URL, source)  # type: ignore[arg-type]


def test_branch_that_a_repository_does_not_have_is_refused_with_its_branches(view: AccountView, origin: Path):
    with pytest.raises(ValueError, match=r"branch: .* has no branch 'main'; its branches are feature, trunk"):
        view.repos.add(URL, origin, branch="main")
    assert view.repos.list() == []


def test_second_repository_with_the_same_url_is_refused_in_any_form(view: AccountView):
    repo = view.repos.add(URL, {"a": "b"})
    for url in (
        f"{URL}.git",
        "git@github.com:acme/calc",
        "ssh://git@GitHub.com:22/Acme/calc/",
        "git://github.com/acme/calc",
    ):
        with pytest.raises(ValueError, match=f"the account has a repository with this URL: repository {repo.id}"):
            view.repos.add(url, {})


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://github.com/acme/calc.git", "github.com/acme/calc"),
        ("https://user:pw@github.com:443/acme/calc/", "github.com/acme/calc"),
        ("https://git.corp:8443/a/b/c", "git.corp:8443/a/b/c"),
        ("git@git.corp:a/b", "git.corp/a/b"),
        ("git.corp:/a/b.git", "git.corp/a/b"),
        ("ssh://git@git.corp:2222/a/b", "git.corp:2222/a/b"),
        ("https://git.corp/a%20b", "git.corp/a b"),
    ],
)
def test_address_of_a_url(url: str, address: str):
    assert str(parse(url)) == address


# --- what is not there


def test_error_about_a_missing_name_lists_what_there_is(view: AccountView):
    repo = view.repos.add(URL, {"calc.py": "1"})
    with pytest.raises(EmulatorError, match=r"has no file 'calk.py' on main; did you mean 'calc.py'"):
        repo.file("calk.py")
    for read in (repo.commits, repo.files, lambda branch: repo.file("calc.py", branch)):
        for name in ("fix", "--output=/tmp/x", "main:calc.py", "HEAD~1", "0" * 40):
            with pytest.raises(EmulatorError, match=f"{URL} has no branch '{name}'; its branches are main"):
                read(name)
    with pytest.raises(EmulatorError, match=r"there is no fake repository 'https://github.com/acme/cal'; did you mean"):
        view.repos.get("https://github.com/acme/cal")
    assert view.repos.get("git@github.com:acme/calc.git") == repo == view.repos.get(repo.id)
    view.repos.remove(URL)
    with pytest.raises(EmulatorError, match=r"there is no fake repository .*; none was added"):
        view.repos.get(URL)
    with pytest.raises(EmulatorError, match="not found"):
        repo.branches()


# --- tokens


def test_token_is_checked_as_github_does(view: AccountView, client: Caged):
    repo = view.repos.add(URL, {"a": "b"}, token=["t0ken-one", "t0ken-two"])
    box = client.sandboxes.create(network_mode="none").id
    without = run(client, box, f"GIT_TERMINAL_PROMPT=0 git clone {URL} x", code=128)
    assert "could not read Username for 'https://github.com'" in without
    wrong = run(client, box, "git clone https://me:wrong@github.com/acme/calc x", code=128)
    assert "remote: Invalid username or token" in wrong
    assert "fatal: Authentication failed for 'https://github.com/acme/calc/'" in wrong
    assert "Permission denied (publickey)" in run(client, box, "git clone git@github.com:acme/calc x", code=128)
    assert repo.used == 0
    run(client, box, "git clone https://x-access-token:t0ken-two@github.com/acme/calc one")
    run(client, box, "git clone https://t0ken-one@github.com/acme/calc two")
    run(client, box, f"git -c http.https://github.com/.extraHeader='Authorization: Bearer t0ken-one' clone {URL} three")
    # A credential helper gets the name of the real host.
    store = "git config --global credential.helper store && echo https://u:t0ken-one@github.com > ~/.git-credentials"
    run(client, box, f"{store} && git clone {URL} four && cd four && {AS_USER} commit --allow-empty -qm x && git push")
    assert len(repo.pushes()) == 1


@pytest.mark.parametrize("for_all", [False, True], ids=["account", "all accounts"])
def test_token_is_redacted_in_all_that_is_kept_of_sandboxes(emulator: Emulator, for_all: bool):
    token = f"t0ken-{random.randrange(10**12)}"
    with emulator.account(allow_unused=True) as view, view.client() as client:
        before = client.sandboxes.create().id
        account = "*" if for_all else None
        repo = view.repos.add(f"https://github.com/acme/{token[2:]}", {"a": "b"}, token=token, account=account)
        after = client.sandboxes.create().id
        for box in (before, after):
            assert token in run(client, box, f"echo 'Authorization: Bearer {token}'")
        repo.remove()
        run(client, after, f"echo {token}")
        shown = {
            "commands": view.journal.commands(),
            "requests": view.journal.requests(),
            "events": view.journal.events(),
            "steps": view.journal.steps(),
            "logs": [client.sandboxes.logs(box) for box in (before, after)],
        }
    assert [name for name, records in shown.items() if token in repr(records)] == []
    assert "Bearer ***" in repr(shown["commands"])


def test_create_with_a_token(view: AccountView, client: Caged):
    view.repos.add(URL, {"other/a": "b", "sub/c": "d"}, token="t0ken-one")
    good = client.sandboxes.create(repo=URL, repo_token="t0ken-one", repo_subdir="sub")
    assert good.status == "running"
    assert run(client, good.id, "ls -A; git remote get-url origin") == f".git\nsub\n{URL}\n"
    for options in ({}, {"repo_token": "wr0ng-token"}):
        bad = client.sandboxes.create(repo=URL, **options)
        assert bad.status == "error"
        log = "\n".join(line.message for line in client.sandboxes.logs(bad.id))
        assert "could not read Username for 'https://github.com'" in log
        assert "wr0ng-token" not in log
    assert "t0ken-one" not in json.dumps([step.detail for step in view.journal.steps()])
    assert "t0ken-one" not in json.dumps(view.repos.list()[0].options)
    assert "t0ken-one" not in str(view.repos.list()[0])


def test_branch_and_commit_of_a_create(view: AccountView, client: Caged, origin: Path):
    repo = view.repos.add(URL, origin)
    first = repo.commits()[0].id
    box = client.sandboxes.create(repo="git@github.com:acme/calc.git", repo_branch="feature").id
    assert run(client, box, "cat 'sub dir'/é.txt; git branch --show-current") == "feature\nfeature\n"
    box = client.sandboxes.create(repo=URL, repo_commit=first).id
    assert run(client, box, "git rev-parse HEAD") == f"{first}\n"


# --- accounts, and when a repository applies


def test_only_sandboxes_of_the_account_reach_a_repository(view: AccountView, client: Caged, emulator: Emulator):
    view.repos.add(URL, {"whose": "one\n"})
    box = client.sandboxes.create(network_mode="none").id
    with emulator.account() as other, other.client() as other_client:
        own = other_client.sandboxes.create(network_mode="none").id
        assert "GIT_CONFIG" not in run(other_client, own, "env")
        assert "Could not resolve host: github.com\n" in run(other_client, own, f"git clone {URL}", code=128)
        with other.repos.add(URL, {"whose": "two\n"}):
            assert run(other_client, own, f"git clone -q {URL} x && cat x/whose") == "two\n"
        assert run(client, box, f"git clone -q {URL} x && cat x/whose") == "one\n"
        with pytest.raises(EmulatorError, match="none was added"):
            other.repos.get(URL)


def test_repository_of_all_accounts_comes_after_the_account_s_own(view: AccountView, client: Caged, emulator: Emulator):
    shared = "https://github.com/shared/repo"
    box = client.sandboxes.create(network_mode="none").id
    with emulator.repos.add(shared, {"whose": "all\n"}, account="*") as everywhere:
        assert run(client, box, f"git clone -q {shared} x && cat x/whose") == "all\n"
        with view.repos.add(shared, {"whose": "own\n"}):
            assert run(client, box, f"git clone -q {shared} y && cat y/whose") == "own\n"
        assert run(client, box, f"git clone -q {shared} z && cat z/whose") == "all\n"
        assert everywhere.used == 2
    assert "Could not resolve host: github.com\n" in run(client, box, f"git clone {shared} again", code=128)


def test_removed_repository_leaves_git_as_it_was(view: AccountView, client: Caged):
    box = client.sandboxes.create(network_mode="none").id
    before = run(client, box, "env | sort; git config --list --show-origin")
    with view.repos.add(URL, {"a": "b"}):
        run(client, box, f"git clone -q {URL} x")
        assert "http.proxy" in run(client, box, "git config --list")
    assert run(client, box, "env | sort; git config --list --show-origin") == before
    # Without any, cloning from a path of the host works, as always.
    assert run(client, box, "git clone -q x y && ls y") == "a\n"


def test_sandbox_that_is_resumed_or_paused_keeps_its_repositories(view: AccountView, client: Caged):
    view.repos.add(URL, {"a": "b"})
    box = client.sandboxes.create(network_mode="none").id
    client.sandboxes.pause(box)
    view.repos.add("https://github.com/acme/later", {"later": "x"})
    client.sandboxes.resume(box)
    assert run(client, box, "git clone -q https://github.com/acme/later x && ls x") == "later\n"


def test_repository_removed_while_a_sandbox_is_connected_leaves_git_as_it_was(
    view: AccountView, client: Caged, monkeypatch: pytest.MonkeyPatch
):
    box = client.sandboxes.create(network_mode="none").id
    before = run(client, box, "env | sort; git config --list --show-origin")
    entered, released, serve = threading.Event(), threading.Event(), Cage.serve

    async def slow_serve(cage: Cage, own_network: bool) -> socket.socket:
        entered.set()
        assert await asyncio.get_running_loop().run_in_executor(None, released.wait, 60)
        return await serve(cage, own_network)

    monkeypatch.setattr(Cage, "serve", slow_serve)
    with ThreadPoolExecutor() as pool:
        try:
            adding = pool.submit(view.repos.add, URL, {"a": "b"})
            assert entered.wait(60)
            removing = pool.submit(view.repos.clear)
            eventually(lambda: not view.repos.list(), "the repository to be removed")
        finally:
            released.set()
        removing.result(60)
        adding.result(60)
    assert run(client, box, "env | sort; git config --list --show-origin") == before


@pytest.mark.parametrize("error", [SandboxGone("no answer within 5 s"), OSError("no answer within 5 s")])
def test_repository_is_not_added_when_a_running_sandbox_cannot_be_connected(
    view: AccountView, client: Caged, monkeypatch: pytest.MonkeyPatch, error: Exception
):
    box = client.sandboxes.create(network_mode="none").id

    async def failing_serve(cage: Cage, own_network: bool) -> socket.socket:
        raise error

    monkeypatch.setattr(Cage, "serve", failing_serve)
    with pytest.raises(EmulatorError, match=rf"cannot be connected .*{box}: no answer within 5 s.*; try again"):
        view.repos.add(URL, {"a": "b"})
    assert view.repos.list() == []
    monkeypatch.undo()
    view.repos.add(URL, {"a": "b"})
    assert run(client, box, f"git clone -q {URL} x && ls x") == "a\n"


# --- reports


def test_unused_repository_is_reported_unless_it_is_optional(emulator: Emulator):
    with pytest.raises(AssertionError, match=f"a fake repository was never cloned:\n  repository .*{URL}"):
        with emulator.account() as view, view.repos.add(URL, {}):
            pass
    with emulator.account(allow_unused=True) as view:
        view.repos.add(URL, {})
        view.repos.add("https://github.com/acme/optional", {}, optional=True)
        [unused] = view.repos.unused()
        assert unused.url == URL
        [text] = view.unused()
        assert text.startswith("a fake repository was never cloned:")
        [described] = view.describe_unused()
        assert described.source.startswith(__file__)


def test_steps_show_clones_fetches_and_pushes(view: AccountView, client: Caged):
    repo = view.repos.add(URL, {"a": "b"})
    box = client.sandboxes.create(network_mode="none").id
    run(client, box, f"git clone -q {URL} . && {AS_USER} commit --allow-empty -qm x && git push -q")
    command = next(step for step in view.journal.steps() if step.kind == "command")
    found = {step.title: step for step in view.journal.steps() if step.detail.get("event") == "git"}
    assert list(found) == [f"git clone of {URL}", f"git push to {URL}: refs/heads/main"]
    assert all(step.parent == command.id and step.controls == [repo.id] for step in found.values())
    run(client, box, "git clone -q https://github.com/acme/nope x", code=128)
    assert view.journal.steps()[-1].status == "error"
    assert any("acme/nope is none of them" in line.message for line in client.sandboxes.logs(box))


# --- the other forms of the control


def test_http_api_takes_files_and_bundles(view: AccountView, emulator: Emulator, origin: Path, git, tmp_path: Path):
    import base64

    bundle = tmp_path / "b"
    git("bundle", "create", "-q", str(bundle), "--all", cwd=origin)
    with httpx.Client(
        base_url=f"{emulator.base_url}/_emulator",
        headers={"Authorization": f"Bearer {emulator.admin_key}"},
        params={"account": view.id},
        timeout=60,
        trust_env=False,
        verify=False,
    ) as http:
        made = http.post("/repos", json={"url": URL, "source": {"a": {"base64": "AP8="}, "b": "text"}})
        assert made.status_code == 201, made.text
        assert http.get(f"/repos/{made.json()['id']}/file", params={"path": "a"}).content == b"\0\xff"
        text = base64.b64encode(bundle.read_bytes()).decode()
        made = http.post("/repos", json={"url": "https://github.com/acme/two", "source": text})
        assert made.status_code == 201, made.text
        refs = http.get(f"/repos/{made.json()['id']}/branches").json()
        assert [one["name"] for one in refs] == ["feature", "trunk"]
        for source in ("not base64", base64.b64encode(b"no bundle").decode(), "/srv", ""):
            bad = http.post("/repos", json={"url": "https://github.com/acme/three", "source": source})
            assert bad.status_code == 400, bad.text
            assert bad.json()["detail"].startswith("source: must be a mapping of path and content, or"), bad.text
        assert http.get(f"/repos/{made.json()['id']}/file").status_code == 400
        assert http.get(f"/repos/{made.json()['id']}/commits", params={"last": 0}).status_code == 400
        assert len(http.get("/repos").json()) == 2
        assert http.delete("/repos").json() == {"removed": 2}
        assert http.get("/repos").json() == []


def test_command_line(view: AccountView, emulator: Emulator, origin: Path):
    where = ["--url", emulator.base_url, "--admin-key", emulator.admin_key, "--account", view.id]
    added = cli_testing.call("repos", "add", URL, str(origin), "--token", "t0ken", *where)
    assert added.stdout.strip() == view.repos.get(URL).id, added.stderr
    for words, lines, objects in (
        (["branches", URL], ["NAME", "feature", "trunk"], [{"name": "feature"}, {"name": "trunk"}]),
        (["branches", URL, "--last", "1"], ["NAME", "trunk"], [{"name": "trunk"}]),
        (["tags", URL, "--last", "1"], ["NAME", "v1"], [{"name": "v1"}]),
        (
            ["files", URL, "--branch", "feature"],
            ["PATH", "README", "sub dir/é.txt"],
            [{"path": "README"}, {"path": "sub dir/é.txt"}],
        ),
        (["files", URL, "--branch", "feature", "--last", "1"], ["PATH", "sub dir/é.txt"], [{"path": "sub dir/é.txt"}]),
    ):
        assert cli_testing.call("repos", *words, *where).stdout.splitlines() == lines
        printed = cli_testing.call("repos", *words, "--json", *where).stdout.splitlines()
        assert [json.loads(line) for line in printed] == objects
    for what in ("branches", "tags", "files", "commits", "pushes"):
        refused = cli_testing.call("repos", what, URL, "--last", "0", *where)
        assert refused.returncode == 1
        assert "last: must be" in refused.stderr
    printed = cli_testing.run("repos", "file", URL, "README", *where, env=dict(os.environ))
    assert printed.stdout == "first\n", printed.stderr
    assert "first" in cli_testing.call("repos", "commits", URL, *where).stdout
    assert cli_testing.call("repos", "pushes", URL, "--json", *where).stdout == ""
    assert URL in cli_testing.call("repos", "list", *where).stdout
    missing = cli_testing.call("repos", "files", "https://github.com/acme/calk", *where)
    assert missing.returncode == 1
    assert "did you mean" in missing.stderr
    assert cli_testing.call("repos", "remove", added.stdout.strip(), *where).returncode == 0
    assert view.repos.list() == []
    view.repos.add(URL, {})
    other = cli_testing.call("repos", "remove", "https://github.com/acme/calk", *where)
    assert (other.returncode, "did you mean" in other.stderr) == (1, True)
    assert cli_testing.call("repos", "remove", f"{URL}.git", *where).returncode == 0
    assert view.repos.list() == []


def test_scenario_file(view: AccountView, origin: Path, tmp_path: Path):
    scenario = tmp_path / "scenario.toml"
    scenario.write_text(
        f'[[repos]]\nurl = "{URL}"\nsource = "origin"\n'
        '[[repos]]\nurl = "git@gitlab.com:acme/lib.git"\nsource = {"lib.py" = "1"}\nbranch = "dev"\noptional = true\n'
        f'[[sandboxes]]\nname = "box"\nrepo = "{URL}"\ncommands = ["grep first README"]\n'
    )
    view.load_scenario(scenario)
    assert view.repos.get(URL).used == 1
    assert view.repos.get("https://gitlab.com/acme/lib").info.default_branch == "dev"
    view.reset()
    assert view.repos.list() == []
    scenario.write_text(f'[[repos]]\nurl = "{URL}"\nsource = "nowhere"\n')
    with pytest.raises(ValueError, match=r"repos\[0\]: source: there is no directory"):
        view.load_scenario(scenario)


def test_remote_emulator_sends_a_directory(emulator: Emulator, view: AccountView, origin: Path):
    with RemoteEmulator(emulator.base_url, emulator.admin_key, account=view.id) as remote:
        assert remote.repos.add(URL, origin).branches() == ["feature", "trunk"]
        assert [one.url for one in remote.repos.list()] == [URL]


def test_nothing_is_left_when_an_emulator_stops(own_emulator):
    emulator = own_emulator(allow_unused=True)
    run_dir = emulator.run_dir
    emulator.repos.add(URL, {"a": "b"})
    with emulator.client() as client:
        box = client.sandboxes.create(repo=URL, network_mode="none").id
        assert list((run_dir / "repositories").glob("*.settings")) == []
        run(client, box, f"git clone -q {URL} x")
    emulator.repos.clear()
    assert list((run_dir / "repositories").iterdir()) == []
    emulator.stop()
    assert not run_dir.exists()


# --- limits and errors


def test_size_of_a_repository_ignores_what_another_push_removes(tmp_path: Path):
    bare = BareRepository(tmp_path, URL, GitProcesses())
    (tmp_path / "kept").write_bytes(b"x" * 100)
    (tmp_path / "link").symlink_to("kept")
    stop = threading.Event()

    def push() -> None:
        incoming = tmp_path / "objects" / "tmp_objdir-incoming-1"
        while not stop.is_set():
            (incoming / "pack").mkdir(parents=True)
            (incoming / "pack" / "empty").touch()
            shutil.rmtree(incoming)

    pushing = threading.Thread(target=push)
    pushing.start()
    try:
        assert {bare.size() for _ in range(2000)} == {100}
    finally:
        stop.set()
        pushing.join()


def test_output_of_git_beyond_the_bound_is_an_error_that_names_it(view: AccountView, monkeypatch: pytest.MonkeyPatch):
    repo = view.repos.add(URL, {"big": random.Random(1).randbytes(3 * 1024**2)})
    monkeypatch.setattr(git_process, "OUTPUT_BYTES", 1024**2)
    with pytest.raises(EmulatorError, match=r"cannot be read: git printed more than 1 MiB"):
        repo.file_bytes("big")
    monkeypatch.undo()
    assert len(repo.file_bytes("big")) == 3 * 1024**2
