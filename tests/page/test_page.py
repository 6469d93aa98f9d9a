"""Every example of the public page, in order, run as it stands, with both clients.

What the page takes for granted is put in place around it: an emulator whose key is `caged_sk_...`, a sandbox
called `cage_abc123`, a local repository instead of github.com, a `pytest` in the sandbox, a `main.py` to read.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from internals import platform_of

import caged
from caged.emulator import Emulator

KEY = "caged_sk_..."
EXAMPLES = re.findall(
    r"^## (.+?)\n+```python\n(.*?)```", (Path(__file__).parent / "examples.md").read_text(encoding="utf-8"), re.S | re.M
)


@pytest.fixture
def emulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    with Emulator(api_key=KEY) as emulator:
        monkeypatch.setenv("CAGED_BASE_URL", emulator.base_url)
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-example")
        yield emulator


@pytest.fixture
def repo(tmp_path: Path) -> str:
    folder = tmp_path / "repo"
    folder.mkdir()
    (folder / "main.py").write_text("print('from the repository')\n", encoding="utf-8")
    (folder / "test_it.py").write_text("def test_it():\n    assert 1 + 1 == 3\n", encoding="utf-8")
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.invalid"]
    for words in (["init", "-q"], ["add", "."], [*identity, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", *words], cwd=folder, check=True, timeout=60)
    return f"file://{folder}"


class World:
    """What the page's examples find around them."""

    def __init__(self, emulator: Emulator, names: dict[str, Any]) -> None:
        self.emulator = emulator
        self.names = names
        self.client = emulator.client()

    def make_cage_abc123(self) -> None:
        chance = platform_of(self.emulator).randomness
        real = chance.identifier
        chance.identifier = lambda prefix, taken=(): "cage_abc123" if prefix == "cage" else real(prefix, taken)
        try:
            assert self.client.sandboxes.create().id == "cage_abc123"
        finally:
            chance.identifier = real

    def before(self, title: str) -> None:
        if title in ("Sandboxes", "Type Safety"):
            self.make_cage_abc123()
        if title == "Executing Commands":
            # The page prompts an agent in `sandbox`, so it has to be the box with the agent; it gets a test to run.
            self.names["sandbox"] = self.names["agent_box"]
            box = self.names["sandbox"].id
            self.client.files.write(box, "/workspace/main.py", "print(1)\n")
            self.client.files.write(box, "/root/.local/bin/pytest", "#!/bin/sh\necho 1 failed\nexit 1\n")
            assert self.client.sandboxes.exec(box, "chmod +x /root/.local/bin/pytest; git init -q; git add .").ok

    def after(self, title: str, printed: str) -> None:
        names, client = self.names, self.client
        if title == "Quick Start":
            assert printed == f"Sandbox {names['sandbox'].id} is running\n"
            assert names["sandbox"].memory_mb == 1024
        elif title == "Context Manager":
            with pytest.raises(caged.CagedNotFoundError):
                client.sandboxes.get(names["sandbox"].id)
        elif title == "Sandboxes":
            assert names["sb"].id == "cage_abc123"
            assert {names["sandbox"].id, names["agent_box"].id, "cage_abc123"} <= {box.id for box in names["sandboxes"]}
            assert "cage_abc123" not in {box.id for box in client.sandboxes.list()}
            assert names["agent_box"].budget == 5.0
            seen = client.sandboxes.exec(names["sandbox"].id, "cat main.py; echo $NODE_ENV").output
            assert seen == "print('from the repository')\ndevelopment\n"
        elif title == "Executing Commands":
            assert "1 failed\n" in printed
            assert "Tests failed with exit code 1\n" in printed
            assert "Prompt: Find and fix the failing test" in printed
        elif title == "Files":
            assert [entry.name for entry in names["files"]] == [".git", "main.py"]
            assert names["content"] == "print(1)\n"
            assert client.files.read(names["sandbox"].id, "/workspace/main.py") == "print('hello')"
            assert "+print('hello')" in str(names["diff"])
        elif title == "Snapshots":
            assert names["snapshot"].status == "completed"
            assert names["snapshot"].name == "checkpoint-1"
            assert names["url"].startswith(self.emulator.base_url)
        elif title == "Error Handling":
            assert printed == "API error 404: sandbox not found: nonexistent\n"
        elif title == "Type Safety":
            assert isinstance(names["sandbox"], caged.Sandbox)
            assert names["files"] == []


def as_async(code: str) -> str:
    """The same example for the other client: another class name, and `await` before each call."""
    code = re.sub(r"\bCaged\(", "AsyncCaged(", code).replace("import Caged", "import AsyncCaged")
    code = code.replace("with AsyncCaged", "async with AsyncCaged")
    return re.sub(r"(caged\.(?:sandboxes|files|snapshots)\.\w+\()", r"await \1", code)


def test_the_page_is_complete() -> None:
    titles = [title for title, _code in EXAMPLES]
    assert titles == [
        "Quick Start",
        "Context Manager",
        "Sandboxes",
        "Executing Commands",
        "Files",
        "Snapshots",
        "Error Handling",
        "Type Safety",
    ]


# Takes over a second because the page itself sleeps for one while its snapshot is pending.
@pytest.mark.parametrize("client", ["Caged", "AsyncCaged"])
def test_every_example_in_order(client: str, emulator: Emulator, repo: str, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {"os": os}
    world = World(emulator, names)
    opened: list[Any] = []
    loop = asyncio.new_event_loop()
    try:
        for title, code in EXAMPLES:
            code = code.replace("https://github.com/user/repo", repo)
            if title == "Sandboxes":
                # The page's context manager closed its client; the examples below go on with an open one.
                names["caged"] = getattr(caged, client)(api_key=KEY)
                opened.append(names["caged"])
            world.before(title)
            capsys.readouterr()
            if client == "AsyncCaged":
                flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
                result = eval(compile(as_async(code), title, "exec", flags), names)
                if inspect.iscoroutine(result):
                    loop.run_until_complete(result)
            else:
                exec(compile(code, title, "exec"), names)
            if names["caged"] not in opened:
                opened.append(names["caged"])
            world.after(title, capsys.readouterr().out)
    finally:
        for each in opened:
            closing = each.close()
            if inspect.iscoroutine(closing):
                loop.run_until_complete(closing)
        world.client.close()
        loop.close()
