"""The `caged-emulator` command as a whole, and `doctor`."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from cases import each
from cli_testing import call, run
from python_programs import other_version, python_with_pip

from caged.emulator import EmulatorConfig
from caged.emulator.cli import COMMANDS, main


def test_doctor_reports_isolation_and_templates(env):
    done = run("doctor", env=env)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"^  process +yes ", done.stdout, re.MULTILINE)
    assert "in use: " in done.stdout
    for template in ("minimal", "node-20", "node-22", "python-311", "python-312", "go-122", "desktop"):
        assert re.search(rf"^  {template} ", done.stdout, re.MULTILINE)
    assert "sandboxes live in: /" in done.stdout


def test_doctor_with_json_prints_the_values_of_its_report(env):
    done = run("doctor", "--json", env={**env, "PATH": "/nonexistent"})  # no program of a template has to start
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    levels = {one["level"]: one["works"] for one in report["isolation"]}
    assert list(levels) == ["namespace", "bwrap", "process"]
    assert levels["process"] is True
    assert report["isolation_in_use"] is None or levels[report["isolation_in_use"]]
    assert {one["template"] for one in report["templates"]} >= {"minimal", "python-312", "desktop"}
    assert set(report["limits"]) == {"memory_mb", "cpus", "disk_gb", "processes"}
    assert report["directory"].startswith("/")


def test_doctor_works_where_there_is_no_place_for_sandboxes_and_no_program(env, tmp_path):
    done = run("doctor", env={**env, "PATH": "/nonexistent", "TMPDIR": str(tmp_path)})
    assert done.returncode == 0
    assert "no node" in done.stdout


@pytest.mark.parametrize(("pip", "said"), [("24.3.1", "pip 24.3 is older than 25.0"), ("25.0", ""), ("", "")])
def test_doctor_says_of_which_template_downloads_are_not_kept(env, tmp_path, pip, said):
    done = run("doctor", "--json", env={**env, "PATH": python_with_pip(tmp_path, pip)})
    version = other_version()
    (found,) = (one for one in json.loads(done.stdout)["templates"] if version in one["programs"].split("(")[0])
    assert found["exact"] is True
    assert found["downloads_not_kept"].startswith(said)
    assert bool(found["downloads_not_kept"]) == bool(said)


def test_doctor_shows_that_downloads_are_not_kept(env, tmp_path):
    done = run("doctor", env={**env, "PATH": python_with_pip(tmp_path, "24.3.1")})
    shown = rf"Python {re.escape(other_version())}\.1 .*\n +downloads of packages are not kept: pip 24\.3 is older"
    assert re.search(shown, done.stdout)


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_lists_every_command_with_what_it_does(env, option):
    done = run(option, env=env)
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: caged-emulator")
    listed = done.stdout.split("Commands:\n")[1].splitlines()
    assert [line.split()[0] for line in listed] == sorted(COMMANDS)
    assert all(len(line.split()) > 3 for line in listed)


@each("name", COMMANDS)
def test_help_is_there_for_every_command(name):
    said = call(name, "--help")
    assert said.returncode == 0
    assert said.stdout.startswith(f"Usage: caged-emulator {name}")


def test_a_command_is_loaded_without_the_others():
    code = (
        "import sys, click; from caged.emulator.cli import main; main.get_command(click.Context(main), 'env');"
        " print(*sorted(name for name in sys.modules if name.startswith('caged.emulator.cli.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["caged.emulator.cli.env", "caged.emulator.cli.target"]


@pytest.mark.parametrize(("name", "own"), [("serve", {"ready_file", "verbose"}), ("exec", {"words", "verbose"})])
def test_a_command_that_starts_an_emulator_has_every_setting_of_one(name, own):
    command = main.get_command(click.Context(main), name)
    settings = {field.name for field in dataclasses.fields(EmulatorConfig)}
    assert {option.name for option in command.params} == settings | own


@pytest.mark.parametrize("name", ["serve", "exec"])
def test_option_that_is_not_given_has_the_default_of_the_config(name):
    command = main.get_command(click.Context(main), name)
    context = command.make_context(name, ["true"] if name == "exec" else [])
    settings = {key: context.params[key] for key in (field.name for field in dataclasses.fields(EmulatorConfig))}
    assert EmulatorConfig.make(**{**settings, "port": 0}) == EmulatorConfig.make()


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
    done = subprocess.run([str(script), "--version"], capture_output=True, text=True, env=env, check=False, timeout=60)
    assert done.stdout.startswith("caged-emulator, version")
