"""Creating a sandbox from a repository: real clones of local repositories, and a token that appears nowhere."""

from __future__ import annotations

import base64
import http.server
import os
import shutil
import subprocess
import threading
from pathlib import Path

import pytest
from emulator_testing import api_of

from caged import Caged, SandboxConfigSummary

TOKEN = "s3cr3t/t0ken+x"
#: Too long to turn up by chance in an id of the shared emulator's journal.
WRONG_TOKEN = "wr0ng/t0ken+of-none"
#: A token that stands alone in a URL is sent as user and password both: some hosts look at the one, some at the other.
USERS = ["x-access-token", "me", TOKEN]


def basic(user: str) -> str:
    return base64.b64encode(f"{user}:{TOKEN}".encode()).decode()


HIDDEN = [TOKEN, "s3cr3t%2Ft0ken%2Bx", *map(basic, USERS)]


@pytest.fixture(scope="module")
def whole_origin(tmp_path_factory: pytest.TempPathFactory, git) -> Path:
    """A repository with two branches, a tag and a subdirectory."""
    place = tmp_path_factory.mktemp("origin")
    git("init", "-q", "-b", "main", cwd=place)
    (place / "README").write_text("first\n")
    (place / "pkg" / "deep").mkdir(parents=True)
    (place / "pkg" / "code.py").write_text("print(1)\n")
    (place / "pkg" / "deep" / "x").write_text("x\n")
    (place / "other").mkdir()
    (place / "other" / "y").write_text("y\n")
    git("add", ".", cwd=place)
    git("commit", "-qm", "first", cwd=place)
    git("tag", "v1", cwd=place)
    (place / "README").write_text("second\n")
    git("commit", "-qam", "second", cwd=place)
    git("checkout", "-qb", "feature", cwd=place)
    (place / "README").write_text("feature\n")
    git("commit", "-qam", "feature", cwd=place)
    git("checkout", "-q", "main", cwd=place)
    return place


@pytest.fixture
def origin(tmp_path: Path, whole_origin: Path) -> Path:
    """A copy of it, which the test may change."""
    return Path(shutil.copytree(whole_origin, tmp_path / "origin"))


def create(api, repo, **fields):
    response = api.post("/sandboxes", json={"template": "minimal", "repo": str(repo), **fields})
    assert response.status_code == 201, response.text
    return response.json()


def failed(api, repo, **fields):
    """The log of a sandbox whose clone failed."""
    made = create(api, repo, **fields)
    assert made["status"] == "error"
    log = api.log_text(made["id"])
    assert "cloning" in log
    assert "failed" in log
    return log


def test_a_path_is_cloned_into_the_workspace(api, origin):
    made = create(api, origin)
    assert (made["status"], made["repo_url"]) == ("running", str(origin))
    assert api.output(made["id"], "cat README; git log --format=%s; git branch --show-current; git status --short") == (
        "second\nsecond\nfirst\nmain\n"
    )
    assert "cloned" in api.log_text(made["id"])


def test_a_file_url_is_cloned(api, origin):
    made = create(api, f"file://{origin}")
    assert api.read(made["id"], "README").text == "second\n"


def test_a_bare_repository_is_cloned(api, origin, git, tmp_path):
    git("clone", "-q", "--bare", str(origin), str(tmp_path / "bare.git"), cwd=tmp_path)
    assert api.read(create(api, tmp_path / "bare.git")["id"], "README").text == "second\n"


def test_a_clone_is_the_sandboxs_own(api, origin, git):
    box = create(api, origin)["id"]
    api.output(box, "git config user.email t@x; git config user.name t; echo mine > README; git commit -qam mine")
    assert git("log", "-1", "--format=%s", cwd=origin) == "second"
    assert (origin / "README").read_text() == "second\n"


@pytest.mark.parametrize(("branch", "content"), [("main", "second\n"), ("feature", "feature\n"), ("v1", "first\n")])
def test_a_branch_or_tag_is_checked_out(api, origin, branch, content):
    assert api.read(create(api, origin, repo_branch=branch)["id"], "README").text == content


