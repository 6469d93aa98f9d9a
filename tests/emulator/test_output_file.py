"""Commands that write a file do not replace what is not a regular file, such as a device of the machine."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest
from cli_testing import run

from caged.emulator.trace.file import Trace, TraceHeader


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "trace.jsonl"
    Trace(TraceHeader(title="test", outcome="passed"), []).write(path)
    return path


@pytest.mark.parametrize("kind", ["pipe", "link to a device"])
@pytest.mark.parametrize("command", ["export", "trace export", "trace record", "serve"])
def test_output_that_is_not_a_regular_file_stays(
    command: str, kind: str, trace: Path, tmp_path: Path, env: dict[str, str], emulator: Any
) -> None:
    target = tmp_path / "target.jsonl"
    if kind == "pipe":
        os.mkfifo(target)
    else:
        target.symlink_to("/dev/null")
    words = {
        "export": ["export", str(target)],
        "trace export": ["trace", "export", "--otlp", str(target), str(trace)],
        "trace record": ["trace", "record", "-o", str(target), "--", "true"],
        "serve": ["serve", "--port", "0", "--ready-file", str(target)],
    }[command]
    reached = {"CAGED_EMULATOR_URL": emulator.base_url, "CAGED_EMULATOR_ADMIN_KEY": emulator.admin_key}
    done = run(*words, env={**env, **reached})
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert "not a regular file" in done.stderr or "not a trace" in done.stderr, done.stderr
    left = target.lstat().st_mode
    assert stat.S_ISFIFO(left) if kind == "pipe" else stat.S_ISLNK(left)
    assert not list(tmp_path.glob(".target*")), "a part of the file was left"
