"""`caged-emulator cache`."""

from __future__ import annotations

import json
import re
from pathlib import Path

import cli_testing
import pytest
from python_programs import other_version, python_with_pip

from caged.emulator.cache.cache import Cache
from caged.emulator.cache.entries import Key


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Cache:
    monkeypatch.setenv("CAGED_CACHE_DIR", str(tmp_path / "cache"))
    return Cache(tmp_path / "cache", 1)


def make(cache: Cache, name: str):
    builder = cache.begin(Key("packages", name, {"name": name}))
    (builder.content / "file").write_text("x")
    return builder.publish({})


def test_entries_are_listed_and_cleared(cache):
    assert cli_testing.call("cache", "path").stdout == f"{cache.path}\n"
    assert cli_testing.call("cache", "ls").stdout == ""
    used = make(cache, "python-311: pytest")
    make(cache, "node-20: prettier").release()
    table = cli_testing.call("cache", "ls").stdout.splitlines()
    assert table[0].split() == ["KIND", "NAME", "MB", "FILES", "USED", "AT", "IN", "USE", "DIGEST"]
    assert len(table) == 3
    listed = [json.loads(line) for line in cli_testing.call("cache", "ls", "--json").stdout.splitlines()]
    assert {one["name"]: one["in_use"] for one in listed} == {"python-311: pytest": True, "node-20: prettier": False}
    assert cli_testing.call("cache", "clear").stdout == "removed 1 entry; 1 entry in use\n"
    used.release()
    assert cli_testing.call("cache", "clear").stdout == "removed 1 entry\n"
    assert cli_testing.call("cache", "clear").stdout == "removed 0 entries\n"


def test_list_says_where_downloads_of_an_old_pip_are_not_kept(cache, tmp_path, monkeypatch):
    template = f"python-{other_version().replace('.', '')}"
    monkeypatch.setenv("PATH", python_with_pip(tmp_path / "old", "24.3.1"))
    said = cli_testing.call("cache", "ls").stderr
    assert re.search(
        rf"^downloads of packages are not kept in .*{template}.*: pip 24\.3 is older than 25\.0", said, re.M
    )
    monkeypatch.setenv("PATH", python_with_pip(tmp_path / "new", "25.0"))
    assert template not in cli_testing.call("cache", "ls").stderr


def test_cache_that_does_not_exist_is_not_made(tmp_path):
    directory = tmp_path / "none"
    assert cli_testing.call("cache", "ls", "--cache-dir", str(directory)).stdout == ""
    assert cli_testing.call("cache", "clear", "--cache-dir", str(directory)).stdout == "removed 0 entries\n"
    assert not directory.exists()


def test_cache_that_others_can_write_to_is_an_error(tmp_path):
    Path(tmp_path / "open").mkdir()
    Path(tmp_path / "open").chmod(0o777)
    result = cli_testing.call("cache", "clear", "--cache-dir", str(tmp_path / "open"))
    assert result.returncode == 1
    assert "can be changed by other users (mode 777)" in result.stderr
