"""README's snippets, run as they stand. (Its two script commands are what `.ci/run` and a newcomer run.)"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import fork_server
import pytest

from caged.emulator import Emulator

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def snippet(section: str, language: str) -> str:
    body = README.split(f"\n## {section}\n")[1].split("\n## ")[0]
    found = re.findall(rf"```{language}\n(.*?)```", body, re.S)
    assert len(found) == 1, f"{section}: {len(found)} {language} snippets"
    return str(found[0])


def test_every_snippet_is_known_here() -> None:
    assert len(re.findall(r"^```\w+$", README, re.M)) == 10


def test_the_two_commands_exist_and_can_be_run() -> None:
    for line in README.split("```bash\n")[1].split("```")[0].splitlines():
        assert os.access(Path(__file__).parents[2] / line.split()[0], os.X_OK)


def test_sdk_quickstart(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with Emulator() as emulator:
        monkeypatch.setenv("CAGED_BASE_URL", emulator.base_url)
        monkeypatch.setenv("CAGED_API_KEY", emulator.api_key)
        exec(compile(snippet("The SDK", "python"), "README", "exec"), {})
    assert capsys.readouterr().out == "hello\n 3 False\nhello\n\n"


def test_bound_sandbox(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    with Emulator() as emulator:
        monkeypatch.setenv("CAGED_BASE_URL", emulator.base_url)
        monkeypatch.setenv("CAGED_API_KEY", emulator.api_key)
        exec(compile(snippet("A sandbox as one object", "python"), "README", "exec"), {})
    assert capsys.readouterr().out == "7\n counted\n['numbers.txt', 'result.bin']\n"
    assert (tmp_path / "results/result.bin").read_bytes() == b"\0\xff"


def test_streams_terminals_and_mcp(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with Emulator() as emulator:
        monkeypatch.setenv("CAGED_BASE_URL", emulator.base_url)
        monkeypatch.setenv("CAGED_API_KEY", emulator.api_key)
        exec(compile(snippet("Streams, terminals, MCP", "python"), "README", "exec"), {})
    streamed, code, tools, called, size = capsys.readouterr().out.rsplit("\n", 5)[:5]
    assert (streamed, code, size) == ("1\n2\n3", "0", "True")
    assert "filesystem_read" in tools
    assert "from MCP" in called


def test_the_test_double(capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(snippet("The test double", "python"), "README", "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    assert printed[:4] == ["503", "added 42 packages", "Fixed.", "ok = True"]
    assert printed[4].startswith("paused ['Budget Threshold Exceeded'")
    assert printed[5:] == ["paused", "Fix the test 3"]


def test_fake_repositories(capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(snippet("Fake repositories", "python"), "README", "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    assert printed == ["42", "https://github.com/acme/calc", "['fix', 'main'] fix print(6 * 7)"]


def test_emulator_quickstart(capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(snippet("The emulator", "python"), "README", "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "/workspace"
    assert "Prompt: Fix the test" in printed[2]
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+ \w+", printed[-1])


@pytest.mark.skipif(shutil.which("curl") is None, reason="README's shell example needs curl, and there is none here")
def test_server_quickstart(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    script = snippet("The emulator", "bash").replace("4747", str(port))
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "NO_PROXY": "*"}
    done = subprocess.run(
        ["bash", "-m", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
    )
    created, listed = [json.loads(line) for line in re.findall(r"\[\{.*?\}\]|\{.*?\}", done.stdout)]
    assert created["status"] == "running", done.stderr
    assert [box["id"] for box in listed] == [created["id"]]
    assert "stopping" in done.stderr


# Two emulators and at least six interpreters, one after the other: some 3 s where nothing else runs.
def test_around_any_command(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    script = snippet("Around any command", "bash").replace("serve", f"serve --port {port}")
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "CAGED_EMULATOR_LOCATOR_DIR": str(tmp_path / "locators"),
    }
    done = subprocess.run(
        ["bash", "-c", f"trap 'kill $(jobs -p) 2>/dev/null' EXIT; {script}; wait"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    status, _header, listed, name, stopped = done.stdout.splitlines()
    assert (status, name) == ("running", "emulator"), done.stderr
    assert f"http://127.0.0.1:{port}" in listed
    assert stopped.startswith(f"stopped http://127.0.0.1:{port}")


def test_fixtures_quickstart(tmp_path: Path) -> None:
    (tmp_path / "test_readme_example.py").write_text(snippet("The pytest fixtures", "python"), encoding="utf-8")
    done = fork_server.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "2 passed" in done.stdout, done.stdout + done.stderr
