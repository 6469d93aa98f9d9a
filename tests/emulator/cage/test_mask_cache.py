"""When a mask in the user's cache is used. The mask is a small tree."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

import pytest

from caged.emulator.cage import disk, overlay_marks
from caged.emulator.cage.mask import cache

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has overlays")


@pytest.fixture(autouse=True)
def cache_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """What the module logs, which the package's logger does not give to the root logger."""
    logger = logging.getLogger(cache.__name__)
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)


def make(place: Path) -> str:
    root = Path(tempfile.mkdtemp(prefix="mask-", dir=place))
    (root / "etc/ssl").mkdir(parents=True)
    (root / "usr/bin").mkdir(parents=True)
    (root / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n")
    (root / "etc/shadow").write_text("root:*\n")
    overlay_marks.make_whiteout(root / "etc/ssh")
    return str(root)


def find_or_make(make: Callable[[Path], str] = make) -> Path:
    found = cache.find_or_make([], [], (), make)
    assert found is not None
    return Path(found)


def never(place: Path) -> str:
    raise AssertionError("a mask is made")


def remove_whiteout(root: Path) -> None:
    (root / "etc/ssh").unlink()


def add_program(root: Path) -> None:
    (root / "usr/bin/evil").write_text("#!/bin/sh\n")


def change_content(root: Path) -> None:
    """The size and the time are those of before."""
    before = (root / "etc/shadow").stat()
    (root / "etc/shadow").write_text("root::\n"[:6] + "\n")
    os.utime(root / "etc/shadow", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (root / "etc/shadow").stat().st_size == before.st_size


def change_mode(root: Path) -> None:
    (root / "etc/shadow").chmod(0o644)


def replace_directory(root: Path) -> None:
    (root / "etc/ssl").rmdir()
    (root / "etc/ssl").symlink_to("/")


def add_directory(root: Path) -> None:
    (root / "opt").mkdir()


def set_attribute(root: Path) -> None:
    try:
        overlay_marks.make_opaque(str(root / "etc/ssl"), overlay_marks.opaque_attribute(own_user=True))
    except OSError as error:
        pytest.skip(f"no attributes here: {error}")


def remove_manifest(root: Path) -> None:
    (root.parent / "manifest").unlink()


def break_manifest(root: Path) -> None:
    (root.parent / "manifest").write_text("[]")


def make_manifest_a_pipe(root: Path) -> None:
    (root.parent / "manifest").unlink()
    os.mkfifo(root.parent / "manifest")


def replace_entry(root: Path) -> None:
    disk.remove(root.parent)
    root.parent.write_text("")


def let_others_write(root: Path) -> None:
    root.parent.chmod(0o777)


CHANGES = (
    *(remove_whiteout, add_program, change_content, change_mode, replace_directory, add_directory, set_attribute),
    *(remove_manifest, break_manifest, make_manifest_a_pipe, replace_entry, let_others_write),
)


def test_mask_is_made_once() -> None:
    made = find_or_make()
    assert find_or_make(never) == made
    assert sorted(path.name for path in made.parent.parent.iterdir()) == [made.parent.name]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_changed_mask_is_made_anew(change: Callable[[Path], None], warnings: pytest.LogCaptureFixture) -> None:
    root = find_or_make()
    change(root)
    assert find_or_make() == root
    assert f"the mask {root.parent} is not used, and made anew: " in warnings.text
    assert sorted(str(path.relative_to(root)) for path in root.rglob("*")) == [
        *("etc", "etc/passwd", "etc/shadow", "etc/ssh", "etc/ssl", "usr", "usr/bin")
    ]
    assert (root / "etc/shadow").read_text() == "root:*\n"
    assert find_or_make(never) == root


def test_changed_mask_stays_for_sandboxes_that_have_mounted_it() -> None:
    root = find_or_make()
    add_program(root)
    mounted = root.stat().st_ino
    find_or_make()
    (aside,) = root.parent.parent.glob("damaged-*/root")
    assert aside.stat().st_ino == mounted


def test_mask_that_another_emulator_makes_meanwhile_is_used() -> None:
    other = []

    def make_twice(place: Path) -> str:
        other.append(find_or_make().stat().st_ino)
        return make(place)

    root = find_or_make(make_twice)
    assert [root.stat().st_ino] == other
    assert list(root.parent.parent.iterdir()) == [root.parent]


@pytest.mark.parametrize("parent", [".", "caged", "caged/masks"])
def test_cache_that_others_can_write_to_is_not_used(
    cache_home: Path, parent: str, warnings: pytest.LogCaptureFixture
) -> None:
    find_or_make()
    (cache_home / parent).chmod(0o777)
    assert cache.find_or_make([], [], (), never) is None
    assert "can be changed by other users (mode 777)" in warnings.text


def test_renewed_mask_is_still_as_it_was_made() -> None:
    root = find_or_make()
    os.utime(root.parent, (0, 0))
    cache.renew(str(root))
    assert root.parent.stat().st_mtime > 1e9
    assert find_or_make(never) == root
