"""The records of the store as JSON objects, and back. The state of a run is left out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from ..cage.git import Repo
from ..history import Event
from ..platform.rules import DEFAULTS
from ..store import (
    AccountRecord,
    AgentSession,
    Alert,
    AlertRule,
    Key,
    LogEntry,
    LoginSession,
    Notification,
    NotificationConfig,
    Sandbox,
    Snapshot,
    Subscription,
)
from .field_validation import DamagedRecord, Rule
from .record_rules import DOCUMENTS, ENTRIES, HISTORY, RULES

T = TypeVar("T")

#: Values that are computed again, and values that are stored elsewhere in the database.
_LEFT_OUT: dict[type, frozenset[str]] = {
    AccountRecord: frozenset({"keys", "window", "history"}),
    Sandbox: frozenset(
        {
            *("logs", "memory_kills", "disk_checked", "disk_exceeded", "last_active", "ports", "agent_session"),
            *("history", "fake_repository_tokens"),
        }
    ),
    AgentSession: frozenset({"history"}),
    Snapshot: frozenset({"file"}),
}

#: Fields that have another name in the database.
_STORED_NAMES = {"budget_marks": "budget_told"}

_stored_fields: dict[type, tuple[str, ...]] = {}


def stored_fields(kind: Any) -> tuple[str, ...]:
    """Return the names of the fields of a record class that are stored."""
    if kind not in _stored_fields:
        left_out = _LEFT_OUT.get(kind, ())
        _stored_fields[kind] = tuple(f.name for f in dataclasses.fields(kind) if f.name not in left_out)
    return _stored_fields[kind]


# --- encoding


def encode(record: Any) -> dict[str, Any]:
    """Return the stored fields of a record as a JSON object."""
    return {_STORED_NAMES.get(name, name): _encode_value(getattr(record, name)) for name in stored_fields(type(record))}


def _encode_value(value: Any) -> Any:
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, (set, frozenset)):
        return sorted(_encode_value(inner) for inner in value)
    if isinstance(value, (list, tuple)):
        return [_encode_value(inner) for inner in value]
    if isinstance(value, dict):
        return {str(name): _encode_value(inner) for name, inner in value.items()}
    if dataclasses.is_dataclass(value):
        return encode(value)
    raise TypeError(f"{value!r} cannot be stored: extend _encode_value, or add its field to _LEFT_OUT")


def encode_log_entry(entry: LogEntry) -> list[str]:
    return [entry.timestamp, entry.type, entry.message]


def encode_event(kept_event: tuple[Event, int]) -> list[Any]:
    """Encode an event and its weight, a pair of `History.kept`."""
    event, weight = kept_event
    return [weight, *(getattr(event, name) for name in stored_fields(Event))]


# --- decoding: each function raises DamagedRecord for what is not valid


def _decode(kind: type[T], body: Mapping[str, Any], **decoded: Any) -> T:
    """Build a record from its validated JSON object.

    Args:
        kind: The class of the record.
        body: The JSON object.
        decoded: The values of fields that are not the same in JSON.
    """
    names = stored_fields(kind)
    return kind(**{**{name: value for name, value in body.items() if name in names}, **decoded})


def _check(kind: type, body: Mapping[str, Any], noun: str = "") -> None:
    RULES[kind].check(body, f"{noun or kind.__name__.lower()} {str(body.get('id', ''))[:60]}".strip(), "")


def check_documents(documents: Mapping[str, Any]) -> None:
    """Raise DamagedRecord if one of the documents has another form than an emulator's."""
    for name, rule in DOCUMENTS.items():
        if name in documents:
            rule.check(documents[name], f"document {name}", "its content" if isinstance(rule, Rule) else "")


def check_tally(body: Mapping[str, Any], name: str) -> None:
    """Raise DamagedRecord unless a history's counts by type, and its first and last times, are valid."""
    HISTORY.check(body, f"history {name[:60]}", "")


def decode_account(body: Mapping[str, Any]) -> AccountRecord:
    _check(AccountRecord, body, "account")
    salted = body.get("password")
    rules = {name: _decode(AlertRule, rule) for name, rule in body["rules"].items()}
    if rules and sorted(rule.type for rule in rules.values()) != sorted(DEFAULTS):
        raise DamagedRecord(f"account {body['id']}: rules must be empty, or one of each type")
    return _decode(
        AccountRecord,
        body,
        password=(bytes.fromhex(salted[0]), bytes.fromhex(salted[1])) if salted else None,
        subscription=_decode(Subscription, body["subscription"]),
        rules=rules,
        notification_config=_decode(NotificationConfig, body["notification_config"]),
    )


def decode_key(body: Mapping[str, Any]) -> Key:
    _check(Key, body)
    return _decode(Key, body)


def decode_login(body: Mapping[str, Any]) -> LoginSession:
    _check(LoginSession, body, "login")
    return _decode(LoginSession, body, key=_decode(Key, body["key"]))


def decode_sandbox(body: Mapping[str, Any]) -> Sandbox:
    _check(Sandbox, body)
    return _decode(
        Sandbox,
        body,
        repo=_decode(Repo, body["repo"]) if body.get("repo") else None,
        budget_marks=set(body["budget_told"]),
        port_passwords={int(port): password for port, password in body["port_passwords"].items()},
    )


def decode_session(body: Mapping[str, Any]) -> AgentSession:
    _check(AgentSession, body, "session")
    return _decode(AgentSession, body, charged={(rule, what) for rule, what in body["charged"]})


def decode_snapshot(body: Mapping[str, Any], directory: Path) -> Snapshot:
    """Decode a snapshot whose file is in a directory."""
    _check(Snapshot, body)
    return _decode(Snapshot, body, file=snapshot_file(directory, body["id"]))


def snapshot_file(directory: Path, snapshot_id: str) -> Path:
    """Return the path of a snapshot's file in the directory of all snapshots."""
    return directory / f"{snapshot_id}.tar"


def decode_alert(body: Mapping[str, Any]) -> Alert:
    _check(Alert, body)
    return _decode(Alert, body)


def decode_notification(body: Mapping[str, Any]) -> Notification:
    _check(Notification, body)
    return _decode(Notification, body)


def decode_log_entry(body: Any, what: str) -> LogEntry:
    """Decode a log entry; `what` is what an error calls it."""
    ENTRIES[LogEntry].check(body, what, "")
    return LogEntry(*body)


def decode_event(body: Any, what: str) -> tuple[Event, int]:
    """Decode an event and its weight; `what` is what an error calls it."""
    ENTRIES[Event].check(body, what, "")
    return Event(*body[1:]), body[0]