def test_a_commit_is_checked_out_and_wins_over_a_branch(api, origin, git):
    first = git("rev-parse", "v1", cwd=origin)
    for commit in (first, first[:10]):
        made = create(api, origin, repo_branch="feature", repo_commit=commit)
        assert api.output(made["id"], "git rev-parse HEAD; cat README") == f"{first}\nfirst\n"


@pytest.mark.parametrize("subdir", ["pkg", "/pkg/", "pkg/deep"])
def test_a_subdirectory_is_checked_out_alone(api, origin, subdir):
    box = create(api, origin, repo_subdir=subdir)["id"]
    assert api.run(box, f"test -d {subdir.strip('/')} && ! test -e other")["exit_code"] == 0
    assert api.output(box, "git status --short") == ""


def test_a_subdirectory_of_a_commit_is_checked_out(api, origin, git):
    first = git("rev-parse", "v1", cwd=origin)
    box = create(api, origin, repo_subdir="pkg", repo_commit=first)["id"]
    assert api.output(box, "git rev-parse HEAD; cat pkg/code.py") == f"{first}\nprint(1)\n"


@pytest.mark.parametrize(
    "fields",
    [
        {"repo_branch": "no-such-branch"},
        {"repo_commit": "0" * 40},
        {"repo_commit": "no-such-commit"},
        {"repo_subdir": "no/such/dir"},
        {"repo_subdir": "README"},
    ],
)
def test_what_the_repository_does_not_have_leaves_a_sandbox_in_error(api, origin, fields):
    log = failed(api, origin, **fields)
    assert next(iter(fields.values())) in log


@pytest.mark.parametrize(
    "repo", ["/no/such/repository", "file:///no/such", "http://127.0.0.1:1/x.git", "relative/path", "nonsense://x/y"]
)
def test_a_repository_that_cannot_be_reached_leaves_a_sandbox_in_error(api, repo):
    assert repo in failed(api, repo)


def test_what_comes_after_a_failed_clone_is_not_done(api):
    made = create(api, "/no/such/repository", init_script="touch ran")
    assert not (api.emulator.run_dir / "sandboxes" / made["id"] / "workspace" / "ran").exists()


def test_the_init_script_runs_in_the_clone(api, origin):
    box = create(api, origin, init_script="cp README seen")["id"]
    assert api.read(box, "seen").text == "second\n"


def test_the_developers_git_settings_are_left_out(api, origin, monkeypatch, tmp_path):
    config = tmp_path / "gitconfig"
    config.write_text('[user]\n\tname = Developer\n[url "file:///nowhere"]\n\tinsteadOf = /\n')
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    box = create(api, origin)["id"]
    assert api.run(box, "git config user.name")["exit_code"] == 1


# --- with a token


