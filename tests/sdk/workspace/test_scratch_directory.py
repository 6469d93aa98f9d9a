"""The directory of calls in progress, as the script makes it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from caged._workspace.scratch import MAKE_SCRATCH, SCRATCH


def make(scratch: Path, path: str = "/usr/bin:/bin") -> subprocess.CompletedProcess[str]:
    script = MAKE_SCRATCH.replace(SCRATCH, str(scratch)) + "echo made"
    return subprocess.run(["sh", "-c", script], env={"PATH": path}, capture_output=True, text=True, check=False)


def test_directory_is_for_its_owner_alone(tmp_path: Path) -> None:
    assert make(tmp_path / "scratch").stdout == "made\n"
    assert (tmp_path / "scratch").stat().st_mode & 0o777 == 0o700


def test_directory_that_another_call_makes_at_the_same_time_is_used(tmp_path: Path) -> None:
    # The other call's mkdir comes between the look and the mkdir of this one.
    slower = tmp_path / "bin" / "mkdir"
    slower.parent.mkdir()
    slower.write_text(f'#!/bin/sh\nPATH=/usr/bin:/bin\nmkdir -m 700 {tmp_path}/scratch 2>&-\nexec mkdir "$@"\n')
    slower.chmod(0o755)
    done = make(tmp_path / "scratch", f"{slower.parent}:/usr/bin:/bin")
    assert (done.stdout, done.stderr) == ("made\n", "")


def test_directory_that_cannot_be_made_fails_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = make(tmp_path / "file" / "scratch")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "Not a directory" in done.stderr
