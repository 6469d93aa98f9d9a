"""python benchmarks/trace.py: what `--caged-trace=retain-on-failure` costs a suite that passes, against `off`."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from _timing import Row, alternate, report

ROUNDS = 9
TESTS = 60
SUITE = """
import pytest

@pytest.mark.parametrize("number", range({tests}))
def test_quick(caged, caged_emulator, caged_sandbox, number):
    caged.files.write(caged_sandbox.id, "number.txt", str(number))
    assert caged.sandboxes.exec(caged_sandbox.id, "cat number.txt").output == str(number)
    assert [box.id for box in caged.sandboxes.list()] == [caged_sandbox.id]
"""


def pytest(folder: str, *options: str) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", *options, folder]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder, check=False)
    if done.returncode:
        raise SystemExit(done.stdout)


def main() -> int:
    for name in [name for name in os.environ if name.startswith("CAGED_")]:
        del os.environ[name]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        (Path(folder) / "test_quick.py").write_text(SUITE.format(tests=TESTS), encoding="utf-8")
        ours, theirs = alternate(
            ROUNDS,
            lambda: pytest(folder, "--caged-trace=retain-on-failure"),
            lambda: pytest(folder, "--caged-trace=off"),
            warm=1,
        )
    return report([Row(f"{TESTS} tests that pass", ours, theirs, "--caged-trace=off", 1.1)])


if __name__ == "__main__":
    sys.exit(main())
