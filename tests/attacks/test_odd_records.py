"""Guard: every field of every record is validated, in an archive and in a state directory. A refusal names the
record and the field, and nothing is imported, changed or served."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Callable

import fork_server
import httpx
import pytest
from archive_testing import rewrite
from cases import each
from odd_values import CLASSES, DOCUMENTS, ENTRIES, MISSING, PARTS, WRONG
from state_testing import fill, of, started

from caged.emulator import ConfigError, Emulator
from caged.emulator.config import EmulatorConfig
from caged.emulator.persistence import codec, loader, record_rules
from caged.emulator.persistence.codec import _STORED_NAMES, stored_fields
from caged.emulator.persistence.field_validation import DamagedRecord
from caged.emulator.runtime import Runtime

Change = Callable[[sqlite3.Connection], None]


#: Parts of Python's own error messages, which a user must not see.
RAW = re.compile(r"\b(Type|Key|Value|Attribute|Index|Recursion|Overflow)Error\b|Traceback|NoneType|unexpected keyword")


@pytest.fixture(scope="module")
def filled(tmp_path_factory) -> tuple[Path, Path, dict[str, Any]]:
    """(a state directory with records of every kind; its export; the id of a record of each kind)"""
    folder = tmp_path_factory.mktemp("filled")
    state = folder / "state"
    with started(state, seed=3) as emulator, of(emulator, emulator.api_key) as api:
        fill(emulator, api)
        signup = {"email": "a@b.example", "password": "long enough", "name": "x"}
        form = httpx.post(f"{emulator.base_url}/signup", json=signup, trust_env=False, verify=False, timeout=60)
        assert form.status_code in (200, 201), form.text
        emulator.export(folder / "export.tar.gz")
    database = sqlite3.connect(state / "state.db")
    database.execute("PRAGMA journal_mode = DELETE")
    found = dict(database.execute("SELECT kind, id FROM record"))
    account = database.execute("SELECT id FROM record WHERE kind = 'account' ORDER BY position").fetchone()
    database.close()
    assert set(found) == set(WRONG)
    return state, folder / "export.tar.gz", {**found, "account": account[0]}


@pytest.fixture(scope="module")
def target() -> Iterator[Emulator]:
    with Emulator() as emulator:
        yield emulator


def update(statement: str, *values: Any) -> Change:
    def change(database: sqlite3.Connection) -> None:
        assert database.execute(statement, values).rowcount >= 1

    return change


def record(database: sqlite3.Connection, kind: str, identifier: str) -> dict[str, Any]:
    query = "SELECT body FROM record WHERE kind = ? AND id = ?"
    return dict(json.loads(database.execute(query, (kind, identifier)).fetchone()[0]))


def set_record(kind: str, identifier: str, body: dict[str, Any]) -> Change:
    new = body.get("id", identifier)
    new = new if isinstance(new, str) else identifier
    query = "UPDATE record SET body = ?, id = ? WHERE kind = ? AND id = ?"
    return update(query, json.dumps(body), new, kind, identifier)


def with_value(body: dict[str, Any], path: str, value: Any) -> tuple[dict[str, Any], str]:
    """Copy a record with one field changed. Returns it and the field's name in error messages."""
    copy = json.loads(json.dumps(body))
    if path.startswith("repo."):
        copy["repo"] = {"url": "https://x.example/y", "token": None, "branch": "b", "commit": None, "subdir": "a/b"}
    inner, names = copy, path.split(".")
    for position, name in enumerate(names[:-1]):
        if name == "RULE":
            name = names[position] = next(key for key, rule in inner.items() if rule["type"] != "agent_stuck")
        inner = inner[name]
    if value is MISSING:
        del inner[names[-1]]
    else:
        inner[names[-1]] = value
    return copy, ".".join(names)


