"""Every option of the plugin, for the emulator and for a live run: it has an effect, or it is a usage error."""

from __future__ import annotations

from typing import Optional

import pytest
from click.testing import CliRunner

import caged.pytest_plugin as plugin
from caged.emulator.cli import COMMANDS, main
from caged.emulator.config import EmulatorConfig
from caged.emulator.control.description import options_of

NOTHING = "def test_nothing(): pass"
EFFECT, ERROR = "has an effect", "is a usage error"

#: option -> a value, then what it is: with no target named, on a named emulator, in a live run.
#: A key or URL of live runs may stay on the command line while `--caged-target` switches between the two.
OPTIONS: dict[str, tuple[str, str, str, str]] = {
    "--caged-target": ("", EFFECT, EFFECT, EFFECT),
    "--caged-api-key": ("key", ERROR, EFFECT, EFFECT),
    "--caged-base-url": ("http://127.0.0.1:1", ERROR, EFFECT, EFFECT),
    "--caged-isolation": ("process", EFFECT, EFFECT, ERROR),
    "--caged-emulator-url": ("http://127.0.0.1:1", EFFECT, EFFECT, ERROR),
    "--caged-emulator-admin-key": ("key", ERROR, ERROR, ERROR),  # without a URL
    "--caged-shared": ("", EFFECT, EFFECT, ERROR),
    "--caged-leaks": ("warn", EFFECT, EFFECT, EFFECT),
    "--caged-unused": ("warn", EFFECT, EFFECT, ERROR),
    "--caged-keep-failed": ("", EFFECT, EFFECT, EFFECT),
    "--caged-trace": ("on", EFFECT, EFFECT, EFFECT),
    "--caged-trace-dir": ("traces", EFFECT, EFFECT, EFFECT),
    "--caged-report": ("full", EFFECT, EFFECT, EFFECT),
}
FLAGS = ("--caged-shared", "--caged-keep-failed")
#: Environment and ini file may have settings for both targets: what a live run does not use, its header names.
ELSEWHERE = {
    "CAGED_ISOLATION": ("environment", "process"),
    "CAGED_EMULATOR_URL": ("environment", "http://127.0.0.1:1"),
    "CAGED_EMULATOR_ADMIN_KEY": ("environment", "key"),
    "CAGED_UNUSED": ("environment", "warn"),
    "caged_isolation": ("ini", "process"),
    "caged_shared": ("ini", "true"),
    "caged_unused": ("ini", "warn"),
}
USED_IN_LIVE_RUNS = {
    "CAGED_LEAKS": ("environment", "warn"),
    "caged_leaks": ("ini", "warn"),
    "CAGED_TRACE": ("environment", "off"),
    "caged_trace": ("ini", "off"),
    "CAGED_TRACE_DIR": ("environment", "traces"),
    "caged_trace_dir": ("ini", "traces"),
    "CAGED_REPORT": ("environment", "full"),
    "caged_report": ("ini", "full"),
}


@pytest.fixture
def suite_isolation() -> None:
    """The plugin's default."""


class Parser:
    """Records what the plugin adds to pytest's parser."""

    def __init__(self) -> None:
        self.options: list[str] = []
        self.ini: list[str] = []

    def getgroup(self, name: str, description: str) -> Parser:
        return self

    def addoption(self, name: str, **details: object) -> None:
        self.options.append(name)

    def addini(self, name: str, *help: str, **details: object) -> None:
        self.ini.append(name)


def test_tables_name_every_option_and_every_ini_setting() -> None:
    parser = Parser()
    plugin.pytest_addoption(parser)  # type: ignore[arg-type]
    assert set(parser.options) == set(OPTIONS)
    assert set(parser.ini) == {"caged_target"} | {
        name for name, (source, _) in {**ELSEWHERE, **USED_IN_LIVE_RUNS}.items() if source == "ini"
    }


TARGETS = (None, "emulator", "live")


def given(expected: str, target: Optional[str]) -> dict[str, str]:
    """The words for the options that are expected to have an effect, or to be an error, by option."""
    return {
        option: option if option in FLAGS else f"{option}={value}"
        for option, (value, *results) in OPTIONS.items()
        if option != "--caged-target" and results[TARGETS.index(target)] == expected
    }


@pytest.mark.parametrize("target", TARGETS)
def test_options_that_have_an_effect_on_the_target_are_accepted(run_suite, target) -> None:
    words = given(EFFECT, target).values()
    result = run_suite(NOTHING, *words, *([f"--caged-target={target}"] if target else []), cache=True)
    result.assert_outcomes(passed=1)
    assert not result.stderr.lines


