"""Which target a run has, where that is said, and what the header shows."""

from __future__ import annotations

from typing import Optional

import pytest

from caged._constants import DEFAULT_BASE_URL
from caged.pytest_plugin._target import LIVE_BASE_URL

NOTHING = "def test_nothing(): pass"


@pytest.fixture
def suite_isolation() -> None:
    """The plugin's default."""


@pytest.mark.parametrize(
    ("option", "environment", "ini", "target"),
    [
        (None, None, None, "emulator"),
        (None, None, "live", "live"),
        (None, "emulator", "live", "emulator"),
        (None, "live", None, "live"),
        (None, "", "live", "live"),
        ("emulator", "live", "live", "emulator"),
        ("live", "emulator", "emulator", "live"),
    ],
)
def test_option_wins_over_environment_and_environment_over_ini(
    run_suite,
    pytester,
    monkeypatch,
    option: Optional[str],
    environment: Optional[str],
    ini: Optional[str],
    target: str,
) -> None:
    if environment is not None:
        monkeypatch.setenv("CAGED_TARGET", environment)
    if ini is not None:
        pytester.makeini(f"[pytest]\ncaged_target = {ini}")
    result = run_suite(NOTHING, *([f"--caged-target={option}"] if option else []))
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines([f"caged: target={target}, *"])


def test_unknown_target_is_a_usage_error_that_names_the_choices(run_suite, monkeypatch) -> None:
    monkeypatch.setenv("CAGED_TARGET", "prod")
    result = run_suite(NOTHING)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*'prod', from CAGED_TARGET*neither emulator nor live*"])


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--caged-api-key=x"], "--caged-api-key has no effect on the emulator*add --caged-target=live"),
        (["--caged-emulator-admin-key=x"], "--caged-emulator-admin-key has no effect without --caged-emulator-url"),
    ],
)
def test_key_without_effect_is_a_usage_error(run_suite, options, text) -> None:
    result = run_suite(NOTHING, *options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{text}*"])


# With the target by an option: test_plugin_options.py.
@pytest.mark.parametrize("option", ["--caged-emulator-url", "--caged-emulator-admin-key"])
def test_emulator_named_for_a_live_run_is_a_usage_error(run_suite, monkeypatch, option) -> None:
    monkeypatch.setenv("CAGED_TARGET", "live")
    result = run_suite(NOTHING, f"{option}=http://127.0.0.1:1")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{option} has no effect on a live run*remove it*--caged-target=emulator*"])


def test_emulator_of_the_environment_does_not_prevent_a_live_run(run_suite, monkeypatch) -> None:
    monkeypatch.setenv("CAGED_EMULATOR_URL", "http://127.0.0.1:1")
    run_suite(NOTHING, "--caged-target=live").assert_outcomes(passed=1)


@pytest.mark.parametrize("workers", ["-n0", "-n1"])
def test_key_beside_a_named_target_is_not_an_error(run_suite, workers) -> None:
    run_suite(NOTHING, "--caged-api-key=x", "--caged-target=emulator", workers).assert_outcomes(passed=1)
    run_suite(NOTHING, "--caged-api-key=x", "--caged-target=live", workers).assert_outcomes(passed=1)


def test_header_names_the_configured_isolation(run_suite) -> None:
    run_suite(NOTHING).stdout.fnmatch_lines(["caged: target=emulator, isolation=auto"])
    result = run_suite(NOTHING, "--caged-isolation=process")
    result.stdout.fnmatch_lines(["caged: target=emulator, isolation=process"])


@pytest.mark.parametrize("source", ["option", "environment", "ini"])
def test_isolation_is_passed_to_the_emulator(run_suite, pytester, monkeypatch, source: str) -> None:
    options = []
    if source == "option":
        options = ["--caged-isolation=no-such-level"]
    elif source == "environment":
        monkeypatch.setenv("CAGED_ISOLATION", "no-such-level")
    else:
        pytester.makeini("[pytest]\ncaged_isolation = no-such-level")
    result = run_suite("def test_level(caged_emulator): pass", *options)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["caged: *isolation=no-such-level", "E *no-such-level*"])


def test_live_header_shows_the_base_url(run_suite, monkeypatch) -> None:
    monkeypatch.setenv("CAGED_BASE_URL", "https://from.environment/")
    run_suite(NOTHING, "--caged-target=live").stdout.fnmatch_lines(
        ["caged: target=live, base_url=https://from.environment"]
    )
    run_suite(NOTHING, "--caged-target=live", "--caged-base-url=https://from.option").stdout.fnmatch_lines(
        ["caged: target=live, base_url=https://from.option"]
    )


def test_live_base_url_is_the_default_of_the_sdk() -> None:
    assert LIVE_BASE_URL == DEFAULT_BASE_URL


def test_live_without_a_key_says_what_to_do_at_the_first_use(run_suite) -> None:
    result = run_suite(NOTHING + "\ndef test_use(caged): pass", "--caged-target=live")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*UsageError: --caged-target=live needs an API key: pass --caged-api-key*"])


def test_the_shells_live_settings_do_not_reach_an_emulator_run(run_suite, monkeypatch) -> None:
    monkeypatch.setenv("CAGED_API_KEY", "caged_sk_of_the_developer")
    monkeypatch.setenv("CAGED_BASE_URL", "https://api.invalid")
    result = run_suite(
        """
        from caged import Caged
        def test_own_client(caged):
            with Caged() as own:
                made = own.sandboxes.create()
            assert [box.id for box in caged.sandboxes.list()] == [made.id]
        """
    )
    result.assert_outcomes(passed=1)