class Place:
    """A state directory and an archive whose databases are changed for a test and then restored.

    Attributes:
        ids: The id of a record of each kind.
        memory: The database of the state directory, as a copy in memory.
    """

    def __init__(self, filled: tuple[Path, Path, dict[str, Any]], folder: Path, target: Emulator) -> None:
        self._whole, self.export, self.ids = filled
        self.state, self._folder, self._target = folder / "state", folder, target
        shutil.copytree(self._whole, self.state, symlinks=True)
        self.packed = folder / "packed.db"
        with tarfile.open(self.export) as members:
            self._packed = members.extractfile("state.db").read()  # type: ignore[union-attr]
        self.memory = sqlite3.connect(":memory:", isolation_level=None)
        with closing(sqlite3.connect(self._whole / "state.db")) as database:
            database.backup(self.memory)

    def assert_not_loaded(self, change: Change, *words: str) -> None:
        """Check the loader that a start and an import have in common, on a database in memory."""
        self.memory.execute("BEGIN")
        try:
            change(self.memory)
            with pytest.raises(DamagedRecord) as raised:
                self._load()
        finally:
            self.memory.execute("ROLLBACK")
        assert_names(str(raised.value), *words)

    def _load(self) -> None:
        codec.check_documents(loader.load_documents(self.memory))
        loader.load_state(self.memory, self.state / "snapshots")

    def refusal_of_start(self, change: Change) -> str:
        """Return the error of a start, "" if it works. No port is opened: the constructor reads all records."""
        file = self.state / "state.db"
        for left in self.state.glob("state.db*"):
            left.unlink()
        shutil.copy(self._whole / "state.db", file)
        with closing(sqlite3.connect(file, isolation_level=None)) as database:
            change(database)
            before = list(database.iterdump())
        try:
            runtime = Runtime(EmulatorConfig.make(state_dir=self.state, port=0, seed=3))
        except ConfigError as error:
            with closing(sqlite3.connect(file)) as database:
                assert list(database.iterdump()) == before
            return str(error)
        runtime.clean_up()
        return ""

    def assert_start_refused(self, change: Change, *words: str) -> None:
        error = self.refusal_of_start(change)
        assert error, ("it starts", words)
        assert str(self.state / "state.db") in error
        assert "another directory" in error, error
        assert_names(error, *words)

    def changed_archive(self, change: Change) -> Path:
        self.packed.write_bytes(self._packed)
        with closing(sqlite3.connect(self.packed, isolation_level=None)) as database:
            change(database)
        content, evil = self.packed.read_bytes(), self._folder / "evil.tar.gz"
        return rewrite(self.export, evil, lambda name, old: content if name == "state.db" else old)

    def assert_import_refused(self, change: Change, *words: str) -> None:
        """Import over HTTP: 400, and nothing is imported."""
        answer = httpx.post(
            f"{self._target.base_url}/_emulator/import",
            content=self.changed_archive(change).read_bytes(),
            headers={"Authorization": f"Bearer {self._target.admin_key}"},
            timeout=60,
            trust_env=False,
            verify=False,
        )
        assert answer.status_code == 400, (answer.status_code, answer.text, words)
        assert_names(answer.json()["detail"], *words)
        with of(self._target, self._target.api_key) as api:
            assert api.get("/sandboxes").json() == []
        assert len(self._target.accounts()) == 1

    def assert_refused(self, change: Change, *words: str) -> None:
        self.assert_not_loaded(change, *words)
        self.assert_start_refused(change, *words)
        self.assert_import_refused(change, *words)


def assert_names(error: str, *words: str) -> None:
    for word in words:
        assert word in error, (word, error)
    assert not RAW.search(error), error


@pytest.fixture(scope="module")
def place(filled, tmp_path_factory, target) -> Iterator[Place]:
    made = Place(filled, tmp_path_factory.mktemp("place"), target)
    with closing(made.memory):
        yield made


def test_tables_of_wrong_values_cover_every_stored_field() -> None:
    for kind, record_class in CLASSES.items():
        own = {_STORED_NAMES.get(name, name) for name in stored_fields(record_class)}
        own |= {"told"} if kind in ("account", "sandbox") else set()
        own |= {"session_id"} if kind == "sandbox" else set()
        assert {name for name in WRONG[kind] if "." not in name} == own, kind
        assert set(record_rules.RULES[record_class].rules) == own, kind
    for place, record_class in PARTS.items():
        kind, _, path = place.partition(".")
        named = {name[len(path) + 1 :] for name in WRONG[kind] if name.startswith(f"{path}.")}
        assert named == set(stored_fields(record_class)) == set(record_rules.RULES[record_class].rules), place
    assert set(DOCUMENTS) == set(record_rules.DOCUMENTS)
    assert list(ENTRIES["events"])[1:] == list(stored_fields(record_rules.Event))
    assert list(ENTRIES["log"]) == [*stored_fields(record_rules.LogEntry)]


