"""Files that contain the emulator's keys are hidden from sandboxes, in any directory and at any time.

The tests put them neither below a home directory nor below a temporary one, which are always hidden.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import fork_server
import pytest
from leftovers import until
from levels import ORDINARY_USER, as_ordinary_user, isolation, masks_of, need

from caged import Caged

PLACES = ("/srv", "/var/lib", "/opt", "/work", "/data", "/mnt", "/media")


@pytest.fixture
def outside() -> Iterator[Path]:
    """A directory of the host that sandboxes can see."""
    for place in PLACES:
        if os.path.isdir(place) and os.access(place, os.W_OK):
            directory = Path(tempfile.mkdtemp(prefix="caged-test-", dir=place))
            yield directory
            shutil.rmtree(directory)
            return
    pytest.skip(f"none of {', '.join(PLACES)} is writable")


# For an ordinary user too, because where an ordinary user runs the suite, `outside` finds no directory.
@pytest.fixture(params=["namespace", "namespace-user", "bwrap"])
def level(request: pytest.FixtureRequest) -> str:
    need(request.param)
    return str(request.param)


def start(level: str, project: Path, *options: str) -> fork_server.Process:
    """An emulator whose ready file, output, log, locator and state lie in different directories of a project."""
    for name in ("ready", "output", "home"):
        (project / name).mkdir()
    wrap, masks = [], masks_of(ORDINARY_USER if level.endswith("-user") else None)
    if level.endswith("-user"):
        for path in (project, *project.iterdir()):
            os.chown(path, ORDINARY_USER, ORDINARY_USER)
        wrap = as_ordinary_user([project, masks])
    with open(project / "output" / "out.log", "wb") as output:
        return fork_server.Process(
            [
                *(*wrap, sys.executable, "-m", "caged.emulator", "serve", "--isolation", isolation(level)),
                *("--port", "0", "--ready-file", str(project / "ready" / "ready.json"), *options),
            ],
            cwd=project,
            env={
                **{name: value for name, value in os.environ.items() if not name.startswith("CAGED_")},
                "HOME": str(project / "home"),
                "XDG_CACHE_HOME": str(masks),
                "CAGED_EMULATOR_LOCATOR_DIR": str(project / "locators"),
            },
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def test_key_files_are_hidden_from_sandboxes(level: str, outside: Path) -> None:
    project = outside / "project"
    project.mkdir()
    outside.chmod(0o755)
    process = start(level, project, "--state-dir", str(project / "state"))
    ready_file = project / "ready" / "ready.json"
    try:
        until(lambda: ready_file.exists() or process.poll() is not None)
        assert process.poll() is None, (project / "output" / "out.log").read_text()
        ready = json.loads(ready_file.read_text())
        # All files with a key. At least three, or the searches below would pass without testing anything.
        keys = [ready["admin_key"], ready["api_key"]]
        held = {path for path in project.rglob("*") if path.is_file() and keys[0].encode() in path.read_bytes()}
        assert len(held) >= 3  # the ready file, the output and the locator
        with Caged(api_key=ready["api_key"], base_url=ready["base_url"]) as client:
            box = client.sandboxes.create(template="python-312").id
            search = f"cd /; grep -rlsa -e {keys[0]} -e {keys[1]} {outside} /run /var/tmp /dev/shm /tmp /workspace"
            assert client.sandboxes.exec(box, search).output == ""
            # While the sandbox runs, replace the ready file, and write another one next to it.
            for name in ("ready.json", "later.json"):
                (project / "ready" / ".new").write_text(json.dumps(ready))
                (project / "ready" / ".new").replace(project / "ready" / name)
            (project / "locators" / "1-1.json").write_text(json.dumps(ready))
            assert client.sandboxes.exec(box, search).output == ""
            for path in (*held, project / "ready" / "later.json"):
                assert not client.sandboxes.exec(box, f"cat {path}").ok
            client.sandboxes.destroy(box)
    finally:
        process.terminate()
        process.wait(60)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to write to /etc")
@pytest.mark.parametrize("directory", ["/etc", "/usr/local/bin", "/usr/lib", "/var"])
def test_ready_file_in_directory_that_cannot_be_hidden_is_refused(tmp_path: Path, directory: str) -> None:
    need("namespace")
    ready_file = Path(directory) / "caged-test-ready.json"
    done = fork_server.run(
        [
            *(sys.executable, "-m", "caged.emulator", "serve", "--isolation", "namespace"),
            *("--port", "0", "--ready-file", str(ready_file)),
        ],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 2
    assert f"{ready_file} would hold keys in a directory that every sandbox needs to see" in done.stderr
    assert not ready_file.exists()
