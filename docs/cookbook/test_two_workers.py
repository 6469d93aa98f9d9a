"""Two workers of pytest-xdist use one emulator, and each test still has an account of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("xdist", reason="two workers need pytest-xdist")

SUITE = """
import pytest

@pytest.mark.parametrize("number", range(4))
def test_alone(caged, caged_emulator, number):
    caged_emulator.faults.add("sandboxes.exec", unreachable=True, times=1)
    box = caged.sandboxes.create()
    assert [one.id for one in caged.sandboxes.list()] == [box.id]
    assert not caged.sandboxes.exec(box.id, "true").ok
"""


def test_one_emulator_is_enough(tmp_path: Path) -> None:
    (tmp_path / "test_alone.py").write_text(SUITE)
    pytest_command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "--caged-shared"]
    done = subprocess.run(pytest_command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert "4 passed" in done.stdout, done.stdout + done.stderr
