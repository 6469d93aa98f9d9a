"""An emulator ends cleanly although its installation or its directory was removed while it ran."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import cache_from_source
from pathlib import Path
from typing import Optional

import pytest
from leftovers import mounts, processes_with, run_dirs, unique_seconds, until
from levels import OWN_USER, isolation, need

import caged
import caged.emulator
from caged import Caged

#: Seconds from the signal to the end of the process, on a busy machine.
SECONDS = 50.0


def dependencies(name: str, extra: str = "", found: Optional[set[str]] = None) -> set[str]:
    """Return the distributions that one requires, directly or indirectly."""
    found = set() if found is None else found
    for requirement in distribution(name).requires or ():
        needed = re.match(r"[\w.-]+", requirement)
        assert needed is not None, requirement
        if needed[0] in found or ("extra ==" in requirement and (not extra or f'"{extra}"' not in requirement)):
            continue
        try:
            distribution(needed[0])
        except PackageNotFoundError:
            continue  # only for another version of Python or another system
        found.add(needed[0])
        dependencies(needed[0], "", found)
    return found


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for PYTHONPATH with copies of the package and its dependencies.

    It includes bytecode, because processes of these tests write none and would compile everything again.
    """
    site = tmp_path_factory.mktemp("installation") / "site"
    shutil.copytree(Path(caged.__file__).parent, site / "caged")
    if not (site / "caged" / "emulator").exists():
        shutil.copytree(Path(caged.emulator.__file__).parent, site / "caged" / "emulator")
    for name in dependencies("caged", "emulator"):
        for file in distribution(name).files or ():
            if file.parts[0] == ".." or file.suffix == ".pyc":
                continue
            source, target = str(file.locate()), site / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
            if file.suffix == ".py" and os.path.exists(bytecode := cache_from_source(source)):
                compiled = Path(cache_from_source(str(target)))
                compiled.parent.mkdir(exist_ok=True)
                shutil.copy2(bytecode, compiled)
    return site


class Installed:
    """`caged-emulator serve` from its own installation, which `remove` deletes."""

    def __init__(self, folder: Path, installation: Path, level: str) -> None:
        self.site = folder / "site"
        shutil.copytree(installation, self.site, copy_function=os.link)
        self.tmp = folder / "tmp"
        self.tmp.mkdir()
        self.locators = folder / "locators"
        ready = folder / "ready.json"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CAGED_")}
        environment.update(
            PYTHONPATH=str(self.site),
            PYTHONDONTWRITEBYTECODE="1",
            TMPDIR=str(self.tmp),
            CAGED_EMULATOR_LOCATOR_DIR=str(self.locators),
        )
        # -S: only the standard library can be imported from elsewhere.
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-S",
                "-m",
                "caged.emulator",
                "serve",
                "--port",
                "0",
                "--isolation",
                level,
                "--ready-file",
                str(ready),
            ],
            env=environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            until(lambda: ready.exists() or self.process.poll() is not None)
            assert self.process.poll() is None, self.process.communicate()[0]
        except BaseException:
            self.kill()
            raise
        content = json.loads(ready.read_text())
        self.client = Caged(api_key=content["api_key"], base_url=content["base_url"])

    def stop(self) -> tuple[float, str]:
        """Send SIGTERM. Returns the seconds until the end of the process, and its output."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        output = self.process.communicate(timeout=60)[0]
        return time.monotonic() - began, output

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate(timeout=60)


@pytest.fixture
def installed(request: pytest.FixtureRequest, tmp_path: Path, installation: Path) -> Iterator[Installed]:
    level = getattr(request, "param", "namespace")
    need(level)
    installed = Installed(tmp_path, installation, isolation(level))
    yield installed
    installed.client.close()
    installed.kill()
    assert mounts() == []


@pytest.mark.parametrize("installed", OWN_USER, indirect=True)
def test_emulator_ends_cleanly_after_installation_was_removed(installed: Installed) -> None:
    mark = unique_seconds()
    box = installed.client.sandboxes.create(template="minimal", agents=["claude"]).id
    installed.client.sandboxes.exec(box, f"setsid sleep {mark} >/dev/null 2>&1 &")
    paused = installed.client.sandboxes.create(template="minimal").id
    installed.client.sandboxes.pause(paused)
    # a copy of a snapshot that starts after the removal would fail, and be reported in the log
    until(lambda: [one.status for one in installed.client.snapshots.list(paused)] == ["completed"])
    assert processes_with(mark)
    shutil.rmtree(installed.site)
    seconds, output = installed.stop()
    assert installed.process.returncode == 0, output
    assert seconds < SECONDS
    assert "Traceback" not in output
    assert processes_with(mark) == processes_with(str(installed.tmp)) == []
    assert run_dirs(installed.tmp) == []
    assert list(installed.locators.glob("*.json")) == []


def test_emulator_ends_cleanly_after_its_directory_was_removed(installed: Installed) -> None:
    mark = unique_seconds()
    box = installed.client.sandboxes.create(template="minimal").id
    installed.client.sandboxes.exec(box, f"setsid sleep {mark} >/dev/null 2>&1 &")
    for directory in (installed.site, installed.tmp, installed.locators):
        shutil.rmtree(directory, ignore_errors=True)  # the emulator may make or remove something meanwhile
        until(lambda directory=directory: not directory.exists() or shutil.rmtree(directory, ignore_errors=True))
    seconds, output = installed.stop()
    assert installed.process.returncode == 0, output
    assert seconds < SECONDS
    assert "Traceback" not in output
    assert processes_with(mark) == []
