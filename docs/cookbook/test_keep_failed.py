"""The sandboxes of a failed test are kept, for a shell in them afterwards."""

import re
import subprocess
import sys
from pathlib import Path

SUITE = """
def test_build(caged, caged_sandbox):
    caged.files.write(caged_sandbox.id, "build.log", "all is lost")
    assert caged.sandboxes.exec(caged_sandbox.id, "test -e app").ok
"""


def test_what_a_failed_test_left_can_be_looked_at(tmp_path: Path) -> None:
    (tmp_path / "test_build.py").write_text(SUITE)
    command = [sys.executable, "-m", "pytest", "-q", "--caged-keep-failed"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    found = re.search(r"caged-emulator (shell \S+ --from \S+)", done.stdout)
    assert found, done.stdout + done.stderr
    command = [sys.executable, "-m", "caged.emulator", *found.group(1).split()]
    shell = subprocess.run(
        command, cwd=tmp_path, input="cat build.log\nexit\n", capture_output=True, text=True, timeout=60
    )
    assert "all is lost" in shell.stdout, shell.stdout + shell.stderr
