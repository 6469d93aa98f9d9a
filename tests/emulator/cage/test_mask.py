"""When the mask is made anew, and what it hides. The host is a directory of the test's."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from caged.emulator.cage import host_view
from caged.emulator.cage.mask import cache
from caged.emulator.cage.mask import mask as mask_module
from caged.emulator.cage.mask.mask import Mask

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has overlays")


@pytest.fixture
def mask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mask:
    """A mask whose table has one directory with names, and one without, instead of the host's /etc and /var."""
    monkeypatch.setattr(host_view, "ALLOWED", {"var/lib": ("seen",), "var/tmp": ()})
    monkeypatch.setattr(host_view, "overlaid_directories", lambda: ("etc", "var"))
    monkeypatch.setattr(host_view, "ALWAYS", {"var/lib": 0o755, "var/tmp": 0o1777})
    monkeypatch.setattr(cache, "find_or_make", lambda *_: None)
    (tmp_path / "masks").mkdir()
    mask = Mask(tmp_path / "masks", [], own_user=os.geteuid() != 0)
    monkeypatch.setattr(mask_module.writable_entries, "make", lambda *_: None)
    try:
        first = mask.current()
    except PermissionError:
        pytest.skip("this user may not make whiteouts")
    if not mask._hides_all("var/tmp"):
        pytest.skip(f"{first} cannot have the attribute of opaque directories")
    return mask


def test_mask_stays_when_a_directory_that_is_hidden_whole_changes(mask: Mask, monkeypatch: pytest.MonkeyPatch) -> None:
    first = mask.current()
    times = {"var/lib": 1, "var/tmp": 1}
    names = {"var/lib": ["seen"]}
    monkeypatch.setattr(mask_module, "_time", times.__getitem__)
    monkeypatch.setattr(mask_module, "_names", names.__getitem__)
    second = mask.current()  # the names are others than the machine's
    assert second != first
    times["var/tmp"] = 2
    assert mask.current() == second
    times["var/lib"] = 2
    assert mask.current() == second, "the entries are the same"
    times["var/lib"], names["var/lib"] = 3, ["new", "seen"]
    assert mask.current() != second


def test_refused_names_are_hidden_before_they_exist(mask: Mask, tmp_path: Path) -> None:
    missing = [path for path in host_view.REFUSED if os.path.isdir(f"/{os.path.dirname(path)}")]
    hidden = set(host_view.find_hidden_paths())
    for path in missing:
        if os.path.dirname(path) in ("etc/apt", "etc/ssl") and not os.path.islink(f"/{os.path.dirname(path)}"):
            assert path in hidden
            assert stat.S_ISCHR(os.lstat(f"{mask.current()}/{path}").st_mode)


def test_digest_of_the_cache_depends_on_the_replacements_and_on_what_is_complete() -> None:
    digests = {
        cache._digest([], [("etc/sudoers", content, 0o440)], complete)
        for content in (b"a", b"b")
        for complete in ((), ("etc",))
    }
    assert len(digests) == 4
