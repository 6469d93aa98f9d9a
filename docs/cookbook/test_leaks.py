"""A test that leaves a sandbox open is named, and fails when you want it to."""

import subprocess
import sys
from pathlib import Path

SUITE = """
def test_tidy(caged):
    caged.sandboxes.destroy(caged.sandboxes.create().id)

def test_untidy(caged):
    caged.sandboxes.create()
"""


def test_the_untidy_one_is_named(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(SUITE)
    command = [sys.executable, "-m", "pytest", "-q", "--caged-leaks=error"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert "2 passed, 1 error" in done.stdout, done.stdout + done.stderr
    assert "ERROR test_it.py::test_untidy" in done.stdout
