"""Guard: a sandbox's directory in a state directory, or a part of it, was replaced while the emulator was stopped.
A resume follows no link, does not block, names what is wrong, and works once the original is put back."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

import pytest
from cases import each
from emulator_testing import Api
from levels import need
from state_testing import of, started

from caged.emulator import Emulator

LEVELS = ("namespace", "process")
PLACES = ("workspace", "root", "tmp")


@pytest.fixture(scope="module", params=LEVELS)
def filled(request, tmp_path_factory) -> tuple[Path, str, str, str]:
    """(a state directory with a stopped sandbox; its level; the account's key; the sandbox)"""
    level = request.param
    if level == "namespace":
        need("namespace")
    state = tmp_path_factory.mktemp("filled") / "state"
    with started(state, isolation=level) as emulator, of(emulator, emulator.api_key) as api:
        box = api.sandbox(agents=["claude"])
        api.write(box, "/workspace/kept", "mine")
        api.output(box, "claude -p hello; echo x > /tmp/kept; echo x > /root/kept")
        return state, level, emulator.api_key, box


class Stopped:
    """A copy of the state directory, served by an emulator while its sandbox is stopped.

    Attributes:
        outside: A directory of the host that a resume must not reach.
    """

    def __init__(self, filled: tuple[Path, str, str, str], folder: Path) -> None:
        whole, self.level, self._key, self.box = filled
        self.state, self.outside, self.aside = folder / "state", folder / "outside", folder / "aside"
        shutil.copytree(whole, self.state, symlinks=True, ignore=shutil.ignore_patterns("init.sock"))
        self.directory = self.state / "sandboxes" / self.box
        make_outside(self.outside)
        self._before = tree(self.outside)

    def __enter__(self) -> Stopped:
        self.emulator = Emulator(state_dir=self.state, isolation=self.level, allow_unused=True).start()  # type: ignore[arg-type]
        self.api: Api = of(self.emulator, self._key).__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.api.__exit__(None, None, None)
        self.emulator.stop()

    def assert_resume_refused(self, *words: str) -> None:
        begun = time.monotonic()
        assert_refused(self.api, self.box, *words)
        assert time.monotonic() - begun < 30
        self.assert_outside_unchanged()

    def assert_outside_unchanged(self) -> None:
        assert tree(self.outside) == self._before

    def assert_resumes(self) -> None:
        answer = self.api.post(f"/sandboxes/{self.box}/resume")
        assert answer.status_code == 204, answer.text
        assert self.api.output(self.box, "cat /workspace/kept") == "mine"
        self.assert_outside_unchanged()


def make_outside(outside: Path) -> None:
    outside.mkdir()
    for name in (*PLACES, "opt"):
        (outside / name).mkdir()
        (outside / name / "secret").write_text("secret")
    (outside / "hosts").write_text("secret")


def assert_refused(api: Api, box: str, *words: str) -> None:
    answer = api.post(f"/sandboxes/{box}/resume")
    assert answer.status_code == 503, answer.text
    detail = answer.json()["detail"]
    for word in (box, "cannot be", *words):
        assert word in detail, detail
    assert "Errno" not in detail, detail
    assert api.status(box) == "stopped"
    assert words[-1] in api.log_text(box)


@pytest.fixture(scope="module")
def served(filled, tmp_path_factory) -> Iterator[Stopped]:
    """One emulator for all refusals. At the end, with everything put back, the sandbox resumes."""
    with Stopped(filled, tmp_path_factory.mktemp("served")) as stopped:
        yield stopped
        stopped.assert_resumes()


@pytest.fixture
def stopped(filled, tmp_path) -> Iterator[Stopped]:
    yield Stopped(filled, tmp_path)
    shutil.rmtree(tmp_path, ignore_errors=True)


def tree(top: Path) -> dict[str, tuple[int, int, float, bytes]]:
    """Return mode, owner, time and content of everything below a directory."""
    found = {}
    for path in [top, *top.rglob("*")]:
        status = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        found[str(path)] = (status.st_mode, status.st_uid, status.st_mtime, content)
    return found


Replace = Callable[[Path, Path], object]
#: Ways to replace an entry: (its path, the entry outside with the same name) -> None.
WAYS: dict[str, Replace] = {
    "a link to the host": lambda path, outside: path.symlink_to(outside),
    "a link to nothing": lambda path, outside: path.symlink_to(outside.parent / "nothing"),
    "a link to itself": lambda path, outside: path.symlink_to(path),
    "a relative link": lambda path, outside: path.symlink_to(os.path.relpath(outside, path.parent)),
    "a file": lambda path, outside: path.write_text("x"),
    "a pipe": lambda path, outside: os.mkfifo(path),
}
SAID = {"a file": "is a file", "a pipe": "is neither a file nor a directory"}


@each("way", WAYS)
@each("part", ["", *PLACES, "opt"])
def test_replaced_directory_is_refused_and_not_followed(served, part, way) -> None:
    path = served.directory / part if part else served.directory
    path.rename(served.aside)
    WAYS[way](path, served.outside / part)
    try:
        served.assert_resume_refused(str(path), "must be a directory", SAID.get(way, "is a link"))
        assert os.path.lexists(path), "what is there is not removed"
    finally:
        path.unlink()
        served.aside.rename(path)


@each("way", WAYS)
@each("part", ["system", "system/top", "system/changed", "system/work"])
def test_replaced_part_of_root_is_refused_and_not_followed(served, part, way) -> None:
    path = served.directory / part
    if not path.exists():
        pytest.skip("a sandbox at level `process` has no root of its own")
    path.rename(served.aside)
    WAYS[way](path, served.outside / "opt")
    try:
        served.assert_resume_refused(str(path), "must be a directory", SAID.get(way, "is a link"))
    finally:
        path.unlink()
        served.aside.rename(path)


@each("way", [way for way in WAYS if way != "a file"])
@each("part", ["bwrap-errors", "restore.json", "restore.part"])
def test_replaced_file_is_refused_and_not_followed(served, part, way) -> None:
    path = served.directory / part
    path.unlink(missing_ok=True)
    WAYS[way](path, served.outside / "hosts")
    try:
        served.assert_resume_refused(str(path), "must be a file", SAID.get(way, "is a link"))
    finally:
        path.unlink()


@pytest.mark.parametrize("part", ["restore-new", "restore-old", "restore-out"])
def test_link_in_place_of_restore_leftover_is_refused(served, part) -> None:
    path, note = served.directory / part, served.directory / "restore.json"
    path.symlink_to(served.outside)
    note.write_text('{"before": [448, 0, 0], "after": [448, 0, 0]}')
    try:
        served.assert_resume_refused(str(path), "must be a directory", "is a link")
    finally:
        path.unlink()
        note.unlink()


def test_resume_with_missing_directory_is_refused_until_it_is_back(served) -> None:
    served.directory.rename(served.aside)
    try:
        served.assert_resume_refused(str(served.directory), "is missing; put it back")
        assert not served.directory.exists()
    finally:
        served.aside.rename(served.directory)


@pytest.mark.parametrize(("part", "words"), [("", "is missing"), ("", "is a link"), ("root", "is a link")])
def test_start_logs_replaced_directory(stopped, part, words) -> None:
    path = stopped.directory / part if part else stopped.directory
    path.rename(stopped.aside)
    if words == "is a link":
        path.symlink_to(stopped.outside)
    with stopped:
        log = "\n".join(stopped.emulator.log_tail(50))
        assert f"sandbox {stopped.box} cannot be resumed: {path}" in log
        assert words in log


def test_hard_link_to_host_file_is_not_written(stopped) -> None:
    (stopped.directory / "bwrap-errors").unlink(missing_ok=True)
    os.link(stopped.outside / "hosts", stopped.directory / "bwrap-errors")
    etc = stopped.directory / "system" / "changed" / "etc"
    if etc.exists():  # not at level `process`
        (etc / "hosts").unlink()
        os.link(stopped.outside / "hosts", etc / "hosts")
    with stopped:
        stopped.assert_resumes()


def test_missing_subdirectory_is_created_and_logged(stopped) -> None:
    stopped.aside.mkdir()
    for part in PLACES:
        (stopped.directory / part).rename(stopped.aside / part)
    with stopped:
        assert stopped.api.post(f"/sandboxes/{stopped.box}/resume").status_code == 204
        for part in PLACES:
            assert stopped.api.output(stopped.box, f"ls -A /{part}") == ""
            assert f"/{part} was missing; it is there again, and empty" in stopped.api.log_text(stopped.box)
            assert (stopped.aside / part / "kept").exists()
        assert stopped.api.output(stopped.box, "stat -c %a /tmp") == "1777\n"


SOCKETS: dict[str, Replace] = {
    **WAYS,
    "a directory": lambda path, outside: path.mkdir(),
    "nothing": lambda path, outside: None,
}


def test_resume_replaces_socket_of_init(tmp_path) -> None:
    """At level `process` it is in /opt/caged, where a command can replace it; a resume creates that directory anew."""
    outside = tmp_path / "outside"
    make_outside(outside)
    before = tree(outside)
    with started(tmp_path / "state", isolation="process") as emulator, of(emulator, emulator.api_key) as api:
        key, boxes = emulator.api_key, {way: api.sandbox(agents=["claude"]) for way in SOCKETS}
    for way, box in boxes.items():
        path = tmp_path / "state" / "sandboxes" / box / "opt" / "init.sock"
        path.unlink()
        SOCKETS[way](path, outside / "hosts")
    with started(tmp_path / "state", isolation="process") as emulator, of(emulator, key) as api:
        for way, box in boxes.items():
            assert api.post(f"/sandboxes/{box}/resume").status_code == 204, way
            assert "caged emulator" in api.output(box, "claude -p hello"), way
    assert tree(outside) == before


#: Commands that replace a part of their own directory at level `process`, and that part.
COMMANDS = {
    "rm -rf /workspace; ln -s {out} /workspace": "workspace",
    "rm -rf /workspace; echo x > /workspace": "workspace",
    "rm -rf ~; ln -s {out}/root ~": "root",
    "rm -rf /tmp; mkfifo /tmp": "tmp",
    "rm -rf /opt/caged; ln -s {out}/opt /opt/caged": "opt",
    'cd ..; ln -s {out}/hosts "$PWD/bwrap-errors"': "bwrap-errors",
    'cd ..; mkfifo "$PWD/restore.json"': "restore.json",
    'cd ..; ln -s {out} "$PWD/restore-old"': "restore-old",
}


def test_resume_is_refused_after_command_replaced_directory(tmp_path) -> None:
    outside, boxes = tmp_path / "outside", {}
    make_outside(outside)
    before = tree(outside)
    with started(tmp_path / "state", isolation="process") as emulator, of(emulator, emulator.api_key) as api:
        key = emulator.api_key
        for command, part in COMMANDS.items():
            box = boxes[command] = api.sandbox()
            api.run(box, command.format(out=outside))
            assert os.path.lexists(tmp_path / "state" / "sandboxes" / box / part), command
    with started(tmp_path / "state", isolation="process") as emulator, of(emulator, key) as api:
        for command, box in boxes.items():
            path = tmp_path / "state" / "sandboxes" / box / COMMANDS[command]
            assert_refused(api, box, str(path), "must be a")
    assert tree(outside) == before


def test_resume_of_paused_sandbox_with_replaced_directory_is_refused(stopped) -> None:
    with stopped:
        stopped.assert_resumes()
        assert stopped.api.post(f"/sandboxes/{stopped.box}/pause").status_code == 204
        for snapshot in stopped.api.get(f"/sandboxes/{stopped.box}/snapshots").json():
            stopped.api.settled(snapshot["id"])
        stopped.directory.rename(stopped.aside)
        stopped.directory.symlink_to(stopped.outside)
        answer = stopped.api.post(f"/sandboxes/{stopped.box}/resume")
        assert answer.status_code == 503, answer.text
        assert "must be a directory, and is a link" in answer.json()["detail"]
        assert stopped.api.status(stopped.box) == "paused"
        stopped.assert_outside_unchanged()
        stopped.directory.unlink()
        stopped.aside.rename(stopped.directory)
        assert stopped.api.post(f"/sandboxes/{stopped.box}/resume").status_code == 204
        assert stopped.api.output(stopped.box, "cat /workspace/kept") == "mine"


def test_export_omits_sandbox_whose_directory_is_a_link(stopped, tmp_path) -> None:
    stopped.directory.rename(stopped.aside)
    stopped.directory.symlink_to(stopped.outside)
    with stopped:
        with pytest.warns(UserWarning, match="must be a directory, and is a link"):
            stopped.emulator.export(tmp_path / "export.tar.gz")
        stopped.assert_outside_unchanged()


def test_destroy_of_sandbox_whose_directory_is_a_link_removes_only_link(stopped) -> None:
    stopped.directory.rename(stopped.aside)
    stopped.directory.symlink_to(stopped.outside)
    with stopped:
        assert stopped.api.delete(f"/sandboxes/{stopped.box}").status_code == 204
        stopped.assert_outside_unchanged()
        assert not os.path.lexists(stopped.directory)