@pytest.mark.parametrize(
    ("target", "option"), [(target, option) for target in TARGETS for option in given(ERROR, target)]
)
def test_option_that_has_no_effect_on_the_target_is_a_usage_error(run_suite, option, target) -> None:
    words = [given(ERROR, target)[option], *([f"--caged-target={target}"] if target else [])]
    result = run_suite(NOTHING, *words, cache=True)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    what_to_do = "*remove it, or use --caged-target=emulator*" if target == "live" else "*; add *"
    result.stderr.fnmatch_lines([f"*{option} has no effect {what_to_do}"])


@pytest.mark.parametrize(
    ("option", "source"),
    [("--caged-isolation=process", "environment"), ("--caged-shared", "ini"), ("--caged-unused=error", "environment")],
)
def test_option_of_the_emulator_is_an_error_wherever_the_live_target_comes_from(
    run_suite, pytester, monkeypatch, option, source
) -> None:
    if source == "environment":
        monkeypatch.setenv("CAGED_TARGET", "live")
    else:
        pytester.makeini("[pytest]\ncaged_target = live")
    result = run_suite(NOTHING, option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{option.split('=')[0]} has no effect on a live run*the ini option*may stay*"])


@pytest.mark.parametrize(("option", "workers"), [("--caged-isolation=process", "-n1"), ("--caged-shared", "-n0")])
def test_option_of_the_emulator_in_addopts_is_an_error_under_xdist_too(run_suite, pytester, option, workers) -> None:
    pytester.makeini(f"[pytest]\naddopts = {option}")
    assert run_suite(NOTHING, "--caged-target=live", workers).ret == pytest.ExitCode.USAGE_ERROR


@pytest.mark.parametrize("source", ["environment", "ini"])
@pytest.mark.parametrize("has_effect", [False, True])
def test_header_of_a_live_run_names_settings_without_effect(
    run_suite, pytester, monkeypatch, source: str, has_effect: bool
) -> None:
    table = USED_IN_LIVE_RUNS if has_effect else ELSEWHERE
    settings = {name: value for name, (where, value) in table.items() if where == source}
    if source == "environment":
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
    else:
        pytester.makeini("[pytest]\n" + "".join(f"{name} = {value}\n" for name, value in settings.items()))
    result = run_suite(NOTHING, "--caged-target=live")
    result.assert_outcomes(passed=1)
    named = [
        line.partition(": without effect in a live run: ")[2] for line in result.outlines if "without effect in" in line
    ]
    if has_effect:
        assert named == []
    else:
        (names,) = named
        assert sorted(names.split(", ")) == sorted(f"{name} (ini)" if source == "ini" else name for name in settings)


def test_header_of_an_emulator_run_names_no_setting_without_effect(run_suite, pytester, monkeypatch) -> None:
    monkeypatch.setenv("CAGED_ISOLATION", "process")
    pytester.makeini("[pytest]\ncaged_shared = true\ncaged_unused = warn")
    run_suite(NOTHING).stdout.no_fnmatch_line("caged: without effect*")


# --- settings of the emulator, for each command

STARTS_WITH_SETTINGS = {"serve", "exec"}
#: Options of other commands that have the name of a setting, and another meaning: which emulator to control.
NAMES_AN_EMULATOR = {"--port", "--admin-key"}
#: Commands that use an API, and take its key.
USES_AN_API = {("sweep", "--api-key"), ("verify", "--api-key")}


def flags() -> list[str]:
    return [one.flag.split("/")[0] or f"--{one.name.replace('_', '-')}" for one in options_of(EmulatorConfig)]


@pytest.mark.parametrize("flag", flags())
def test_setting_of_the_emulator_is_refused_by_commands_that_do_not_use_it(flag) -> None:
    for name in COMMANDS:
        if name in STARTS_WITH_SETTINGS or (name, flag) in USES_AN_API or flag in NAMES_AN_EMULATOR:
            continue
        done = CliRunner().invoke(main, [name, flag, "1"])
        assert done.exit_code == 2, (name, flag, done.output)
        assert "No such option" in done.output or "Missing argument" in done.output, (name, flag, done.output)


@pytest.mark.parametrize("command", [["serve"], ["exec", "--", "true"]])
@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--no-limits", "--memory-limit", "sandbox"], "memory_limit: 'sandbox' has no effect with limits off"),
        (["--isolation", "chroot"], "'chroot' is not one of"),
    ],
)
def test_settings_that_exclude_each_other_are_a_usage_error(command, options, text) -> None:
    done = CliRunner().invoke(main, [command[0], *options, *command[1:]])
    assert done.exit_code == 2, done.output
    assert text in done.output
