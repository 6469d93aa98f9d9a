"""What is found in /etc/subuid and /etc/subgid, and what is advised where that is too little."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from caged.emulator.cage import subordinate_ids as ids
from caged.emulator.cage.subordinate_ids import SubordinateIds, Unavailable


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("me:1000:65536", [(1, 1000, 65535)]),
        ("{uid}:1000:65535\nother:1:99", [(1, 1000, 65535)]),
        ("me:1000:65534", [(1, 1000, 65534)]),
        ("me:1000:30000\n\nme:90000:40000\nme:5:5", [(1, 1000, 30000), (30001, 90000, 35535)]),
        ("me:1000:1000000", [(1, 1000, 65535)]),
        ("me:1000:65533", "gives me 65,533 numbers, and a sandbox needs 65,534"),
        ("other:1000:65536", "has no line for me"),
        ("me:x:65536\nme\nme:1:-5\n#me:1:65536", "has no line for me"),
        ("", "has no line for me"),
    ],
)
def test_ranges_of_subuid_are_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, lines: str, expected: object
) -> None:
    for program in ids.PROGRAMS:
        (tmp_path / program).write_text("")
        (tmp_path / program).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    subuid = tmp_path / "subuid"
    subuid.write_text(lines.format(uid=os.geteuid()) + "\n")
    monkeypatch.setattr(ids, "_FILES", (str(subuid), str(subuid)))
    monkeypatch.setattr(ids, "_user_name", lambda: "me")
    found = ids.find()
    if isinstance(expected, str):
        assert isinstance(found, Unavailable)
        assert expected in found.reason
        assert "add the line `me:FIRST:65536`" in found.fix
    else:
        assert isinstance(found, SubordinateIds)
        assert found.users == ((0, os.geteuid(), 1), *expected)  # type: ignore[misc]
        assert found.groups == ((0, os.getegid(), 1), *expected)  # type: ignore[misc]


def test_missing_programs_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ids, "_SEARCHED", "/nonexistent")
    monkeypatch.setenv("PATH", "/nonexistent")
    found = ids.find()
    assert isinstance(found, Unavailable)
    assert found.reason == "there is no newuidmap and no newgidmap"
    assert found.fix.startswith("install the package uidmap and add the line `")
