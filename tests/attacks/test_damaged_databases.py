"""Guard, item 16: a start with a damaged database works or is refused with a reason, and removes no file."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

import pytest
from state_testing import fill, of, started

from caged.emulator import ConfigError
from caged.emulator.config import EmulatorConfig
from caged.emulator.runtime import Runtime

Damage = Callable[[bytearray, random.Random], bytes]


def page_of(data: bytearray) -> int:
    return int.from_bytes(data[16:18], "big") or 4096


def one_byte(data: bytearray, chance: random.Random) -> bytes:
    data[chance.randrange(len(data))] = chance.randrange(256)
    return bytes(data)


def some_bytes(data: bytearray, chance: random.Random) -> bytes:
    for _ in range(chance.choice([2, 10, 100])):
        one_byte(data, chance)
    return bytes(data)


def one_bit(data: bytearray, chance: random.Random) -> bytes:
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(data)


def header_byte(data: bytearray, chance: random.Random) -> bytes:
    data[chance.randrange(100)] = chance.randrange(256)
    return bytes(data)


def page_header(data: bytearray, chance: random.Random) -> bytes:
    at = chance.randrange(len(data) // page_of(data)) * page_of(data)
    data[at + chance.randrange(12)] = chance.randrange(256)
    return bytes(data)


def zeroed(data: bytearray, chance: random.Random) -> bytes:
    at, size = chance.randrange(len(data)), chance.choice([16, 512, 4096])
    data[at : at + size] = bytes(len(data[at : at + size]))
    return bytes(data)


def cut_off(data: bytearray, chance: random.Random) -> bytes:
    return bytes(data[: chance.randrange(1, len(data))])


def cut_at_a_page(data: bytearray, chance: random.Random) -> bytes:
    return bytes(data[: chance.randrange(1, len(data) // page_of(data)) * page_of(data)])


def pages_swapped(data: bytearray, chance: random.Random) -> bytes:
    size = page_of(data)
    one, two = (chance.randrange(len(data) // size) * size for _ in range(2))
    data[one : one + size], data[two : two + size] = data[two : two + size], data[one : one + size]
    return bytes(data)


def page_repeated(data: bytearray, chance: random.Random) -> bytes:
    size = page_of(data)
    one, two = (chance.randrange(len(data) // size) * size for _ in range(2))
    data[one : one + size] = data[two : two + size]
    return bytes(data)


def text_changed(data: bytearray, chance: random.Random) -> bytes:
    """Change a text inside a record: the file is still a database, and perhaps still JSON."""
    places = [at for at in range(1, len(data) - 1) if data[at : at + 2] in (b'": ', b'",', b", ", b": ", b'{"', b"[]")]
    for _ in range(chance.choice([1, 3])):
        data[chance.choice(places) + chance.choice([-1, 0, 1, 2])] = chance.choice(b'0519ntf{}[],:"x\x00\xff')
    return bytes(data)


def word_changed(data: bytearray, chance: random.Random) -> bytes:
    """Replace a word everywhere by one of the same length: still JSON, with another meaning."""
    old, new = chance.choice(
        [
            (b"null", b'"ab"'), (b"null", b"1e99"), (b"true", b"null"), (b"false", b"12345"), (b"running", b"flying!"),
            (b"stopped", b"pending"), (b'"full"', b'"fool"'), (b'"team"', b'"gold"'), (b'"id"', b'"iD"'),
            (b'"told"', b'"tolt"'), (b'"drawn"', b'"drown"'), (b'"common"', b'"comma!"'), (b"{}", b"[]"),
            (b'"rules"', b'"rulez"'), (b'"accounts"', b'"accuonts"'), (b"cage_", b"../x/"), (b"0.0", b"NaN"),
            (b"sandbox", b"session"), (b"account", b"sandbox"), (b"[]", b"{}"),
        ]
    )  # fmt: skip
    return bytes(data).replace(old, new)


DAMAGES: dict[str, Damage] = {
    damage.__name__: damage
    for damage in (
        *(one_byte, some_bytes, one_bit, header_byte, page_header, zeroed, cut_off, cut_at_a_page),
        *(pages_swapped, page_repeated, text_changed, word_changed),
    )
}


@pytest.fixture(scope="module")
def filled(tmp_path_factory) -> tuple[Path, str]:
    """(a state directory with records of every kind and its database as one file; the sandbox)"""
    state = tmp_path_factory.mktemp("filled") / "state"
    with started(state, seed=3) as emulator, of(emulator, emulator.api_key) as api:
        box = fill(emulator, api)
    database = sqlite3.connect(state / "state.db")
    database.execute("PRAGMA journal_mode = DELETE")
    database.close()
    return state, box


@pytest.fixture
def state(filled, tmp_path) -> Iterator[Path]:
    shutil.copytree(filled[0], tmp_path / "state", symlinks=True)
    yield tmp_path / "state"
    shutil.rmtree(tmp_path / "state")


def files(state: Path) -> list[str]:
    """The files that a developer must not lose: those of sandboxes and snapshots, also if they were moved."""
    return sorted(
        f"{path.name.partition('-')[2] if path.parent.name == 'lost+found' else path.name}"
        for top in ("sandboxes", "snapshots", "lost+found")
        for path in (state / top).rglob("*")
        if path.name != "reasons.txt"
    )


def outcome(state: Path) -> str:
    """Return "" if the emulator starts, else the refusal. Any other exception fails the test.

    No port is opened: the runtime's constructor does all that reads the database.
    """
    try:
        runtime = Runtime(EmulatorConfig.make(state_dir=state, port=0, seed=3))
    except ConfigError as error:
        return str(error)
    runtime.clean_up()
    return ""


@pytest.mark.parametrize("shape", DAMAGES)
def test_start_with_damaged_database_works_or_is_refused_and_removes_no_file(filled, state, shape, long_form):
    whole = (filled[0] / "state.db").read_bytes()
    before = files(state)
    chance = random.Random(shape)
    for number in range(300 if long_form else 14):
        for left in state.glob("state.db*"):
            left.unlink()
        (state / "state.db").write_bytes(DAMAGES[shape](bytearray(whole), chance))
        refused = outcome(state)
        where = f"{shape}, number {number}: {refused}"
        assert files(state) == before, where
        if refused:
            assert str(state) in refused, where
            assert "another directory" in refused or "Nothing was changed" in refused, where
            assert "move it away" not in refused, where
        for moved in (state / "lost+found").glob("2*"):
            name = moved.name.partition("-")[2]
            moved.rename(state / ("snapshots" if name.startswith("snap") else "sandboxes") / name)
        shutil.rmtree(state / "lost+found", ignore_errors=True)
    for left in state.glob("state.db*"):
        left.unlink()
    (state / "state.db").write_bytes(whole)
    assert outcome(state) == ""


@pytest.mark.parametrize("beside", ["state.db-wal", "state.db-shm", "state.db-journal"])
def test_start_with_garbage_in_sqlite_side_file_works_or_is_refused(state, beside, long_form):
    before = files(state)
    whole = (state / "state.db").read_bytes()
    for number in range(100 if long_form else 10):
        (state / "state.db").write_bytes(whole)
        (state / beside).write_bytes(random.Random(number).randbytes(random.Random(number).choice([0, 31, 5000])))
        refused = outcome(state)
        assert not refused or "another directory" in refused
        assert files(state) == before
        for left in state.glob("state.db-*"):
            left.unlink()


def test_start_with_truncated_write_ahead_log_keeps_files(tmp_path, filled):
    """A power cut may leave a write-ahead log whose end is missing."""
    with started(tmp_path / "live") as emulator, of(emulator, emulator.api_key) as api:
        box = api.sandbox()
        api.write(box, "/workspace/a", "kept")
        for name in ("state.db", "state.db-wal"):
            shutil.copy(tmp_path / "live" / name, tmp_path / name)
    changes = (tmp_path / "state.db-wal").read_bytes()
    assert changes
    chance = random.Random(5)
    for _ in range(12):
        copy = tmp_path / "copy"
        shutil.copytree(tmp_path / "live", copy, symlinks=True)
        for left in copy.glob("state.db*"):
            left.unlink()
        shutil.copy(tmp_path / "state.db", copy / "state.db")
        (copy / "state.db-wal").write_bytes(changes[: chance.randrange(len(changes))])
        refused = outcome(copy)
        assert not refused or "another directory" in refused
        found = [path for path in copy.rglob("a") if path.is_file() and path.read_text() == "kept"]
        assert len(found) == 1, (refused, os.listdir(copy))
        shutil.rmtree(copy)
