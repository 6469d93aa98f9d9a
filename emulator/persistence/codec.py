"""The records of the store as JSON objects, and back. The state of a run is left out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from ..cage.git import Repo
from ..config import TIERS
from ..history import Event
from ..platform.limits import NETWORK_MODES
from ..platform.sandbox_states import STATES
from ..store import (
    Account,
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
from .field_validation import DamagedRecord, Validator, is_count, is_number, is_text, validator

T = TypeVar("T")

#: Values that are computed again, and values that are stored elsewhere in the database.
_LEFT_OUT: dict[type, frozenset[str]] = {
    Account: frozenset({"keys", "window", "history"}),
    Sandbox: frozenset(
        {"logs", "memory_kills", "disk_checked", "disk_exceeded", "last_active", "ports", "agent_session", "history"}
    ),
    AgentSession: frozenset({"history"}),
    Snapshot: frozenset({"file"}),
}

#: Fields that have another name in the database.
_STORED_NAMES = {"budget_marks": "budget_told"}

#: Fields that have one of these values.
_ALLOWED: dict[type, dict[str, frozenset[str]]] = {
    Account: {"tier": frozenset(TIERS)},
    Key: {"scope": frozenset({"full", "read_only"})},
    Sandbox: {
        "status": frozenset(STATES),
        "network_mode": frozenset(NETWORK_MODES),
    },
    AgentSession: {"status": frozenset({"active", "completed", "failed"})},
    Snapshot: {"status": frozenset({"pending", "completed", "failed"})},
    Alert: {"state": frozenset({"open", "resolved", "muted"})},
}

#: The key, in the JSON of a sandbox or an account, of the causes of its alerts. It belongs to the database's format.
ALERT_CAUSES = "told"

_stored_fields: dict[type, tuple[str, ...]] = {}
_validators: dict[type, tuple[tuple[str, Validator], ...]] = {}


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


# --- decoding: each function raises DamagedRecord, or KeyError, TypeError or ValueError, for what it cannot read


def _decode(kind: type[T], body: Any, **decoded: Any) -> T:
    """Build a record, and validate its fields.

    Args:
        kind: The class of the record.
        body: The JSON object.
        decoded: The values of fields that are not the same in JSON.
    """
    if not isinstance(body, dict):
        raise DamagedRecord(f"a record of kind {kind.__name__} is not an object")
    names = stored_fields(kind)
    what = f"{kind.__name__} {str(body.get('id', ''))[:60]}".strip()
    try:
        record = kind(**{**{name: value for name, value in body.items() if name in names}, **decoded})
    except TypeError as error:
        raise DamagedRecord(f"{what} does not have the expected fields ({error})") from None
    for name, is_valid in _field_validators(kind):
        if not is_valid(getattr(record, name)):
            raise DamagedRecord(f"{name} of {what} has an invalid value")
    return record


def _field_validators(kind: type) -> tuple[tuple[str, Validator], ...]:
    if kind not in _validators:
        hints, allowed = get_type_hints(kind), _ALLOWED.get(kind, {})
        _validators[kind] = tuple(
            (name, allowed[name].__contains__ if name in allowed else validator(hints[name]))
            for name in stored_fields(kind)
        )
    return _validators[kind]


def _object(body: Mapping[str, Any], name: str) -> dict[Any, Any]:
    value = body.get(name)
    if not isinstance(value, dict):
        raise DamagedRecord(f"{name} of {str(body.get('id', 'a record'))[:60]} is not an object")
    return value


def decode_texts(body: Any, owner: str) -> list[str]:
    """Decode a list of strings; `owner` is the id that an error names."""
    if not isinstance(body, list) or not all(map(is_text, body)):
        raise DamagedRecord(f"a list of {owner[:60]} is not a list of strings")
    return body


def check_documents(documents: Mapping[str, Any]) -> None:
    """Raise DamagedRecord if one of the documents that are used before the records has another form."""
    randomness = documents.get("chance")
    if randomness is None:
        return
    drawn = randomness.get("drawn") if isinstance(randomness, dict) else None
    # Drawn numbers are skipped one by one, so their count is bounded by what takes seconds.
    valid = isinstance(drawn, dict) and all(is_count(count, 1 << 32) for count in drawn.values())
    if not valid or type(randomness.get("seed")) is not int:
        raise DamagedRecord("the document chance does not say how many numbers were drawn")


def check_tally(body: Mapping[str, Any], name: str) -> None:
    """Raise DamagedRecord unless a history's counts by type, and its first and last times, are numbers."""
    types, ends = body.get("types"), (body.get("first"), body.get("last"))
    valid = isinstance(types, dict) and all(map(is_count, types.values()))
    if not valid or not all(end is None or is_number(end) for end in ends):
        raise DamagedRecord(f"the counts of {name[:60]} are not numbers")


def decode_account(body: Mapping[str, Any]) -> Account:
    salted = body.get("password")
    return _decode(
        Account,
        body,
        password=(bytes.fromhex(salted[0]), bytes.fromhex(salted[1])) if salted else None,
        subscription=_decode(Subscription, body["subscription"]),
        rules={name: _decode(AlertRule, rule) for name, rule in _object(body, "rules").items()},
        notification_config=_decode(NotificationConfig, body["notification_config"]),
    )


def decode_key(body: Mapping[str, Any]) -> Key:
    return _decode(Key, body)


def decode_login(body: Mapping[str, Any]) -> LoginSession:
    return _decode(LoginSession, body, key=decode_key(body["key"]))


def decode_sandbox(body: Mapping[str, Any]) -> Sandbox:
    return _decode(
        Sandbox,
        body,
        repo=_decode(Repo, body["repo"]) if body.get("repo") else None,
        budget_marks=set(body["budget_told"]),
        port_passwords={int(port): password for port, password in _object(body, "port_passwords").items()},
    )


def decode_session(body: Mapping[str, Any]) -> AgentSession:
    return _decode(AgentSession, body, charged={(rule, what) for rule, what in body["charged"]})


def decode_snapshot(body: Mapping[str, Any], directory: Path) -> Snapshot:
    """Decode a snapshot whose file is in a directory."""
    return _decode(Snapshot, body, file=snapshot_file(directory, body["id"]))


def snapshot_file(directory: Path, snapshot_id: str) -> Path:
    """Return the path of a snapshot's file in the directory of all snapshots."""
    return directory / f"{snapshot_id}.tar"


def decode_alert(body: Mapping[str, Any]) -> Alert:
    return _decode(Alert, body)


def decode_notification(body: Mapping[str, Any]) -> Notification:
    return _decode(Notification, body)


def decode_log_entry(body: Any) -> LogEntry:
    if not isinstance(body, list) or len(body) != 3 or not all(type(text) is str for text in body):
        raise DamagedRecord("a log entry is not a list of three strings")
    return LogEntry(*body)


def decode_event(body: Any) -> tuple[Event, int]:
    """Decode an event and its weight."""
    names = stored_fields(Event)
    if not isinstance(body, list) or len(body) != len(names) + 1 or type(body[0]) is not int:
        raise DamagedRecord("an event is not a list of its fields")
    return _decode(Event, dict(zip(names, body[1:]))), body[0]
