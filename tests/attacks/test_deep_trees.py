"""Guard, item 15: trees with paths over PATH_MAX are saved, restored and exported; an export names a sandbox that it
cannot read, and continues.
"""

from __future__ import annotations

import json
import os
import tarfile
from pathlib import Path

import pytest
from levels import need
from state_testing import of, started

from caged.emulator.cage import crash_recovery, disk, restore, tar_writer
from caged.emulator.cage.paths import Layout

#: (levels, length of each name): paths of 5 KB, of 12 KB, and of more directories than there may be descriptors.
SHAPES = {"just_too_deep": (250, 20), "long_names": (60, 200), "very_deep": (2500, 1)}
GROW = """
import os
for n in range({levels}):
    os.mkdir({name!r}); os.chdir({name!r})
    if n % {step} == 0:
        open("z", "w").write(str(n))
open("bottom", "w").write("found")
os.symlink("/etc/passwd", "link"); os.link("bottom", "again"); os.chmod("bottom", 0o640); os.mkdir("closed", 0o500)
"""
LOOK = """
import os
seen = []
for n in range({levels}):
    os.chdir({name!r})
    if n % {step} == 0:
        seen.append(open("z").read())
print(len(seen), seen[-1], open("bottom").read(), oct(os.stat("bottom").st_mode), os.stat("again").st_nlink,
      os.readlink("link"), oct(os.stat("closed").st_mode), sorted(os.listdir(".")))
"""


def script(text: str, shape: str) -> str:
    levels, length = SHAPES[shape]
    return text.format(levels=levels, name="d" * length, step=max(levels // 10, 1))


@pytest.mark.parametrize(
    ("shape", "level"),
    [("just_too_deep", "process"), *((shape, "namespace") for shape in SHAPES)],
)
def test_deep_tree_survives_snapshot_restore_export_and_import(tmp_path, shape, level, long_form):
    need(level)
    if shape == "very_deep" and not long_form:
        pytest.skip("takes the kernel half a minute, most of it for the removal: scripts/attacks --long")
    file = tmp_path / "export.tar.gz"
    with started(None, isolation=level) as emulator, of(emulator, emulator.api_key) as api:
        box, other = api.sandbox(), api.sandbox()
        api.write(box, "/workspace/grow.py", script(GROW, shape))
        api.write(box, "/root/look.py", script(LOOK, shape))
        api.output(box, "python3 grow.py")
        before = api.output(box, "python3 /root/look.py")
        assert "found" in before
        snapshot = api.snapshot(box)
        api.write(other, "/root/look.py", script(LOOK, shape))
        assert api.restore(snapshot, other).status_code == 200
        assert api.output(other, "python3 /root/look.py") == before
        emulator.export(file)
    with started(None, isolation=level) as emulator:
        emulator.import_(file)
        with of(emulator, api.key) as api:
            resumed = api.post(f"/sandboxes/{box}/resume")
            assert resumed.status_code == 204, resumed.text
            assert api.output(box, "python3 /root/look.py") == before


NAME = "d" * 40


def deep(layout: Layout, levels: int) -> None:
    here = os.open(".", os.O_RDONLY)
    try:
        os.chdir(layout.workspace)
        for _ in range(levels):
            os.mkdir(NAME)
            os.chdir(NAME)
        Path(".0123456789abcdef.caged-write").write_text("half")
        Path("kept").write_text("kept")
    finally:
        os.fchdir(here)
        os.close(here)


def test_packing_deep_tree_is_deterministic_and_needs_one_descriptor(tmp_path):
    layouts = [Layout(tmp_path / name, mounted=True) for name in ("a", "b")]
    layouts[0].make()
    layouts[1].make()
    try:
        deep(layouts[0], 150)
        before = len(os.listdir("/dev/fd"))
        tar_writer.pack(layouts[0], tmp_path / "first.tar")
        restore.restore_files(tmp_path / "first.tar", layouts[1])
        tar_writer.pack(layouts[1], tmp_path / "second.tar")
        assert (tmp_path / "first.tar").read_bytes() == (tmp_path / "second.tar").read_bytes()
        assert len(os.listdir("/dev/fd")) == before
        crash_recovery.recover_directory(layouts[0])  # undoes the incomplete write at the bottom
        assert disk_has(layouts[0].workspace, 150) == ["kept"]
    finally:
        for layout in layouts:
            disk.remove(layout.directory)


def disk_has(top: Path, levels: int) -> list[str]:
    fd = os.open(top, os.O_RDONLY)
    for _ in range(levels):
        below = os.open(NAME, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    found = sorted(os.listdir(fd))
    os.close(fd)
    return found


def test_tree_over_documented_depth_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(tar_writer, "MOST_PATH", 2000)
    layout = Layout(tmp_path / "a", mounted=True)
    layout.make()
    try:
        deep(layout, 60)
        with pytest.raises(OSError, match="a path has more than 2,000 bytes"):
            tar_writer.pack(layout, tmp_path / "a.tar")
        assert not list(tmp_path.glob("*.part"))
    finally:
        disk.remove(layout.directory)


def test_export_omits_and_names_sandbox_that_cannot_be_saved(tmp_path, monkeypatch):
    """The depth limit is an example of why a sandbox may not be readable."""
    file = tmp_path / "export.tar.gz"
    with started(None) as emulator, of(emulator, emulator.api_key) as api:
        good, bad = api.sandbox(), api.sandbox()
        api.write(good, "/workspace/a", "kept")
        api.output(bad, "mkdir -p d/d/d/d; touch d/d/d/d/" + "n" * 200)
        monkeypatch.setattr(tar_writer, "MOST_PATH", 150)
        with pytest.warns(UserWarning, match=f"sandbox {bad} is not in .*a path has more than 150 bytes"):
            emulator.export(file)
        assert f"sandbox {bad} was left out of an export" in "\n".join(emulator.log_tail(100))
        assert api.status(bad) == "running"
        assert api.output(bad, "echo alive") == "alive\n"
        assert sorted(path.name for path in emulator.run_dir.glob("export-*")) == []
    with tarfile.open(file) as packed:
        content = packed.extractfile("manifest.json")
        assert content is not None
        manifest = json.loads(content.read())
    assert manifest["sandboxes"] == [good]
    assert list(manifest["left_out"]) == [bad]
    with started(None) as emulator:
        emulator.import_(file)
        with of(emulator, api.key) as api:
            assert [box["id"] for box in api.get("/sandboxes").json()] == [good]
            api.post(f"/sandboxes/{good}/resume")
            assert api.read(good, "/workspace/a").text == "kept"
