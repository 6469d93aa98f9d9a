"""Every recipe of the cookbook, run as it stands; and docs/cookbook.md, which shows them."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import fork_server
import pytest
from cases import each
from cookbook import FOLDER, PAGE, THEMES, page

NAMES = [name for names in THEMES.values() for name in names.values()]
SUITES = [name for name in NAMES if name.startswith("test_")]
FORKS = "forked_interpreters"
INI = "[pytest]\nfilterwarnings = error\naddopts = --strict-markers --strict-config\n"


def environment() -> dict[str, str]:
    """As a user has it: what is installed comes first on PATH, and nothing leads to an emulator."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("CAGED_", "PYTEST_"))}
    own["CAGED_EMULATOR_LOCATOR_DIR"] = os.environ["CAGED_EMULATOR_LOCATOR_DIR"]
    if "CAGED_ISOLATION" in os.environ:
        own["CAGED_ISOLATION"] = os.environ["CAGED_ISOLATION"]
    return {**own, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONDONTWRITEBYTECODE": "1"}


def run(command: list[str], where: Path, limit: float = 60) -> subprocess.CompletedProcess[str]:
    start = fork_server.run if command[0] == sys.executable else subprocess.run
    return start(command, cwd=where, env=environment(), capture_output=True, text=True, timeout=limit)


def test_there_are_at_least_25_and_all_are_on_the_page() -> None:
    there = sorted(file.name for file in FOLDER.iterdir() if file.is_file())
    assert there == sorted(NAMES), "every file needs a theme in tests/docs/cookbook.py"
    assert len(there) >= 25


def test_the_page_is_not_stale() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run scripts/cookbook"


@each("name", NAMES)
def test_a_recipe_is_short(name: str) -> None:
    lines = [line for line in (FOLDER / name).read_text(encoding="utf-8").splitlines() if line.strip()]
    assert 5 <= len(lines) <= 30


@pytest.fixture(scope="session")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[ET.Element]]:
    """File -> its tests, from one pytest for all of them: the first of xdist's workers runs it, the others wait."""
    base = tmp_path_factory.getbasetemp()
    place = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cookbook"
    place.mkdir(exist_ok=True)
    report = place / "report.xml"
    with open(place / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not report.exists():
            (place / "pytest.ini").write_text(INI)
            options = ["-p", "no:cacheprovider", "-o", "junit_family=xunit1", f"--junitxml={report}"]
            if sys.platform == "linux":
                shutil.copy(Path(__file__).with_name(f"{FORKS}.py"), place)
                options += ["-p", FORKS]
            files = [str(FOLDER / name) for name in SUITES]
            command = [sys.executable, "-m", "pytest", "-c", "pytest.ini", "--rootdir", str(FOLDER), *options, *files]
            done = run(command, place, 240)
            assert report.exists(), done.stdout + done.stderr
    found: dict[str, list[ET.Element]] = {}
    for case in ET.parse(report).iter("testcase"):
        found.setdefault(Path(case.get("file", "")).name, []).append(case)
    return found


# The first one waits for all recipes: a dozen emulators and as many programs, some 10 s.
@pytest.mark.parametrize("name", SUITES)
def test_a_recipe_for_pytest_passes(outcomes: dict[str, list[ET.Element]], name: str) -> None:
    cases = outcomes.get(name, [])
    assert cases, f"no test of {name} was run"
    for case in cases:
        for problem in [*case.findall("failure"), *case.findall("error")]:
            pytest.fail(f"{name}: {case.get('name')}\n{problem.text}", pytrace=False)
    skipped = [problem.get("message", "") for case in cases for problem in case.findall("skipped")]
    if skipped:
        pytest.skip("; ".join(skipped))


def test_the_recipe_without_pytest_passes(tmp_path: Path) -> None:
    done = run([sys.executable, str(FOLDER / "without_pytest.py")], tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("name", "command"), [("from_node.test.mjs", ["node", "--test"]), ("from_a_shell.sh", ["bash"])]
)
def test_a_recipe_of_another_language_passes(tmp_path: Path, name: str, command: list[str]) -> None:
    needed = "curl" if name.endswith(".sh") else command[0]
    if shutil.which(needed) is None:
        pytest.skip(f"{name} needs {needed}, and there is none here")
    if needed == "node":
        version = run(["node", "--version"], tmp_path).stdout.strip()
        if int(version.lstrip("v").partition(".")[0]) < 18:
            pytest.skip(f"{name} needs fetch and node:test, which node {version} has not")
    script = Path(sys.executable).with_name("caged-emulator")
    done = run([sys.executable, str(script), "exec", "--", *command, str(FOLDER / name)], tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    if needed == "node":
        assert "pass 1" in done.stdout
