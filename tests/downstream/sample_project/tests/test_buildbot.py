"""The bot creates its own clients: the tests need the `caged` fixture only for its environment variables."""

import asyncio

import pytest
from buildbot import build, build_all

PASSING = {
    "test_sum.py": """
import unittest

class Sum(unittest.TestCase):
    def test(self):
        self.assertEqual(1 + 1, 2)
"""
}


@pytest.mark.usefixtures("caged")
def test_passing_build_shows_its_log():
    done = build(PASSING, "python3 -m unittest")
    assert done.passed
    assert "Ran 1 test" in done.log


@pytest.mark.caged_emulator_only
def test_passing_build_keeps_nothing(caged):
    build({}, "true")
    assert caged.sandboxes.list() == []


def test_failed_build_keeps_sandbox_and_snapshot(caged):
    done = build({"broken.py": "raise SystemExit('no good')"}, "python3 broken.py")
    assert not done.passed
    assert "no good" in done.log
    snapshot = caged.snapshots.get(done.snapshot_id)
    assert snapshot.name == "failed-build"
    assert caged.files.read(snapshot.sandbox_id, "broken.py").startswith("raise")


@pytest.mark.parametrize("stage", ["test", "staging", "production"])
@pytest.mark.usefixtures("caged")
def test_build_gets_environment_variables(stage):
    assert build({}, "echo stage=$STAGE", env={"STAGE": stage}).log == f"stage={stage}\n"


@pytest.mark.usefixtures("async_caged")
def test_concurrent_builds_have_separate_output():
    builds = asyncio.run(build_all([f"echo build {n}" for n in range(5)] + ["exit 3"]))
    assert [done.log for done in builds] == [*(f"build {n}\n" for n in range(5)), ""]
    assert [done.passed for done in builds] == [True] * 5 + [False]


@pytest.mark.caged_emulator_only
def test_account_is_fresh(caged):
    assert caged.sandboxes.list() == []
    assert build({}, "false").snapshot_id
    assert len(caged.sandboxes.list()) == 1
