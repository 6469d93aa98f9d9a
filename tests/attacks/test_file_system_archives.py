"""Archives of a sandbox's whole file system that no emulator would write: marks of deletions in wrong places or forms,
devices, and members that are not a sandbox's."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Union

import archive_testing as raw
import pytest
from archive_testing import extended, file, hard, link, records, rewrite
from emulator_testing import require_own_root
from state_testing import of, started

from caged.emulator.cage import restore, tar_extractor
from caged.emulator.cage.paths import Layout
from caged.emulator.cage.tar_reader import ArchiveError

WHOLE, PARTIAL = b"caged: file system", b"caged: workspace, root, tmp"


def directory(name: bytes) -> bytes:
    return raw.header(name, b"5", mode=b"0000755\0")


def whole(*members: bytes, comment: bytes = WHOLE) -> bytes:
    return extended(records(comment=comment)) + directory(b"./") + b"".join(members) + raw.END


ETC = directory(b"./etc/")
REFUSED: dict[str, bytes] = {
    "mark with content": whole(ETC, file(b"./etc/.wh.x", b"evil")),
    "mark that is a directory": whole(ETC, directory(b"./etc/.wh.x/")),
    "member below a mark": whole(ETC, directory(b"./etc/.wh.x/"), file(b"./etc/.wh.x/y")),
    "mark that is a link": whole(ETC, link(b"./etc/.wh.x", b"/etc/passwd")),
    "mark that is a hard link": whole(ETC, file(b"./etc/.a"), hard(b"./etc/.wh.x", b"./etc/.a")),
    "mark that is a pipe": whole(ETC, raw.header(b"./etc/.wh.x", b"6")),
    "mark of no name": whole(ETC, file(b"./etc/.wh.", b"")),
    "mark of the directory": whole(ETC, file(b"./etc/.wh..", b"")),
    "mark of the parent": whole(ETC, file(b"./etc/.wh...", b"")),
    "mark of a mark": whole(ETC, file(b"./etc/.wh..wh.x", b"")),
    "opaque mark with content": whole(ETC, file(b"./etc/.wh..wh..opq", b"x")),
    "opaque mark that is a link": whole(ETC, link(b"./etc/.wh..wh..opq", b"/etc")),
    "opaque root": whole(file(b"./.wh..wh..opq", b"")),
    "mark of the workspace": whole(file(b"./.wh.workspace", b"")),
    "mark of an unknown directory": whole(file(b"./.wh.app", b"")),
    "mark and its name": whole(ETC, file(b"./etc/.wh.x", b""), file(b"./etc/x")),
    "mark and its directory": whole(ETC, file(b"./etc/.wh.x", b""), directory(b"./etc/x/")),
    "name and its mark": whole(ETC, file(b"./etc/!", b""), file(b"./etc/.wh.!", b"")),
    "whiteout device": whole(ETC, raw.header(b"./etc/x", b"3")),
    "block device": whole(ETC, raw.header(b"./etc/x", b"4")),
    "proc": whole(directory(b"./proc/")),
    "file in dev": whole(directory(b"./dev/"), file(b"./dev/null")),
    "sys": whole(link(b"./sys", b"/")),
    "run": whole(directory(b"./run/")),
    "emulator's programs": whole(directory(b"./opt/"), directory(b"./opt/caged/")),
    "emulator's programs deleted": whole(directory(b"./opt/"), file(b"./opt/.wh.caged", b"")),
    "mount point hidden": whole(directory(b"./opt/"), file(b"./opt/.wh..wh..opq", b"")),
    "emulator's programs as a link": whole(directory(b"./opt/"), link(b"./opt/caged", b"/etc")),
    "etc is a link": whole(link(b"./etc", b"/workspace")),
    "etc is a file": whole(file(b"./etc")),
    "workspace is a link": whole(link(b"./workspace", b"/etc")),
    "root is a file": whole(file(b"./root")),
    "usr is a pipe": whole(raw.header(b"./usr", b"6")),
    "through a top-level link": whole(link(b"./bin", b"/etc"), file(b"./bin/x")),
    "through a link in etc": whole(ETC, link(b"./etc/l", b"/"), file(b"./etc/l/x")),
    "hard link out": whole(ETC, hard(b"./etc/x", b"./../secret")),
    "hard link to a mark": whole(ETC, file(b"./etc/.wh.x", b""), hard(b"./etc/y", b"./etc/.wh.x")),
    "owner is no number": whole(ETC, extended(records(uid=b"root")) + file(b"./etc/x")),
    "owner is too large": whole(ETC, extended(records(gid=b"4294967295")) + file(b"./etc/x")),
    "owner is negative": whole(ETC, extended(records(uid=b"-1")) + file(b"./etc/x")),
    "etc in an archive without it": whole(ETC, comment=PARTIAL),
    "mark in an archive without": whole(file(b"./.wh.etc", b""), comment=PARTIAL),
    "twice": whole(ETC, ETC),
    "out of order": whole(directory(b"./usr/"), ETC),
}


def box_at(path: Path) -> Layout:
    layout = Layout(path, mounted=True, own_root=True, overlays=True, own_user=os.geteuid() != 0)
    layout.make()
    (layout.workspace / "mine").write_text("mine")
    (layout.changed / "etc" / "mine").write_text("mine")
    (layout.top / "app").mkdir()
    return layout


def facts(layout: Layout) -> dict[str, tuple[int, Union[bytes, str]]]:
    """Mode and content of everything in a sandbox's directory, by path."""
    found: dict[str, tuple[int, Union[bytes, str]]] = {}
    for path in sorted(layout.directory.rglob("*")):
        content: Union[bytes, str] = b""
        if path.is_symlink():
            content = os.readlink(path)
        elif path.is_file():
            content = path.read_bytes()
        found[str(path.relative_to(layout.directory))] = (path.lstat().st_mode, content)
    return found


