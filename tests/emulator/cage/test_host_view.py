"""Which paths of this machine no sandbox sees."""

from __future__ import annotations

import os

from caged.emulator.cage import disk, host_view


def test_hidden_paths_are_those_that_the_table_does_not_list() -> None:
    hidden = set(host_view.find_hidden_paths())
    for directory in host_view.ALLOWED:
        for entry in disk.entries(f"/{directory}"):
            path = f"{directory}/{entry.name}"
            is_link = path in host_view.ALLOWED and not entry.is_dir(follow_symlinks=False)
            if not host_view.is_listed(path) and not is_link:
                assert path in hidden


def test_entries_of_directories_that_the_caller_hides_whole_are_left_out() -> None:
    whole = [path for path, names in host_view.ALLOWED.items() if not names]
    rest = [path for path in host_view.find_hidden_paths() if os.path.dirname(path) not in whole]
    assert list(host_view.find_hidden_paths(whole)) == rest


def test_refused_path_in_a_directory_that_the_caller_hides_whole_is_left_out(monkeypatch) -> None:
    monkeypatch.setattr(host_view, "ALLOWED", {"var": ("lib",), "var/lib": ()})
    monkeypatch.setattr(host_view, "REFUSED", ("var/lib/secret",))
    assert "var/lib/secret" in host_view.find_hidden_paths()
    assert "var/lib/secret" not in host_view.find_hidden_paths(["var/lib"])