class _GitOverHttp(http.server.BaseHTTPRequestHandler):
    """git's own http-backend behind Basic authentication."""

    def _serve(self) -> None:
        server = self.server
        server.seen.append((self.path, self.headers.get("Authorization")))  # type: ignore[attr-defined]
        if self.headers.get("Authorization") not in [f"Basic {basic(user)}" for user in USERS]:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="test"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        path, _, query = self.path.partition("?")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        done = subprocess.run(
            ["git", "http-backend"],
            input=body,
            capture_output=True,
            check=True,
            env={
                "PATH": os.environ["PATH"],
                "GIT_PROJECT_ROOT": str(server.root),  # type: ignore[attr-defined]
                "GIT_HTTP_EXPORT_ALL": "1",
                "GIT_CONFIG_COUNT": "1",
                "GIT_CONFIG_KEY_0": "safe.directory",
                "GIT_CONFIG_VALUE_0": "*",
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "REQUEST_METHOD": self.command,
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                "HTTP_GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            },
        ).stdout
        head, _, content = done.partition(b"\r\n\r\n")
        lines = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        self.send_response(int(lines.pop("Status", "200").split()[0]))
        for name, value in lines.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = _serve

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def private(origin: Path):
    """The server of a private repository; `url` is `origin` on it."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _GitOverHttp)
    server.root = origin.parent  # type: ignore[attr-defined]
    server.seen = []  # type: ignore[attr-defined]
    server.host = f"127.0.0.1:{server.server_address[1]}"  # type: ignore[attr-defined]
    server.url = f"http://{server.host}/origin"  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def everywhere(api, box):
    """All that anybody may read of a sandbox, as one text."""
    emulator = api.emulator
    parts = [
        api.get(f"/sandboxes/{box}").text,
        api.get("/sandboxes").text,
        api.get(f"/sandboxes/{box}/logs", params={"tail": 1000}).text,
        "\n".join(emulator.log_tail(1000)),
        repr([vars(one) for one in emulator.journal.requests(account="*")]),
    ]
    if api.status(box) == "running":
        command = "env; git remote -v; git config --list --show-origin; cat .git/config; git reflog; grep -r . ~ /tmp"
        parts.append(api.run(box, command)["output"])
    directory = emulator.run_dir / "sandboxes" / box
    parts += [path.read_bytes().decode("latin-1") for path in directory.rglob("*") if path.is_file()]
    return "\n".join(parts)


def test_the_right_token_clones_and_appears_nowhere(api, private):
    made = create(api, private.url, repo_token=TOKEN)
    assert made["status"] == "running", api.log_text(made["id"])
    assert made["repo_url"] == private.url
    assert api.read(made["id"], "README").text == "second\n"
    found = everywhere(api, made["id"])
    assert not [hidden for hidden in HIDDEN if hidden in found]


@pytest.mark.parametrize("token", [WRONG_TOKEN, None], ids=["wrong", "none"])
def test_a_wrong_token_fails_and_appears_nowhere(api, private, token):
    made = create(api, private.url, repo_token=token)
    assert made["status"] == "error"
    assert private.url in api.log_text(made["id"])
    assert WRONG_TOKEN not in everywhere(api, made["id"])


@pytest.mark.parametrize(
    "credentials", ["me:s3cr3t%2Ft0ken%2Bx", "x-access-token:s3cr3t%2Ft0ken%2Bx", "s3cr3t%2Ft0ken%2Bx", "me:other"]
)
def test_credentials_in_the_url_clone_and_appear_nowhere(api, private, credentials):
    token = TOKEN if credentials == "me:other" else None  # repo_token wins
    made = create(api, private.url.replace("//", f"//{credentials}@"), repo_token=token)
    assert made["status"] == "running", api.log_text(made["id"])
    assert made["repo_url"] == private.url
    found = everywhere(api, made["id"])
    assert not [hidden for hidden in [*HIDDEN, "other@"] if hidden in found]


@pytest.mark.parametrize("fields", [{"repo_branch": "nope"}, {"repo_commit": "nope"}, {"repo_subdir": "nope"}])
def test_a_token_is_masked_when_something_else_fails(api, private, fields):
    made = create(api, private.url, repo_token=TOKEN, **fields)
    assert made["status"] == "error"
    found = everywhere(api, made["id"])
    assert not [hidden for hidden in HIDDEN if hidden in found]


def test_a_later_fetch_has_no_token_any_more(api, private):
    box = create(api, private.url, repo_token=TOKEN)["id"]
    assert api.run(box, "GIT_TERMINAL_PROMPT=0 git fetch")["exit_code"] != 0
    assert private.seen[-1][1] is None


def test_a_token_is_not_sent_to_another_host(api, private, origin):
    made = create(api, f"http://127.0.0.1:{private.server_address[1]}/elsewhere", repo_token=TOKEN)
    assert made["status"] == "error"
    box = create(api, origin, repo_token=TOKEN)["id"]  # a path needs none
    assert TOKEN not in everywhere(api, box)


def test_a_token_shown_by_an_init_script_is_masked_in_the_log(api, origin):
    made = create(api, origin, repo_token=TOKEN, init_script=f"echo '{TOKEN}'; exit 1")
    log = api.log_text(made["id"])
    assert "***" in log
    assert TOKEN not in log


@pytest.mark.parametrize("scheme", ["ssh", "git", "ftp"])
def test_a_password_in_any_url_is_not_shown(api, scheme):
    made = create(api, f"{scheme}://me:p4ssw0rd@127.0.0.1:1/x.git")
    assert made["status"] == "error"
    assert made["repo_url"] == f"{scheme}://me@127.0.0.1:1/x.git"
    assert "p4ssw0rd" not in everywhere(api, made["id"])


def test_a_clone_shares_no_file_with_the_repository_it_came_from(api, origin):
    box = create(api, str(origin))["id"]
    links = api.output(box, "find .git/objects -type f -exec stat -c %h {} +").split()
    assert links
    assert set(links) == {"1"}


# --- .caged.yaml

SETTINGS = "template: node-22\nresources:\n  cpu: 7\nenv:\n  FROM_FILE: yes\n"


@pytest.fixture
def configured(origin, git):
    """Puts a `.caged.yaml` with this content into the repository."""

    def put(content: bytes) -> Path:
        (origin / ".caged.yaml").write_bytes(content)
        git("add", ".caged.yaml", cwd=origin)
        git("commit", "-qm", "settings", cwd=origin)
        return origin

    return put


def test_a_caged_yaml_in_the_repository_is_the_config_and_is_not_applied(api, configured):
    made = create(api, configured(SETTINGS.encode()))
    assert made["config"] == {"source": "yaml", "raw": SETTINGS}
    assert (made["template"], made["cpus"]) == ("minimal", 2)
    assert api.output(made["id"], "echo [$FROM_FILE]") == "[]\n"
    assert "its settings are not applied" in api.log_text(made["id"])
    assert api.get(f"/sandboxes/{made['id']}").json()["config"] == made["config"]
    (listed,) = api.get("/sandboxes").json()
    assert listed["config"] == made["config"]


def test_the_sdk_shows_the_config(api, configured):
    with Caged(api.key, api.emulator.base_url) as caged:
        box = caged.sandboxes.create(template="minimal", repo=str(configured(SETTINGS.encode())))
        assert SandboxConfigSummary.from_api(box.config) == SandboxConfigSummary("yaml", SETTINGS)


def test_without_a_caged_yaml_there_is_no_config(api, origin):
    assert "config" not in create(api, origin)
    made = api.post("/sandboxes", json={"template": "minimal", "init_script": "touch .caged.yaml"})
    assert "config" not in made.json()


def test_a_caged_yaml_of_a_subdirectory_checkout_is_the_repositorys(api, configured):
    made = create(api, configured(SETTINGS.encode()), repo_subdir="pkg")
    assert made["config"]["raw"] == SETTINGS


def test_secrets_in_a_caged_yaml_are_masked(api, configured):
    repo = configured(b"env:\n  API: hush-hush\n")
    made = create(api, repo, env={"API": "hush-hush"}, secrets=["API"])
    assert made["config"]["raw"] == "env:\n  API: ***\n"


@pytest.mark.parametrize(
    ("content", "raw"),
    [(b"", ""), (b"a: \xff\n", "a: \ufffd\n"), (b"#" * 65536, "#" * 65536), (b"#" * 65537, None), (b"{[", "{[")],
)
def test_a_caged_yaml_of_any_content_does_no_harm(api, configured, content, raw):
    assert create(api, configured(content))["config"].get("raw") == raw


@pytest.mark.parametrize("link", ["/proc/version", "missing", "."])
def test_a_caged_yaml_that_leads_elsewhere_is_not_a_config(api, origin, git, link):
    (origin / ".caged.yaml").symlink_to(link)
    git("add", ".", cwd=origin)
    git("commit", "-qm", "link", cwd=origin)
    assert "config" not in create(api, origin)


def test_the_config_survives_the_emulator(own_emulator, new_api, configured, tmp_path):
    emulator = own_emulator(state_dir=tmp_path / "state")
    account = emulator.create_account()
    with api_of(emulator, account) as api:
        box = create(api, configured(SETTINGS.encode()))["id"]
    emulator.stop()
    with api_of(own_emulator(state_dir=tmp_path / "state"), account) as api:
        assert api.get(f"/sandboxes/{box}").json()["config"] == {"source": "yaml", "raw": SETTINGS}