@each(("kind", "field"), [(kind, field) for kind, fields in WRONG.items() for field in fields])
def test_record_with_wrong_field_is_refused_by_field_name(place, kind, field, long_form) -> None:
    identifier = place.ids[kind]
    for number, value in enumerate(WRONG[kind][field]):
        body, name = with_value(record(place.memory, kind, identifier), field, value)
        if field == "id":
            name = ""  # an id that differs from the row's is refused earlier
        elif field == "rules.RULE.id" or (field == "rules.RULE.type" and value == "agent_stuck"):
            name = "rules"
        changed = set_record(kind, identifier, body)
        place.assert_not_loaded(changed, kind, name)
        turn = list(WRONG[kind]).index(field)
        if long_form or (number == 0 and turn % 8 == 0):
            place.assert_start_refused(changed, kind, name)
        if long_form or (number == 0 and turn % 16 == 1):
            place.assert_import_refused(changed, kind, name)


@each(("kind", "item"), [(kind, item) for kind, items in ENTRIES.items() for item in items])
def test_wrong_item_of_list_is_refused_by_name(place, kind, item, long_form) -> None:
    query = "SELECT list, n, body FROM entry WHERE list LIKE ? ORDER BY list, n LIMIT 1"
    listed, entry, text = place.memory.execute(query, (f"{kind} %",)).fetchone()
    for number, value in enumerate(ENTRIES[kind][item]):
        body = json.loads(text)
        body[list(ENTRIES[kind]).index(item)] = value
        changed = update("UPDATE entry SET body = ? WHERE list = ? AND n = ?", json.dumps(body), listed, entry)
        words = (f"entry {entry} of {listed}", item)
        place.assert_not_loaded(changed, *words)
        if long_form or (number == 0 and item in ("timestamp", "message", "data")):
            place.assert_start_refused(changed, *words)
            place.assert_import_refused(changed, *words)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_wrong_document_is_refused_by_name(place, name, long_form) -> None:
    for number, value in enumerate(DOCUMENTS[name]):
        changed = update("INSERT OR REPLACE INTO document VALUES (?, ?)", name, json.dumps(value))
        place.assert_not_loaded(changed, f"document {name}")
        if long_form or number == 0:
            place.assert_start_refused(changed, f"document {name}")
            place.assert_import_refused(changed, f"document {name}")


def one_rule_only(database: sqlite3.Connection) -> None:
    query = "SELECT id, body FROM record WHERE kind = 'account' ORDER BY position LIMIT 1"
    identifier, text = database.execute(query).fetchone()
    body = json.loads(text)
    body["rules"] = dict(list(body["rules"].items())[:1])
    assert body["rules"]
    set_record("account", identifier, body)(database)


#: Contradictions between records, or faults of the database around them, with words of the refusal.
BETWEEN: dict[str, tuple[Change, str]] = {
    "key_of_no_account": (
        update("UPDATE record SET body = json_set(body, '$.account_id', 'acct_none') WHERE kind = 'key'"),
        "account_id must be the id of an account",
    ),
    "login_of_no_account": (
        update("UPDATE record SET body = json_set(body, '$.key.account_id', 'acct_none') WHERE kind = 'login'"),
        "account_id must be the id of an account",
    ),
    "secret_of_another": (
        update(
            "UPDATE record SET body = json_set(body, '$.key.secret', (SELECT json_extract(k.body, '$.secret')"
            " FROM record k WHERE k.kind = 'key' LIMIT 1)) WHERE kind = 'login'"
        ),
        "secret must be unique",
    ),
    "rules_not_of_each_type": (one_rule_only, "one of each type"),
    "position_a_text": (update("UPDATE record SET position = 'x' WHERE kind = 'account'"), "position"),
    "position_a_fraction": (update("UPDATE record SET position = 1.5 WHERE kind = 'sandbox'"), "position"),
    "position_the_largest": (
        update("UPDATE record SET position = 9223372036854775807 WHERE kind = 'notification'"),
        "position",
    ),
    "entry_number_a_text": (update("UPDATE entry SET n = 'x' || n WHERE list LIKE 'log %'"), "number"),
    "entry_number_negative": (update("UPDATE entry SET n = -n WHERE list LIKE 'events %'"), "number"),
    "entry_number_the_largest": (
        update("UPDATE entry SET n = n + 9223372036854770000 WHERE list LIKE 'log %'"),
        "number",
    ),
}


