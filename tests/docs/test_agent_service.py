"""The agent service of the documentation: its own tests pass, in a project that uses the SDK."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import fork_server

SERVICE = Path(__file__).parents[2] / "docs/examples/agent_service"


def test_its_tests_pass_at_the_emulator(tmp_path: Path) -> None:
    for path in SERVICE.glob("*.py"):
        (tmp_path / path.name).write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    done = fork_server.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", "."],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    count = len(re.findall(r"^def test_", (SERVICE / "test_service.py").read_text(encoding="utf-8"), re.M))
    assert f"{2 * count} passed" in done.stdout, done.stdout + done.stderr
