"""--caged-keep-failed: a look at what a failed test had."""

from __future__ import annotations

import shlex
import stat
import sys
import tarfile
from typing import Any

import fork_server
import pytest

from caged import Caged

SOURCE = """
    import pytest

    def test_passes(caged_sandbox): pass

    @pytest.mark.parametrize("what", ["a b"])
    def test_fails(caged, caged_sandbox, what):
        caged.files.write(caged_sandbox.id, "left.txt", "for a look")
        assert 0

    def test_fails_without_sandbox(caged): assert 0
"""


def kept(result: pytest.RunResult) -> list[str]:
    return [line.strip() for line in result.outlines if "caged-emulator shell" in line]


def test_a_shell_opens_in_what_a_failed_test_left(run_suite, pytester, running) -> None:
    """A suite runs, and then an emulator of its own for the look."""
    result = run_suite(SOURCE, "--caged-keep-failed", cache=True)
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(["-* caged: sandboxes of failed tests -*", "*::test_fails[[]a b]:"])
    (command,) = kept(result)
    words = shlex.split(command)
    archive = words[words.index("--from") + 1]
    assert archive.startswith(str(pytester.path))
    (directory,) = pytester.path.glob(".pytest_cache/d/caged/kept")
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    looked = fork_server.run(
        [sys.executable, "-m", "caged.emulator", *words[1:]],
        input="cat /workspace/left.txt; echo; cat left.txt\n",
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert looked.returncode == 0, looked.stderr
    assert "for a look" in looked.stdout
    assert running(archive) == []

    run_suite(None, "--caged-keep-failed", "-k", "test_passes", cache=True).assert_outcomes(passed=1)
    assert list(pytester.path.glob(".pytest_cache/d/caged/kept/*")) == []


def test_sandbox_of_a_shared_emulator_is_kept_too(run_suite) -> None:
    result = run_suite(SOURCE, "--caged-keep-failed", "-n1", "--caged-shared", "-k", "test_fails", cache=True)
    result.assert_outcomes(failed=2)
    (command,) = kept(result)
    words = shlex.split(command)
    with tarfile.open(words[words.index("--from") + 1]) as archive:
        (name,) = [name for name in archive.getnames() if name.endswith("/workspace.tar")]
        with tarfile.open(fileobj=archive.extractfile(name)) as workspace:
            assert "./left.txt" in workspace.getnames()


def test_nothing_is_kept_without_the_option(run_suite, pytester) -> None:
    result = run_suite(SOURCE, cache=True)
    assert kept(result) == []
    assert list(pytester.path.glob(".pytest_cache/d/caged/**/*")) == []


def test_keep_failed_without_the_cache_plugin_is_a_usage_error(run_suite) -> None:
    result = run_suite(SOURCE, "--caged-keep-failed")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--caged-keep-failed keeps sandboxes in pytest's cache directory*"])


def test_live_runs_leave_the_sandboxes_and_say_how_to_sweep(run_suite, api: Caged, live: Any) -> None:
    result = run_suite(SOURCE, "--caged-keep-failed", *live, cache=True)
    result.assert_outcomes(passed=1, failed=2)
    (box,) = api.sandboxes.list()
    assert api.files.read(box.id, "left.txt") == "for a look"
    assert kept(result) == [f"{live[1].replace('--caged-base-url', 'CAGED_BASE_URL')} caged-emulator shell {box.id}"]
    result.stdout.fnmatch_lines(["*caged-emulator sweep --live --run run_* --destroy"])