@pytest.mark.parametrize("shape", BETWEEN)
def test_contradictory_records_are_refused(place, shape) -> None:
    place.assert_refused(*BETWEEN[shape])


@pytest.mark.parametrize("kind", ["sandbox", "snapshot"])
def test_archive_with_unfinished_record_is_refused(place, kind) -> None:
    body = {**record(place.memory, kind, place.ids[kind]), "status": "pending"}
    place.assert_import_refused(set_record(kind, place.ids[kind], body), f"{kind} {place.ids[kind]}", "status")


def test_archive_without_heartbeat_is_refused(place) -> None:
    place.assert_import_refused(update("DELETE FROM document WHERE name = 'alive'"), "document alive is missing")


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("key", {"secret": "a\nsecret-value"}),
        ("sandbox", {"env": {"A B": "secret-value"}}),
        ("sandbox", {"init_script": "secret-value\0"}),
        ("sandbox", {"port_passwords": {"0": "secret-value"}}),
        ("sandbox", {"repo": {"url": "-https://a:secret-value@x"}}),
        ("account", {"password": "secret-value"}),
    ],
)
def test_refusal_shows_no_secret(place, kind, changes) -> None:
    body = {**record(place.memory, kind, place.ids[kind]), **changes}
    error = place.refusal_of_start(set_record(kind, place.ids[kind], body))
    assert next(iter(changes)) in error
    assert "secret-value" not in error


#: Values at the limits and rare values, all of which are accepted.
RIGHT: dict[str, list[dict[str, Any]]] = {
    "account": [
        {"name": "", "password": None, "told": [], "past_seconds": 0, "rules": {}},
        {"password": ["ab", "cd"], "past_seconds": 1e12, "tier": "free", "name": "ä/\n"},
    ],
    "key": [{"last_used": None, "scope": "read_only", "name": "a/b"}],
    "login": [{"user_agent": "", "ip": "", "expires": 253402300799}],
    "sandbox": [
        {"cpus": 1, "memory_mb": 128, "disk_gb": 1, "timeout": 1, "budget": None, "init_script": None, "ip": None},
        {"cpus": 8, "memory_mb": 8192, "disk_gb": 50, "timeout": 86_400, "budget": 1e300, "ip": "::1"},
        {"status": "error", "port_passwords": {"1": "x", "65535": "y"}, "config": {"source": "yaml", "raw": "a: 1"}},
        {"status": "paused", "config": {"source": "yaml"}, "session_id": None, "running_since": 0, "budget_told": [80]},
        {"repo": {"url": "/srv/x", "token": "t", "branch": "b", "commit": "c", "subdir": "a..b/c"}, "env": {"A.b": ""}},
        {"started_at": None, "network_mode": "allowlist", "allowlist": ["*.example"], "agents": ["codex", "goose"]},
    ],
    "session": [
        {
            "model": None,
            "compute_cost": -0.5,
            "trust_score": 0,
            "charged": [["a", "b"], ["a", "c"]],
            "deletions": [-5.0],
        },
        {"ended_at": None, "status": "active", "tokens_in": 1 << 62},
    ],
    "snapshot": [{"name": "../x", "description": "\n", "trigger": "auto", "status": "failed", "completed_at": None}],
    "alert": [{"rule_id": "", "sandbox_id": "", "session_id": "mine/1", "rule_type": "idle_timeout", "state": "muted"}],
    "notification": [{"channel": "discord", "read": True, "title": ""}],
    "history": [{"first": None, "last": None}, {"first": -62135596800, "last": 253402300799}],
}


@pytest.mark.parametrize("kind", RIGHT)
def test_valid_values_at_the_limits_are_accepted(place, kind) -> None:
    for changes in RIGHT[kind]:
        body = {**record(place.memory, kind, place.ids[kind]), **changes}
        assert place.refusal_of_start(set_record(kind, place.ids[kind], body)) == "", changes


def test_shell_from_archive_with_wrong_record_names_field(place) -> None:
    sandbox = place.ids["sandbox"]
    body = {**record(place.memory, "sandbox", sandbox), "memory_mb": -1}
    evil = place.changed_archive(set_record("sandbox", sandbox, body))
    done = fork_server.run(
        [sys.executable, "-m", "caged.emulator", "shell", sandbox, "--from", str(evil)],
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 1, done.stdout
    assert f"sandbox {sandbox}: memory_mb must be an integer from 128 to 8192, not -1" in done.stderr
    assert "Traceback" not in done.stderr