@pytest.mark.parametrize("shape", REFUSED)
def test_hostile_archive_of_file_system_is_refused_and_changes_nothing(tmp_path, shape):
    source = tmp_path / "evil.tar"
    source.write_bytes(REFUSED[shape])
    layout = box_at(tmp_path / "box")
    before = facts(layout)
    with pytest.raises(OSError, match="the archive is damaged"):
        restore.restore_files(source, layout)
    assert facts(layout) == before
    if shape not in ("mark and its name", "mark and its directory", "name and its mark"):  # what only extraction finds
        with pytest.raises(ArchiveError):
            tar_extractor.check(source)


def test_archive_of_file_system_makes_layers_as_overlays_know_them(tmp_path):
    source = tmp_path / "fine.tar"
    members = (
        file(b"./.wh.srv", b""),
        directory(b"./app/"),
        file(b"./app/.wh.literal", b"x"),
        ETC,
        file(b"./etc/.wh.issue", b""),
        extended(records(path=b"./etc/.wh." + b"n" * 255)) + file(b"./etc/.wh.n", b""),
        file(b"./etc/new", b"new"),
        directory(b"./workspace/"),
        file(b"./workspace/.wh.literal", b"x"),
    )
    source.write_bytes(whole(*members))
    tar_extractor.check(source, WHOLE)
    layout = box_at(tmp_path / "box")
    assert restore.restore_files(source, layout).has_system
    etc = layout.changed / "etc"
    assert sorted(os.listdir(etc)) == ["issue", "new", "n" * 255]
    for name in ("issue", "n" * 255):
        assert (etc / name).is_char_device()
        assert (etc / name).stat().st_rdev == 0
    assert os.listdir(layout.workspace) == [".wh.literal"]
    assert os.listdir(layout.top / "app") == [".wh.literal"]
    assert not (layout.top / "srv").exists()
    assert (layout.top / "etc").is_dir()
    # The same archive for a sandbox without overlays: what is its own alone.
    plain = Layout(tmp_path / "plain", mounted=False)
    plain.make()
    restored = restore.restore_files(source, plain)
    assert not restored.has_system
    assert restored.left_out == [".wh.srv", "app", "etc"]
    assert sorted(os.listdir(plain.directory)) == ["opt", "root", "tmp", "workspace"]
    assert os.listdir(plain.workspace) == [".wh.literal"]


