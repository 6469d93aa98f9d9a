"""The mask of an ordinary user's sandboxes is kept between runs, and used only as it was made."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from levels import ORDINARY_USER, Served, need

LEVEL = "namespace-user" if os.geteuid() == 0 else "namespace"


LOOK = "tail -n 1 /etc/passwd; ls -d /etc/ssh /usr/bin/caged-evil 2>/dev/null; true"
CHANGES = """
echo 'added:x:0:0::/:/bin/sh' >> /etc/passwd
chmod 700 /etc /etc/passwd /usr/bin
rm /etc/group
mkdir /usr/bin/added /etc/added
mv /etc/hostname /etc/renamed
rm -r /etc/ssl
ln /etc/shadow /etc/linked
"""


def seen_by_a_sandbox(folder: Path, masks: Path, command: str = LOOK) -> tuple[list[str], str]:
    """Run a command in a sandbox of a new emulator. Returns the lines that it prints, and the emulator's output."""
    served = Served(folder, LEVEL, masks=masks)
    try:
        with served.sandbox() as box:
            printed = served.run(box, command)
        return printed.splitlines(), served.stop()
    finally:
        served.end()


def mask_in(masks: Path) -> Path:
    found = [path for path in masks.glob("caged/masks/*/root") if path.parent.name.isalnum()]
    if not found:
        pytest.skip("the root of sandboxes does not consist of overlays here")
    return max(found, key=lambda root: root.parent.stat().st_mtime)


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    need(LEVEL)
    path = tmp_path / "masks"
    path.mkdir()
    if os.geteuid() == 0:
        os.chown(path, ORDINARY_USER, ORDINARY_USER)
    return path


def test_mask_is_used_again_whatever_a_sandbox_has_changed(tmp_path: Path, masks: Path) -> None:
    seen_by_a_sandbox(tmp_path, masks, f"set -e{CHANGES}")
    made = mask_in(masks).stat()
    first, output = seen_by_a_sandbox(tmp_path, masks)
    assert "is not used" not in output
    now = mask_in(masks).stat()
    assert (now.st_ino, now.st_ctime_ns) == (made.st_ino, made.st_ctime_ns)
    assert not any("added" in line for line in first)


def test_changed_mask_is_not_used_and_made_anew(tmp_path: Path, masks: Path) -> None:
    first, _ = seen_by_a_sandbox(tmp_path, masks)
    mask = mask_in(masks)
    passwd = mask / "etc/passwd"
    before = passwd.stat()
    with passwd.open("a") as file:
        file.write("evil:x:0:0::/:/bin/sh\n")
    os.utime(passwd, ns=(before.st_atime_ns, before.st_mtime_ns))
    (mask / "usr/bin/caged-evil").write_text("#!/bin/sh\n")
    if os.path.lexists(mask / "etc/ssh"):
        (mask / "etc/ssh").unlink()
    seen, output = seen_by_a_sandbox(tmp_path, masks)
    assert seen == first
    assert f"the mask {mask.parent} is not used, and made anew: " in output
    assert "evil" not in (mask_in(masks) / "etc/passwd").read_text()


def test_mask_below_directory_that_others_can_write_to_is_not_used(tmp_path: Path, masks: Path) -> None:
    seen_by_a_sandbox(tmp_path, masks)
    mask_in(masks)
    (masks / "caged").chmod(0o777)
    for entry in (masks / "caged/masks").iterdir():
        # What an emulator would say of its own directory: another user has exchanged the mask.
        (entry / "root/usr/bin/caged-evil").write_text("#!/bin/sh\n")
        manifest = json.loads((entry / "manifest").read_text())
        (entry / "manifest").write_text(json.dumps({".": manifest["."]}))
    seen, output = seen_by_a_sandbox(tmp_path, masks)
    assert "/usr/bin/caged-evil" not in seen
    assert f"{masks}/caged can be changed by other users (mode 777); set XDG_CACHE_HOME to a directory" in output
