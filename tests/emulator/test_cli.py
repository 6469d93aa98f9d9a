"""The `caged-emulator` command as a whole, and `doctor`."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from cli_testing import run


def test_doctor_tells_isolation_and_templates(env):
    done = run("doctor", env=env)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"^  process +yes ", done.stdout, re.MULTILINE)
    assert "in use: " in done.stdout
    for template in ("minimal", "node-20", "node-22", "python-311", "python-312", "go-122", "desktop"):
        assert re.search(rf"^  {template} ", done.stdout, re.MULTILINE)
    assert "sandboxes live in: /" in done.stdout


def test_doctor_works_where_there_is_no_place_for_sandboxes_and_no_program(env, tmp_path):
    done = run("doctor", env={**env, "PATH": "/nonexistent", "TMPDIR": str(tmp_path)})
    assert done.returncode == 0
    assert "no node" in done.stdout


@pytest.mark.parametrize(
    "arguments", [["--help"], ["-h"], ["serve", "--help"], ["doctor", "--help"], ["demo", "--help"]]
)
def test_help_is_there_for_every_command(env, arguments):
    done = run(*arguments, env=env)
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: caged-emulator")


def test_the_version_is_the_packages(env):
    from caged import __version__

    assert run("--version", env=env).stdout == f"caged-emulator, version {__version__}\n"


def test_an_unknown_command_is_a_usage_error(env):
    done = run("server", env=env)
    assert done.returncode == 2
    assert "server" in done.stderr


def test_the_installed_script_is_the_same_command(env):
    script = Path(sys.executable).parent / "caged-emulator"
    if not script.exists():
        pytest.skip("the package is not installed with its scripts here")
    done = subprocess.run([str(script), "--version"], capture_output=True, text=True, env=env, check=False, timeout=30)
    assert done.stdout.startswith("caged-emulator, version")
