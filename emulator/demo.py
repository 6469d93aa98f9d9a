"""Runs the examples of the SDK's public page against an emulator, and prints each with its output."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import tempfile
import textwrap
import time
from pathlib import Path
from typing import Any, Optional

from .emulator import Emulator

_WIDTH = 100


def run() -> int:
    """Run all examples, and remove everything they created.

    Returns:
        The exit status, 0.

    Raises:
        Exception: An example has failed.
    """
    started = time.perf_counter()
    with Emulator() as emulator, tempfile.TemporaryDirectory(dir=emulator.run_dir) as scratch:
        _print_duration(f"emulator on {emulator.base_url}, isolation {emulator.isolation}, ready in", started)
        repo = _make_local_repo(Path(scratch))
        names: dict[str, Any] = {"os": os}
        os.environ.setdefault("ANTHROPIC_API_KEY", "sk-ant-not-needed-here")
        for title, code in _examples(emulator, repo):
            print(f"\n--- {title} " + "-" * max(0, _WIDTH - len(title) - 5))
            print(textwrap.indent(code.strip(), "    "))
            begun = time.perf_counter()
            exec(compile(code, f"<{title}>", "exec"), names)
            _print_duration("    ->", begun)
    _print_duration("\nall examples ran, and everything was removed, in", started)
    return 0


def _print_duration(text: str, since: float) -> None:
    print(f"{text} {(time.perf_counter() - since) * 1000:.0f} ms", flush=True)


def _make_local_repo(scratch: Path) -> str:
    """Make a local repository to clone in place of the page's, which is on the network. Returns its URL."""
    repo = scratch / "repo"
    repo.mkdir()
    (repo / "package.json").write_text('{"name": "demo"}\n', encoding="utf-8")
    identity = ["-c", "user.name=demo", "-c", "user.email=demo@example.invalid"]
    for words in (["init", "-q"], ["add", "."], [*identity, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", *words], cwd=repo, check=True, timeout=30)
    return f"file://{repo}"


def _find_pytest() -> Optional[str]:
    """Return the directory from which this interpreter imports pytest, for the page's `pytest -x`; None without it."""
    spec = importlib.util.find_spec("pytest")
    return str(Path(spec.origin).parent.parent) if spec and spec.origin else None


def _examples(emulator: Emulator, repo: str) -> list[tuple[str, str]]:
    connect = f'from caged import Caged\n\ncaged = Caged(api_key="{emulator.api_key}", base_url="{emulator.base_url}")'
    pytest_directory = _find_pytest()
    setup = f"""
caged.files.write(sandbox.id, "/workspace/test_demo.py", "def test_it():\\n    assert 6 * 7 == 41\\n")
caged.files.write(
    sandbox.id,
    "/root/.local/bin/pytest",
    "#!/bin/sh\\n"
    "export PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 PYTHONPATH='{pytest_directory}'\\n"
    'exec python3 -m pytest -p no:cacheprovider "$@"\\n',
)
caged.sandboxes.exec(sandbox.id, "chmod +x /root/.local/bin/pytest")
"""
    steps = [
        (
            "quick start",
            f"""
{connect}

sandbox = caged.sandboxes.create(template="python-312", memory_mb=1024)
print(f"Sandbox {{sandbox.id}} is {{sandbox.status}}")
""",
        ),
        (
            "context manager",
            f"""
with Caged(api_key="{emulator.api_key}", base_url="{emulator.base_url}") as client:
    box = client.sandboxes.create(template="node-20")
    client.sandboxes.destroy(box.id)
""",
        ),
        (
            "create with options (a local repository instead of github.com)",
            f"""
node = caged.sandboxes.create(
    template="node-20",
    cpus=2,
    memory_mb=1024,
    repo="{repo}",
    env={{"NODE_ENV": "development"}},
)
print(caged.sandboxes.exec(node.id, "git log --oneline; echo $NODE_ENV; cat package.json").output)
""",
        ),
        (
            "create with an AI agent and a budget cap",
            """
agent_box = caged.sandboxes.create(
    template="python-312",
    agents=["claude"],
    budget=5.00,
    env={"ANTHROPIC_API_KEY": os.environ["ANTHROPIC_API_KEY"]},
)
""",
        ),
        (
            "list, get, pause, resume, destroy",
            """
for sb in caged.sandboxes.list():
    print(sb.id, sb.status, sb.template)
sb = caged.sandboxes.get(node.id)
caged.sandboxes.pause(sb.id)
print(caged.sandboxes.get(sb.id).status)
caged.sandboxes.resume(sb.id)
caged.sandboxes.destroy(sb.id)
""",
        ),
    ]
    if pytest_directory:
        steps.append(("a failing test, and this machine's pytest for the sandbox", setup))
    steps += [
        (
            "run a command",
            """
result = caged.sandboxes.exec(sandbox.id, "pytest -x")
print(result.output)
if not result.ok:
    print(f"Tests failed with exit code {result.exit_code}")
""",
        ),
        (
            "prompt an agent (emulated, without a model)",
            """
answer = caged.sandboxes.exec(
    agent_box.id,
    'cd /workspace && claude -p "Find and fix the failing test"',
)
print(answer.output)
""",
        ),
        (
            "files and git",
            """
caged.files.write(sandbox.id, "/workspace/main.py", "print('hello')")
caged.sandboxes.exec(sandbox.id, "git init -q && git add main.py")
for entry in caged.files.list(sandbox.id, "/workspace"):
    print(entry.type, entry.path, entry.size)
print(caged.files.read(sandbox.id, "/workspace/main.py"))
diff = caged.files.git_diff(sandbox.id)
print(diff)
""",
        ),
        (
            "snapshots",
            """
import time

snapshot = caged.snapshots.create(sandbox.id, name="checkpoint-1")
while snapshot.status == "pending":
    time.sleep(0.01)
    snapshot = caged.snapshots.get(snapshot.id)
print(snapshot.name, snapshot.status, snapshot.size_bytes, "bytes")
caged.sandboxes.exec(sandbox.id, "rm -rf /workspace/*")
caged.snapshots.restore(snapshot.id)
print(caged.files.read(sandbox.id, "/workspace/main.py"))
print(caged.snapshots.download_url(snapshot.id).split("?")[0])
""",
        ),
        (
            "errors",
            """
from caged import CagedAPIError, CagedTimeoutError

try:
    caged.sandboxes.get("nonexistent")
except CagedAPIError as e:
    print(f"API error {e.status}: {e}")
try:
    caged.sandboxes.exec(sandbox.id, "sleep 60", timeout=0.2)
except CagedTimeoutError as e:
    print(f"Timeout: {e}")
caged.close()
""",
        ),
    ]
    return steps