def test_archive_without_system_does_not_replace_a_home_that_a_layer_is_below(tmp_path):
    layout = box_at(tmp_path / "box")
    (tmp_path / "layer" / "root").mkdir(parents=True)
    layout.layers = (tmp_path / "layer",)
    source = tmp_path / "partial.tar"
    source.write_bytes(whole(directory(b"./root/"), directory(b"./workspace/"), comment=PARTIAL))
    before = facts(layout)
    with pytest.raises(OSError, match="created with packages"):
        restore.restore_files(source, layout)
    assert facts(layout) == before
    source.write_bytes(whole(directory(b"./workspace/"), comment=PARTIAL))
    restore.restore_files(source, layout)
    assert not os.listdir(layout.workspace)


class Killed(BaseException):
    """Simulates a kill, after which no `finally` runs."""


def test_restore_killed_at_any_step_is_finished_or_undone(tmp_path, monkeypatch):
    source = tmp_path / "new.tar"
    parts = [
        *(
            directory(b"./app/"),
            file(b"./app/new"),
            ETC,
            file(b"./etc/new"),
            directory(b"./root/"),
            file(b"./root/new"),
        ),
        *(directory(b"./tmp/"), file(b"./tmp/new"), directory(b"./workspace/"), file(b"./workspace/new")),
    ]
    source.write_bytes(whole(*parts))
    rename, outcomes = os.rename, []
    for limit in range(60):
        layout = box_at(tmp_path / f"box-{limit}")
        before = facts(layout)
        done = 0

        def rename_or_die(*arguments, limit=limit, **options):
            nonlocal done
            if done == limit:
                raise Killed
            done += 1
            rename(*arguments, **options)

        with monkeypatch.context() as patch:
            patch.setattr(os, "rename", rename_or_die)
            patch.setattr(Path, "rename", lambda path, target: rename_or_die(path, target))
            patch.setattr(restore._Paths, "clear", lambda places: None)
            try:
                restore.restore_files(source, layout)
                was_killed = False
            except Killed:
                was_killed = True
        restore.finish_interrupted(layout)
        after = facts(layout)
        is_old = after == before
        names = {str(path.relative_to(layout.directory)) for path in layout.directory.rglob("new")}
        is_new = names == {"workspace/new", "root/new", "tmp/new", "system/top/app/new", "system/changed/etc/new"}
        assert is_old != is_new, (limit, names)
        assert is_old or not list(layout.directory.rglob("mine"))
        outcomes.append(is_new)
        if not was_killed:
            break
    assert outcomes == sorted(outcomes)  # undone up to some step, finished from there on
    assert True in outcomes[:-1]
    assert False in outcomes


def test_export_has_the_whole_file_system_and_refuses_other_forms(tmp_path):
    out = tmp_path / "all.tar.gz"
    with started(None) as emulator, of(emulator, emulator.api_key) as api:
        require_own_root(api)
        box = api.sandbox()
        api.output(
            box, "mkdir /app; echo app > /app/f; echo etc > /etc/mine; rm /etc/issue; rmdir /srv; chmod 700 /app"
        )
        snapshot = api.snapshot(box)
        emulator.export(out)
        key = emulator.api_key
    look = "stat -c %a /app; cat /app/f /etc/mine; ls -d /etc/issue /srv 2>&1 | grep -c 'No such'; touch /etc/a /usr/a"
    with started(None) as emulator:
        emulator.import_(out)
        with of(emulator, key) as api:
            assert api.post(f"/sandboxes/{box}/resume").status_code == 204
            assert api.output(box, look) == "700\napp\netc\n2\n"
            target = api.sandbox()
            assert api.restore(snapshot, target).status_code == 200
            assert api.output(target, look) == "700\napp\netc\n2\n"
    with started(None, isolation="process") as emulator:
        emulator.import_(out)
        with of(emulator, key) as api:
            assert api.post(f"/sandboxes/{box}/resume").status_code == 204
    with started(None) as emulator:
        for name, content, words in (
            (f"sandboxes/{box}/system.tar", raw.tree(file(b"./x")), "one of a whole file system is needed"),
            (f"sandboxes/{box}/workspace.tar", whole(ETC), "one of one directory is needed"),
            (f"sandboxes/{box}/system.tar", whole(ETC, file(b"./etc/.wh.x")), "empty file"),
            (f"snapshots/{snapshot}.tar", whole(directory(b"./proc/")), "not part"),
        ):
            change = lambda member, old, name=name, content=content: content if member == name else old  # noqa: E731
            evil = rewrite(out, tmp_path / "evil.tar.gz", change)
            with pytest.raises(ValueError, match=words):
                emulator.import_(evil)
