"""The suite of a project with the plugin passes on both targets, with several workers and in random order."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fork_server
import pytest

from caged import Caged

SAMPLE = Path(__file__).parent / "sample_project"


@pytest.fixture
def run_sample(tmp_path: Path) -> Any:
    """Run the suite in a copy of the sample project. Returns pytest's output and the counts of its last line."""
    project = tmp_path / "sample_project"
    shutil.copytree(SAMPLE, project, ignore=shutil.ignore_patterns("__pycache__"))
    temp = tmp_path / "temp"
    temp.mkdir()

    def run(workers: int, *options: str) -> tuple[str, dict[str, int]]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CAGED_")}
        done = fork_server.run(
            [sys.executable, "-m", "pytest", "-n", str(workers), "-p", "randomly", *options],
            cwd=project,
            env={**environment, "TMPDIR": str(temp), "CAGED_RUNS_DIR": str(temp / "runs")},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        assert "Using --randomly-seed=" in done.stdout
        assert list(temp.glob("caged*")) == []
        last = done.stdout.strip().splitlines()[-1]
        return done.stdout, {what: int(count) for count, what in re.findall(r"(\d+) (\w+)", last)}

    return run


def test_sample_project_passes_against_the_emulator(run_sample: Any) -> None:
    output, counts = run_sample(2)
    assert "caged: target=emulator, isolation=" in output
    assert (counts["passed"], counts["skipped"]) == (25, 1)
    assert "caged_live_only: needs the real API" in output
    assert "caged: left open" in output
    assert "test_failed_build_keeps_sandbox_and_snapshot:\n  sandbox cage_" in output


@pytest.fixture
def real_api() -> Iterator[tuple[Caged, tuple[str, ...]]]:
    """A second emulator in place of the real API: the client of its owner, and the options of a run."""
    from caged.emulator import Emulator

    with Emulator() as emulator, emulator.client() as owner:
        url, key = f"--caged-base-url={emulator.base_url}", f"--caged-api-key={emulator.api_key}"
        yield owner, ("--caged-target=live", url, key)


def test_sample_project_passes_live_and_destroys_only_own_sandboxes(run_sample: Any, real_api: Any) -> None:
    owner, options = real_api
    sandbox = owner.sandboxes.create(template="python")
    owner.files.write(sandbox.id, "precious.txt", "mine")
    snapshot = owner.snapshots.wait(owner.snapshots.create(sandbox.id, name="precious").id, timeout=30)
    keys = [key.id for key in owner.account.list_keys()]

    output, counts = run_sample(2, *options)

    assert "caged: target=live, base_url=http://127.0.0.1:" in output
    assert (counts["passed"], counts["skipped"]) == (14, 12)
    assert "caged_emulator_only: needs the emulator" in output
    assert [found.id for found in owner.sandboxes.list()] == [sandbox.id]
    assert owner.sandboxes.get(sandbox.id).status == "running"
    assert owner.files.read(sandbox.id, "precious.txt") == "mine"
    assert [found.id for found in owner.snapshots.list(sandbox.id)] == [snapshot.id]
    assert [key.id for key in owner.account.list_keys()] == keys
