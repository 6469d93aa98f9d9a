"""A suite uses an emulator that runs already, in place of its own, and leaves nothing there."""

import os
import subprocess
import sys
from pathlib import Path

from caged.emulator import Emulator

SUITE = """
def test_where(caged, caged_emulator, caged_sandbox):
    print("used", caged_emulator.base_url, len(caged.sandboxes.list()))
"""


def test_a_suite_attaches(tmp_path: Path) -> None:
    (tmp_path / "test_where.py").write_text(SUITE)
    with Emulator() as emulator:
        where = {"CAGED_EMULATOR_URL": emulator.base_url, "CAGED_EMULATOR_ADMIN_KEY": emulator.admin_key}
        command = [sys.executable, "-m", "pytest", "-q", "-rP"]
        done = subprocess.run(
            command, cwd=tmp_path, env={**os.environ, **where}, capture_output=True, text=True, timeout=60
        )
        assert f"used {emulator.base_url} 1" in done.stdout, done.stdout + done.stderr
        assert emulator.inventory.sandboxes(account="*") == []
