"""Suites of users of the plugin, each run by a pytest process of its own (as the process's state matters)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Optional

import fork_server
import pytest
from leftovers import processes_with
from unused_plugins import leave_out_unused
from waiting import eventually

from caged import Caged

RunSuite = Callable[..., pytest.RunResult]


@pytest.fixture(autouse=True)
def no_settings_from_outside(
    monkeypatch: pytest.MonkeyPatch, pytester: pytest.Pytester, tmp_path_factory: pytest.TempPathFactory
) -> None:
    pytester.makeini("[pytest]")  # or pytest would look for settings in the directories above
    for name in list(os.environ):
        if name.startswith("CAGED_") and name != "CAGED_EMULATOR_LOCATOR_DIR":
            monkeypatch.delenv(name)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    for name in ("CI", "BUILD_NUMBER"):  # pytest prints whole messages in its summary where one of them is set
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CAGED_RUNS_DIR", str(tmp_path_factory.mktemp("runs")))


@pytest.fixture
def suite_isolation() -> Optional[str]:
    """The isolation of the suites' sandboxes, or None for the plugin's default.

    A run at level `process` takes a third less time, and the plugin has no part in what the levels differ in. Tests of
    which level is used have the default.
    """
    return "process"


@pytest.fixture
def interrupt_suite(eventually: Any, tmp_path: Path) -> Callable[..., str]:
    """Run pytest in a directory, press Ctrl-C once it is where the test wants it, and wait for its end."""

    def run(directory: Path, is_there: Callable[[], bool], *options: str) -> str:
        process = fork_server.Process(
            [sys.executable, "-m", "pytest", "-p", "no:randomly", *options],
            cwd=directory,
            env={**os.environ, "TMPDIR": str(tmp_path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            eventually(is_there, "the execs to run")
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the whole group
            output: str = process.communicate(timeout=60)[0]
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate(timeout=60)
        assert process.returncode == pytest.ExitCode.INTERRUPTED, output
        return output

    return run


@pytest.fixture
def run_suite(pytester: pytest.Pytester, suite_isolation: Optional[str]) -> RunSuite:
    """Run the given source as a test module: in the order written, with warnings as errors.

    In a fork of a process that has pytest, the plugin and the emulator imported; with `new_interpreter` in one that
    has to import them, for what depends on when that happens. `wrap`: a Python program and its arguments, which goes on
    as pytest.
    """

    def run(
        source: Optional[str],
        *options: str,
        cache: bool = False,
        strict: bool = True,
        new_interpreter: bool = False,
        wrap: Sequence[str] = (),
    ) -> pytest.RunResult:
        if source is not None:
            pytester.makepyfile(source)
        always = ("-p", "no:randomly", "-rA", *(("-W", "error", "--strict-markers") if strict else ()))
        uncached = () if cache else ("-p", "no:cacheprovider")
        if new_interpreter:
            return pytester.runpytest_subprocess(*always, *uncached, *options, timeout=100)
        env = {**os.environ, "PYTHONPATH": str(pytester.path)}
        is_elsewhere = any(option.startswith(("--caged-emulator-url", "--caged-target=live")) for option in options)
        if suite_isolation and not is_elsewhere and "CAGED_EMULATOR_URL" not in env:
            env.setdefault("CAGED_ISOLATION", suite_isolation)
        begun = time.monotonic()
        done = fork_server.run(
            [
                *wrap,
                sys.executable,
                "-m",
                "pytest",
                *always,
                *leave_out_unused(options),
                *uncached,
                f"--basetemp={pytester.path / 'basetemp'}",
                *options,
            ],
            cwd=pytester.path,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            timeout=100,
        )
        print(done.stdout, done.stderr, sep="\n")  # for the report, when the test fails
        return pytest.RunResult(
            done.returncode, done.stdout.splitlines(), done.stderr.splitlines(), time.monotonic() - begun
        )

    return run


@pytest.fixture
def running() -> Callable[[str], list[str]]:
    """The command lines of all processes of this machine that contain a text."""
    if not Path("/proc/self").exists():
        pytest.skip("looks for processes in /proc, which is not here")

    return lambda text: [found.partition(": ")[2] for found in processes_with(text)]


@pytest.fixture(name="eventually")
def eventually_() -> Callable[[Callable[[], bool], str], Any]:
    """Wait until a condition holds, 60 s at most."""
    return eventually


@pytest.fixture
def account(caged_factory: Any) -> Iterator[Any]:
    # Not caged_emulator: that sets CAGED_API_KEY and CAGED_BASE_URL, also for the suites that the test runs.
    with caged_factory.account("the owner") as account:
        yield account


@pytest.fixture
def api(account: Any) -> Iterator[Caged]:
    """The owner of the account, looking at the "real" API."""
    with Caged(account.api_key, account.base_url) as client:
        yield client


@pytest.fixture
def live(account: Any) -> tuple[str, ...]:
    """The options of a live run on that account. The emulator of our own run stands for the real API."""
    url = f"--caged-base-url={account.base_url}"
    return ("--caged-target=live", url, f"--caged-api-key={account.api_key}")
