"""The lines of the public Python page, word for word, against a small fake of the API."""

import json

import httpx
import pytest
from sdk_driver import KEY

from caged import Caged, CagedAPIError, CagedTimeoutError, FileEntry, Sandbox, Snapshot

BOX = {"id": "cage_abc123", "status": "running"}
ANSWERS = {
    ("POST", ""): BOX,
    ("GET", ""): [BOX],
    ("GET", "/cage_abc123"): BOX,
    ("POST", "/cage_abc123/exec"): {"output": "1 failed\n", "exit_code": 1},
    ("GET", "/cage_abc123/files"): [{"name": "main.py"}],
    ("GET", "/cage_abc123/git/diff"): {"diff": "+x\n"},
    ("POST", "/cage_abc123/snapshots"): {"id": "snap_1", "status": "pending"},
}


@pytest.fixture
def api():
    """Serves the page's calls; keeps (method, path, body)."""
    seen = []

    def handle(request):
        path = request.url.path
        seen.append((request.method, path, json.loads(request.content or b"null")))
        if path.startswith("/v1/snapshots/snap_1"):
            return httpx.Response(
                200,
                json={"id": "snap_1", "sandbox_id": "cage_abc123", "status": "completed", "url": "https://s/x"},
            )
        if path.endswith("/files/content"):
            return httpx.Response(200, text="print('hello')")
        answer = ANSWERS.get((request.method, path[len("/v1/sandboxes") :]))
        if answer is not None:
            return httpx.Response(200, json=answer)
        if "nonexistent" in path:
            return httpx.Response(404, json={"detail": "sandbox not found"})
        return httpx.Response(204)

    handle.seen = seen
    return handle


@pytest.fixture
def caged(api):
    with Caged(api_key=KEY, transport=httpx.MockTransport(api)) as client:
        yield client


def test_sandboxes(caged, api):
    sandbox = caged.sandboxes.create(template="python-312", memory_mb=1024)
    assert f"Sandbox {sandbox.id} is {sandbox.status}" == "Sandbox cage_abc123 is running"
    sandbox = caged.sandboxes.create(
        template="node-20",
        cpus=2,
        memory_mb=1024,
        repo="https://github.com/user/repo",
        env={"NODE_ENV": "development"},
    )
    caged.sandboxes.create(
        template="python-312",
        agents=["claude"],
        budget=5.00,  # USD
        env={"ANTHROPIC_API_KEY": "sk"},
    )
    sandboxes = caged.sandboxes.list()
    sb = caged.sandboxes.get("cage_abc123")
    assert sandboxes == [sb]
    caged.sandboxes.pause("cage_abc123")
    caged.sandboxes.resume("cage_abc123")
    caged.sandboxes.destroy("cage_abc123")
    assert [method for method, _, _ in api.seen[-3:]] == ["POST", "POST", "DELETE"]


def test_executing_commands(caged):
    result = caged.sandboxes.exec("cage_abc123", "pytest -x")
    assert result.output == "1 failed\n"
    assert not result.ok
    assert caged.sandboxes.exec("cage_abc123", "x", timeout=600).exit_code == 1


def test_files(caged, api, capsys):
    files = caged.files.list("cage_abc123", "/workspace")
    assert files[0].name == "main.py"
    assert caged.files.read("cage_abc123", "/workspace/main.py") == "print('hello')"
    caged.files.write("cage_abc123", "/workspace/main.py", "print('hello')")
    assert api.seen[-1][2] == {"content": "print('hello')"}
    diff = caged.files.git_diff("cage_abc123")
    print(diff, end="")
    assert capsys.readouterr().out == "+x\n"


def test_snapshots(caged, api):
    snapshot = caged.snapshots.create("cage_abc123", name="checkpoint-1")
    while snapshot.status == "pending":
        snapshot = caged.snapshots.get(snapshot.id)
    caged.snapshots.restore(snapshot.id)
    assert api.seen[-1] == ("POST", "/v1/snapshots/snap_1/restore", {"target_sandbox_id": "cage_abc123"})
    assert caged.snapshots.download_url(snapshot.id) == "https://s/x"


def test_error_handling(caged):
    try:
        caged.sandboxes.get("nonexistent")
    except CagedAPIError as e:
        message = f"API error {e.status}: {e}"
    except CagedTimeoutError as e:
        message = f"Timeout: {e}"
    assert message == "API error 404: sandbox not found"


def test_type_safety(caged):
    sandbox: Sandbox = caged.sandboxes.get("cage_abc123")
    files: list[FileEntry] = caged.files.list(sandbox.id)
    snapshot: Snapshot = caged.snapshots.get("snap_1")
    assert (type(sandbox), type(files[0]), type(snapshot)) == (Sandbox, FileEntry, Snapshot)
