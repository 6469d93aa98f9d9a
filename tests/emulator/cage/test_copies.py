"""Copies of the host's files, in place of overlays, and what becomes of them when overlays can be mounted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from caged.emulator.cage import copies, overlay_marks
from caged.emulator.cage.copies import RootContents
from caged.emulator.cage.paths import Layout


@pytest.fixture(autouse=True)
def no_replacements(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "replacements", lambda own_user: [])


CONTENTS = RootContents(
    directories={"etc": 0o755, "etc/kept.d": 0o755, "etc/gone.d": 0o755, "opt": 0o755, "opt/large.d": 0o755},
    files=["etc/kept.d/a", "etc/kept.d/b", "etc/gone.d/c", "etc/became.d"],
    bound=["opt/large.d", "opt/large", "opt/written", "opt/gone"],
)


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """The layout of a sandbox that has the copies of CONTENTS."""
    monkeypatch.setattr(copies, "_copy", lambda source, target: Path(target).write_text("host"))
    layout = Layout(tmp_path / "box", mounted=True, own_root=True, overlays=True)
    layout.make()
    copies.fill(layout, CONTENTS, own_user=True)
    return layout


def test_copies_become_upper_layers_that_hide_nothing_of_the_host_and_keep_deletions(layout: Layout) -> None:
    changed = layout.changed
    (changed / "etc/kept.d/b").unlink()
    (changed / "etc/gone.d/c").unlink()
    (changed / "etc/gone.d").rmdir()
    (changed / "etc/became.d").unlink()
    (changed / "etc/became.d").mkdir()
    (changed / "etc/own").touch()
    (changed / "opt/written").write_text("x")  # where nothing was mounted, because the host's file was removed
    (changed / "opt/gone").unlink()
    for _ in range(2):
        copies.make_upper_layers(layout)
        assert not (changed / "opt/large").exists()
        assert not os.path.lexists(changed / "opt/gone")
        assert (changed / "opt/written").read_text() == "x"
        assert (changed / "opt/large.d").is_dir()
        assert (changed / "etc/kept.d/a").read_text() == "host"
        for deleted in ("etc/kept.d/b", "etc/gone.d"):
            assert overlay_marks.is_whiteout(os.lstat(changed / deleted)), deleted
        assert (changed / "etc/became.d").is_dir()
        assert (changed / "etc/own").is_file()
        assert not copies.are_made(layout)
    # On a machine without overlays again, what was deleted stays deleted.
    copies.fill(layout, CONTENTS, own_user=True)
    assert (changed / "opt/large").is_file()
    assert not (changed / "etc/kept.d/b").is_file()


def test_link_in_place_of_directory_leads_to_no_file_of_the_host(layout: Layout, tmp_path: Path) -> None:
    host = tmp_path / "host"
    host.mkdir()
    (host / "large").touch()
    (layout.changed / "opt").rename(layout.changed / "moved")
    (layout.changed / "opt").symlink_to(host)
    copies.make_upper_layers(layout)
    assert [path.name for path in host.iterdir()] == ["large"]


def test_damaged_list_of_copies_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "box", mounted=True, own_root=True, overlays=True)
    layout.make()
    copies.fill(layout, RootContents(), own_user=True)
    for content in ("", "[]", "{}", "{"):
        (layout.changed / ".copied").write_text(content)
        with pytest.raises(OSError, match=r"damaged.*, or destroy"):
            copies.make_upper_layers(layout)
        assert copies.are_made(layout)
