"""Guard, item 2: a hostile archive neither reads nor writes outside its target, and its records are only data."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Callable, Optional

import archive_testing as raw
import fork_server
import httpx
import pytest
from archive_testing import directory, extended, file, hard, link, record, records, rewrite, tree
from cases import each
from state_testing import of, started

from caged.emulator import Emulator
from caged.emulator.cage import restore, tar_extractor, tar_writer
from caged.emulator.cage.paths import Layout
from caged.emulator.cage.tar_reader import ArchiveError

#: {out} is a directory of the host; {up} leads from the archive's directory to it.
TREES: dict[str, Callable[[bytes], bytes]] = {
    "link_then_through_it": lambda out: tree(link(b"./l", out), file(b"./l/x")),
    "raw_and_normalised_differ": lambda out: tree(link(b"././l", out), file(b"./l/x")),
    "normalised_and_raw_differ": lambda out: tree(link(b"./l", out), file(b"././l/x")),
    "double_slash": lambda out: tree(link(b".//l", out), file(b"./l/x")),
    "dot_behind": lambda out: tree(link(b"./l/.", out), file(b"./l/x")),
    "slash_behind": lambda out: tree(link(b"./l/", out), file(b"./l/x")),
    "back_and_forth": lambda out: tree(directory(b"./a/"), link(b"./a/../l", out), file(b"./l/x")),
    "directory_replaced_by_link": lambda out: tree(directory(b"./l/"), link(b"./l", out), file(b"./l/x")),
    "link_replaced_by_directory": lambda out: tree(link(b"./l", out), directory(b"./l/"), file(b"./l/x")),
    "link_then_the_file": lambda out: tree(link(b"./l", out + b"/secret"), file(b"./l")),
    "hard_link_through_link": lambda out: tree(link(b"./l", out), hard(b"./x", b"./l/secret")),
    "hard_link_through_raw_link": lambda out: tree(link(b"././l", out), hard(b"./x", b"./l/secret")),
    "hard_link_through_late_link": lambda out: tree(
        directory(b"./a/"), file(b"./a/secret"), link(b"./l", out), hard(b"./x", b"./l/secret")
    ),
    "hard_link_to_link": lambda out: tree(link(b"./l", out + b"/secret"), hard(b"./x", b"./l")),
    "hard_link_absolute": lambda out: tree(hard(b"./x", out + b"/secret")),
    "hard_link_upwards": lambda out: tree(hard(b"./x", b"./" + b"../" * 20 + out[1:] + b"/secret")),
    "hard_link_without_dot": lambda out: tree(file(b"./a"), hard(b"./x", b"a")),
    "hard_link_to_nothing": lambda out: tree(hard(b"./x", b"./missing")),
    "hard_link_to_later": lambda out: tree(hard(b"./a", b"./b"), file(b"./b")),
    "hard_link_to_directory": lambda out: tree(directory(b"./a/"), hard(b"./x", b"./a")),
    "hard_link_to_itself": lambda out: tree(hard(b"./x", b"./x")),
    "hard_link_to_the_top": lambda out: tree(hard(b"./x", b".")),
    "hard_link_to_fifo": lambda out: tree(raw.header(b"./f", b"6"), hard(b"./x", b"./f")),
    "hard_link_with_content": lambda out: tree(file(b"./a"), raw.header(b"./x", b"1", 4, b"./a") + raw.padded(b"evil")),
    "absolute": lambda out: tree(file(out + b"/x")),
    "upwards": lambda out: tree(file(b"./../x")),
    "upwards_bare": lambda out: tree(file(b"../x")),
    "upwards_at_the_end": lambda out: tree(directory(b"./a/"), directory(b"./a/..")),
    "without_dot": lambda out: tree(file(b"x")),
    "empty_name": lambda out: tree(file(b"")),
    "only_slash": lambda out: tree(file(b"/")),
    "the_top_again": lambda out: tree(directory(b"./")),
    "the_top_as_link": lambda out: link(b".", out) + file(b"./x") + raw.END,
    "the_top_as_file": lambda out: file(b".") + raw.END,
    "no_top": lambda out: file(b"./x") + raw.END,
    "nothing": lambda out: raw.END,
    "empty": lambda out: b"",
    "twice": lambda out: tree(file(b"./x"), file(b"./x")),
    "twice_later": lambda out: tree(directory(b"./a/"), file(b"./a/x"), file(b"./b"), directory(b"./a/")),
    "parent_missing": lambda out: tree(file(b"./a/x")),
    "parent_is_a_file": lambda out: tree(file(b"./a"), file(b"./a/x")),
    "prefix_upwards": lambda out: tree(file(b"x", prefix=b"./..")),
    "prefix_absolute": lambda out: tree(file(b"x", prefix=out)),
    "extended_upwards": lambda out: tree(extended(records(path=b"./../x")), file(b"./ok")),
    "extended_absolute": lambda out: tree(extended(records(path=out + b"/x")), file(b"./ok")),
    "extended_zero_byte": lambda out: tree(extended(records(path=b"./a\0/../../x")), file(b"./ok")),
    "extended_target_upwards": lambda out: tree(
        extended(records(linkpath=b"./../../secret")), raw.header(b"./x", b"1", target=b"./ok")
    ),
    "extended_twice": lambda out: tree(
        extended(records(path=b"./a")), extended(records(path=b"./../x")), file(b"./ok")
    ),
    "extended_key_twice": lambda out: tree(
        extended(record(b"path", b"./ok") + record(b"path", b"./../x")), file(b"./ok")
    ),
    "extended_length_wrong": lambda out: tree(extended(b"99 path=./x\n"), file(b"./ok")),
    "extended_length_zero": lambda out: tree(extended(b"0 path=./x\n"), file(b"./ok")),
    "extended_length_negative": lambda out: tree(extended(b"-5 path=./x\n"), file(b"./ok")),
    "extended_length_huge": lambda out: tree(extended(b"9" * 400 + b" path=./x\n"), file(b"./ok")),
    "extended_without_value": lambda out: tree(extended(b"7 path\n"), file(b"./ok")),
    "extended_size_negative": lambda out: tree(extended(records(size=b"-512")), file(b"./ok")),
    "extended_size_huge": lambda out: tree(extended(records(size=b"9" * 30)), file(b"./ok")),
    "extended_size_more_than_there_is": lambda out: tree(extended(records(size=b"99999999")), file(b"./ok")),
    "extended_time_not_a_number": lambda out: tree(extended(records(mtime=b"nan")), file(b"./ok")),
    "extended_time_huge": lambda out: tree(extended(records(mtime=b"9" * 40)), file(b"./ok")),
    "extended_without_member": lambda out: raw.TOP + extended(records(path=b"./x")),
    "extended_megabytes": lambda out: tree(extended(b"1" * (2 << 20)), file(b"./ok")),
    "extended_chain": lambda out: tree(*[extended(records(path=b"./x"))] * 3000, file(b"./ok")),
    "global_header": lambda out: tree(extended(records(path=b"./../x"), b"g"), file(b"./ok")),
    "global_chain": lambda out: tree(*[extended(records(comment=b"x"), b"g")] * 3000, file(b"./ok")),
    "gnu_long_name": lambda out: tree(raw.header(b"././@LongLink", b"L", 7) + raw.padded(b"../../x"), file(b"./ok")),
    "gnu_long_chain": lambda out: tree(*[raw.header(b"x", b"L", 1) + raw.padded(b"x")] * 3000, file(b"./ok")),
    "gnu_sparse": lambda out: tree(raw.header(b"./s", b"S", sized=b"\x80" + b"\0" * 7 + b"\x7f\xff\xff\xff")),
    "sparse_by_extended": lambda out: tree(
        extended(record(b"GNU.sparse.major", b"1") + record(b"GNU.sparse.realsize", b"9" * 15)), file(b"./s")
    ),
    "size_not_octal": lambda out: tree(raw.header(b"./x", sized=b"99999999999\0")),
    "size_negative": lambda out: tree(raw.header(b"./x", sized=b"-0000000512\0")),
    "size_base_256": lambda out: tree(raw.header(b"./x", sized=b"\xff" * 12)),
    "size_of_a_directory": lambda out: tree(raw.header(b"./d/", b"5", 512), bytes(512)),
    "checksum_wrong": lambda out: tree(file(b"./x", checksum=b"000001\0 ")),
    "cut_in_a_header": lambda out: tree(file(b"./x"))[:700],
    "cut_in_a_file": lambda out: raw.TOP + file(b"./x", b"e" * 5000)[:2000],
    "cut_before_the_end": lambda out: raw.TOP + file(b"./x"),
    "device": lambda out: tree(raw.header(b"./null", b"3")),
    "block_device": lambda out: tree(raw.header(b"./sda", b"4")),
    "unknown_kind": lambda out: tree(raw.header(b"./x", b"Z")),
    "contiguous_file": lambda out: tree(raw.header(b"./x", b"7")),
    "long_component": lambda out: tree(extended(records(path=b"./" + b"n" * 256)), file(b"./ok")),
    "very_long_path": lambda out: tree(extended(records(path=b"./" + b"n/" * (1 << 19) + b"n")), file(b"./ok")),
    "link_without_target": lambda out: tree(link(b"./l", b"")),
    "link_with_long_target": lambda out: tree(extended(records(linkpath=b"t" * 4096)), link(b"./l", b"t")),
    "mode_not_octal": lambda out: tree(file(b"./x", mode=b"rwxrwxrw")),
    "noise": lambda out: random.Random(1).randbytes(5000),
    "text": lambda out: b"not a tar file at all\n" * 100,
}


@pytest.fixture(scope="module")
def export(tmp_path_factory) -> tuple[Path, str, str, str]:
    """(an export, its account's key, its sandbox, its snapshot)"""
    path = tmp_path_factory.mktemp("export") / "export.tar.gz"
    with started(None) as emulator, of(emulator, emulator.api_key) as api:
        box = api.sandbox()
        api.write(box, "/workspace/a", "kept")
        snapshot = api.snapshot(box)
        emulator.export(path)
        return path, emulator.api_key, box, snapshot


@pytest.fixture(scope="module")
def target() -> Iterator[Emulator]:
    """The emulator into which the archives are imported. No refused archive changes it."""
    with Emulator() as emulator:
        yield emulator


@pytest.fixture
def out(tmp_path) -> Iterator[Path]:
    """A directory of the host that the hostile archives try to read and write."""
    place = tmp_path / "out"
    place.mkdir()
    (place / "secret").write_text("secret")
    yield place
    assert os.listdir(place) == ["secret"]
    assert (place / "secret").read_text() == "secret"
    assert (place / "secret").stat().st_nlink == 1


def assert_refused(emulator: Emulator, evil: Path, words: Optional[str] = None) -> str:
    """Import over HTTP and in Python: both are refused and change nothing. Returns the reason."""
    before = sorted(str(path) for path in emulator.run_dir.rglob("*"))
    with pytest.raises(ValueError, match=words):
        emulator.import_(evil)
    headers = {"Authorization": f"Bearer {emulator.admin_key}"}
    answer = httpx.post(
        f"{emulator.base_url}/_emulator/import",
        content=evil.read_bytes(),
        headers=headers,
        timeout=60,
        trust_env=False,
        verify=False,
    )
    assert answer.status_code == 400, answer.text
    after = sorted(str(path) for path in emulator.run_dir.rglob("*"))
    assert [path for path in after if "/spare" not in path] == [path for path in before if "/spare" not in path]
    with of(emulator, emulator.api_key) as api:
        assert api.get("/sandboxes").json() == []
    return str(answer.json()["detail"])


@pytest.mark.parametrize("where", ["workspace", "root", "tmp", "snapshot"])
def test_import_refuses_hostile_tree_in_any_member(export, target, out, tmp_path, where, long_form):
    path, _, box, snapshot = export
    member = f"snapshots/{snapshot}.tar" if where == "snapshot" else f"sandboxes/{box}/{where}.tar"
    chosen = list(TREES) if long_form else random.Random(where).sample(list(TREES), 6)
    for shape in chosen:
        evil = rewrite(
            path,
            tmp_path / "evil.tar.gz",
            lambda name, content, shape=shape: TREES[shape](os.fsencode(out)) if name == member else content,
        )
        reason = assert_refused(target, evil)
        assert member in reason, shape


@each("mounted", [True, False])
@each("shape", TREES)
def test_check_and_restore_refuse_hostile_tree(out, tmp_path, shape, mounted):
    """Calls each function directly, so that no check hides that a later one is missing."""
    folder = Path(tempfile.mkdtemp(dir=tmp_path))
    source = folder / "evil.tar"
    source.write_bytes(TREES[shape](os.fsencode(out)))
    with pytest.raises(ArchiveError):
        tar_extractor.check(source)
    layout = Layout(folder / "box", mounted)
    layout.make()
    (layout.workspace / "mine").write_text("mine")
    (folder / "extracted").mkdir()
    with pytest.raises(ArchiveError):
        tar_extractor.extract(source, folder / "extracted", layout)
    with pytest.raises(OSError, match="the archive is damaged"):
        restore.restore_files(source, layout)
    assert os.listdir(layout.workspace) == ["mine"]
    assert sorted(os.listdir(layout.directory)) == ["opt", "root", "tmp", "workspace"]
    assert os.listdir(out) == ["secret"]


ODD_BUT_FINE: dict[str, tuple[bytes, str]] = {
    "newline": (tree(file(b"./a\nb")), "a\nb"),
    "not_utf8": (tree(file(b"./\xff\xfe")), "\udcff\udcfe"),
    "spaces_and_quotes": (tree(file(b"./ 'a\" \\")), " 'a\" \\"),
    "dots": (tree(file(b"./...")), "..."),
    "link_out_is_only_a_link": (tree(link(b"./l", b"/etc/passwd")), "l"),
    "old_kind": (tree(raw.header(b"./x", b"\0")), "x"),
    "extended_path": (tree(extended(records(path=b"./" + b"n" * 255)), file(b"./short")), "n" * 255),
    "negative_time": (tree(extended(records(mtime=b"-5.25")), file(b"./x")), "x"),
}


@pytest.mark.parametrize("shape", ODD_BUT_FINE)
def test_unusual_but_harmless_tree_is_extracted(tmp_path, shape):
    content, name = ODD_BUT_FINE[shape]
    (tmp_path / "a.tar").write_bytes(content)
    layout = Layout(tmp_path / "box", mounted=True)
    layout.make()
    tar_extractor.check(tmp_path / "a.tar")
    restore.restore_files(tmp_path / "a.tar", layout)
    assert os.listdir(layout.workspace) == [name]


def test_randomly_damaged_tree_writes_nothing_outside_its_directory(out, tmp_path, long_form):
    layout = Layout(tmp_path / "box", mounted=True)
    layout.make()
    (layout.workspace / "d").mkdir()
    (layout.workspace / "d" / "a").write_text("a" * 700)
    os.link(layout.workspace / "d" / "a", layout.workspace / "h")
    (layout.workspace / "l").symlink_to(out)
    (layout.workspace / ("n" * 150)).write_text("long")
    tar_writer.pack(layout, tmp_path / "whole.tar")
    whole = (tmp_path / "whole.tar").read_bytes()
    chance = random.Random(7)
    for _ in range(20_000 if long_form else 150):
        damaged = bytearray(whole)
        for _ in range(chance.choice([1, 1, 2, 8])):
            damaged[chance.randrange(len(damaged))] = chance.choice([0, 0x2E, 0x2F, 0x35, 0x31, chance.randrange(256)])
        (tmp_path / "damaged.tar").write_bytes(damaged)
        try:
            restore.restore_files(tmp_path / "damaged.tar", layout)
        except OSError:
            pass
        assert sorted(os.listdir(layout.directory)) == ["opt", "root", "tmp", "workspace"]
    assert sorted(os.listdir(tmp_path)) == ["box", "damaged.tar", "out", "whole.tar"]


# --- the export itself


def test_import_refuses_hostile_members(export, target, out, tmp_path):
    path, _, box, _ = export
    for more, words in {
        file(b"../x"): "holds '../x'",
        file(os.fsencode(out) + b"/x"): "holds '/",
        link(b"snapshots/snap_x.tar", os.fsencode(out)): "holds 'snapshots/snap_x.tar'",
        hard(b"snapshots/snap_x.tar", os.fsencode(out) + b"/secret"): "holds 'snapshots/snap_x.tar'",
        directory(b"sandboxes/"): "holds 'sandboxes/'",
        file(f"sandboxes/{box}/workspace.tar".encode(), tree()): "twice",
        file(b"manifest.json", b"{}"): "holds 'manifest.json'",
        file(b"state.db/x"): "holds 'state.db/x'",
        file(b"state.db\n"): "holds 'state.db",
        raw.header(b"snapshots/snap_x.tar", sized=b"77777777777\0"): "too large|ends",
        extended(records(path=b"snapshots/../../x")) + file(b"ok"): "holds 'snapshots/../../x'",
        extended(records(size=b"9" * 15)) + file(b"snapshots/snap_x.tar"): "too large",
    }.items():
        evil = rewrite(path, tmp_path / "evil.tar.gz", lambda name, content: content, more)
        assert_refused(target, evil, words)


@pytest.mark.parametrize(
    "manifest",
    [b"", b"null", b"[]", b'"caged-state"', b"{", b"[" * 100_000, b'{"format": "caged-state"}', b"\xff", b"1" * 9000],
)
def test_import_refuses_hostile_manifest(export, target, tmp_path, manifest):
    change = lambda name, content: manifest if name == "manifest.json" else content  # noqa: E731
    assert_refused(target, rewrite(export[0], tmp_path / "evil.tar.gz", change))


# --- the records

NESTED = "[" * 100_000 + "]" * 100_000


def body(kind: str, **changed: object) -> Callable[[sqlite3.Connection], object]:
    def change(database: sqlite3.Connection) -> None:
        for identifier, text in database.execute("SELECT id, body FROM record WHERE kind = ?", (kind,)).fetchall():
            new = json.dumps({**json.loads(text), **changed})
            database.execute("UPDATE record SET body = ? WHERE kind = ? AND id = ?", (new, kind, identifier))

    return change


def sql(*statements: str) -> Callable[[sqlite3.Connection], object]:
    return lambda database: [database.execute(statement) for statement in statements]


HUGE = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT 'account', n, n, '{}' FROM c"
RECORDS: dict[str, Callable[[sqlite3.Connection], object]] = {
    **{f"all_{name}": sql(f"UPDATE record SET body = '{text}'") for name, text in {
        "null": "null", "a_number": "1", "a_list": "[]", "a_text": '"x"', "empty": "", "half": "{", "nested": NESTED,
        "an_empty_object": "{}", "digits": "9" * 20_000,
    }.items()},
    **{f"entries_{name}": sql("INSERT INTO entry VALUES ('log x', 1, '[]')", f"UPDATE entry SET body = '{text}'")
       for name, text in {"null": "null", "a_number": "1", "a_list": "[]", "nested": NESTED, "objects": "{}"}.items()},
    **{f"documents_{name}": sql(f"UPDATE document SET body = '{text}'")
       for name, text in {"null": "null", "a_list": "[]", "nested": NESTED, "half": "{", "empty": "{}"}.items()},
    "blobs": sql("UPDATE record SET body = x'00ff'"),
    "numbers": sql("UPDATE record SET body = 5"),
    "not_utf8": sql("UPDATE record SET body = CAST(x'7bff7d' AS TEXT)"),
    "no_documents": sql("DELETE FROM document"),
    "no_accounts": sql("DELETE FROM record WHERE kind = 'account'"),
    "other_ids": sql("UPDATE record SET id = id || 'x'"),
    "id_null": body("sandbox", id=None),
    "id_path": sql("UPDATE record SET id = '../x', body = replace(body, id, '../x') WHERE kind = 'sandbox'"),
    "id_a_list": body("account", id=["a"]),
    "status_unknown": body("sandbox", status="flying"),
    "status_null": body("sandbox", status=None),
    "tier_unknown": body("account", tier="gold"),
    "scope_unknown": body("key", scope="root"),
    "network_unknown": body("sandbox", network_mode="moon"),
    "budget_a_text": body("sandbox", budget="much"),
    "budget_not_a_number": body("sandbox", budget=float("nan")),
    "cpus_infinite": body("sandbox", cpus=float("inf")),
    "env_a_list": body("sandbox", env=["a"]),
    "env_of_numbers": body("sandbox", env={"a": 1}),
    "repo_nested": body("sandbox", repo={"url": {"a": []}}),
    "logs_in_the_record": body("sandbox", port_passwords={"x": "y"}),
    "passwords_null": body("sandbox", port_passwords=None),
    "rules_null": body("account", rules=None),
    "rules_of_null": body("account", rules={"a": None}),
    "subscription_null": body("account", subscription=None),
    "password_odd": body("account", password=["zz", "zz"]),
    "causes_null": body("account", **{"told": None}),
    "name_half_a_pair": body("account", name="\ud800"),
    "secret_a_number": body("key", secret=5),
    "key_of_an_unknown_account": body("key", account_id="acct_unknown"),
    "a_view": sql("ALTER TABLE record RENAME TO r", f"CREATE VIEW record AS {HUGE}"),
    "one_more_view": sql(f"CREATE VIEW v AS {HUGE}"),
    "a_trigger": sql("CREATE TRIGGER t AFTER INSERT ON record BEGIN DELETE FROM entry; END"),
    "a_virtual_table": sql("CREATE VIRTUAL TABLE f USING fts5(a)"),
    "an_index_on_an_expression": sql("CREATE INDEX i ON record (length(body))"),
    "a_generated_column": sql("ALTER TABLE document ADD COLUMN g AS (hex(zeroblob(900000000)))"),
    "another_column": sql("ALTER TABLE record ADD COLUMN x"),
    "no_table": sql("DROP TABLE entry"),
    "another_application": sql("PRAGMA application_id = 7"),
    "another_version": sql("PRAGMA user_version = 7"),
    "schema_with_poison": sql(
        "PRAGMA writable_schema = ON", "UPDATE sqlite_master SET sql = 'CREATE TABLE record(' WHERE name = 'record'"
    ),
    "schema_with_another_root": sql(
        "PRAGMA writable_schema = ON", "UPDATE sqlite_master SET rootpage = 2 WHERE type = 'table'"
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def changed(export, tmp_path_factory) -> Callable[[str, Path], Path]:
    """The export with its database changed."""
    folder = tmp_path_factory.mktemp("databases")

    def change(shape: str, target: Path) -> Path:
        def member(name: str, content: bytes) -> bytes:
            if name != "state.db":
                return content
            (folder / "state.db").write_bytes(content)
            database = sqlite3.connect(folder / "state.db", isolation_level=None)
            RECORDS[shape](database)
            database.close()
            return (folder / "state.db").read_bytes()

        return rewrite(export[0], target, member)

    return change


def has_virtual_tables() -> bool:
    try:
        with closing(sqlite3.connect(":memory:")) as database:
            database.execute("CREATE VIRTUAL TABLE f USING fts5(a)")
    except sqlite3.Error:  # this SQLite has no fts5
        return False
    return True


@each("shape", [shape for shape in RECORDS if shape != "a_virtual_table" or has_virtual_tables()])
def test_import_refuses_hostile_record_in_bounded_time(changed, target, tmp_path, shape):
    begun = time.monotonic()
    assert_refused(target, changed(shape, tmp_path / "evil.tar.gz"))
    assert time.monotonic() - begun < 30


def test_import_refuses_rows_that_share_pages(export, target, tmp_path):
    """A small file in which all rows refer to the same large text would need a large amount of memory."""

    def member(name: str, content: bytes) -> bytes:
        if name != "state.db":
            return content
        (tmp_path / "state.db").write_bytes(content)
        with sqlite3.connect(tmp_path / "state.db") as database:
            for number in range(3):
                database.execute("INSERT INTO entry VALUES ('x', ?, ?)", (number, chr(97 + number) * 60_000))
        database.close()
        data = bytearray((tmp_path / "state.db").read_bytes())
        page = int.from_bytes(data[16:18], "big")
        starts = {}
        for at in range(page, len(data), page):
            for letter in b"abc":
                if data[at + 4 : at + 100] == bytes([letter]) * 96:
                    starts.setdefault(letter, at // page + 1)
        first, second = starts[ord("a")], starts[ord("b")]
        pointer = second.to_bytes(4, "big")
        found = [at for at in range(len(data) - 4) if data[at : at + 4] == pointer and data[at - 1] == ord("b")]
        assert found
        data[found[0] : found[0] + 4] = first.to_bytes(4, "big")
        return bytes(data)

    assert_refused(target, rewrite(export[0], tmp_path / "evil.tar.gz", member), "damaged")


# --- other uses of an archive


def test_unmodified_export_can_be_imported_and_used(export):
    path, key, box, snapshot = export
    with Emulator() as emulator:
        emulator.import_(path)
        with of(emulator, key) as api:
            api.post(f"/sandboxes/{box}/resume")
            assert api.read(box, "/workspace/a").text == "kept"
            assert api.restore(snapshot, box).status_code == 200


def test_shell_from_hostile_archive_is_refused(export, out, tmp_path):
    path, _, box, _ = export
    evil = rewrite(
        path,
        tmp_path / "evil.tar.gz",
        lambda name, content: (
            tree(link(b"././l", os.fsencode(out)), file(b"./l/x"))
            if name == f"sandboxes/{box}/workspace.tar"
            else content
        ),
    )
    command = [sys.executable, "-m", "caged.emulator", "shell", box, "--from", str(evil)]
    done = fork_server.run(command, capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 1
    assert "leads out of its directory" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("shape", ["raw_and_normalised_differ", "hard_link_through_link", "extended_chain", "device"])
def test_restore_refuses_replaced_snapshot_file(tmp_path, out, shape):
    state = tmp_path / "state"
    with started(state) as emulator, of(emulator, emulator.api_key) as api:
        box = api.sandbox()
        api.write(box, "/workspace/a", "kept")
        snapshot = api.snapshot(box)
        (state / "snapshots" / f"{snapshot}.tar").write_bytes(TREES[shape](os.fsencode(out)))
        refused = api.restore(snapshot, box)
        assert refused.status_code == 507
        assert "the files are untouched" in refused.json()["detail"]
        assert api.read(box, "/workspace/a").text == "kept"
