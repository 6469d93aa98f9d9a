"""Records of the store as JSON objects, and back. What belongs to one run of an emulator is left out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Callable, TypeVar, Union, get_args, get_origin, get_type_hints

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

T = TypeVar("T")

#: What is counted anew, and what has a place of its own in the database.
_LEFT_OUT: dict[type, frozenset[str]] = {
    Account: frozenset({"keys", "window", "history"}),
    Sandbox: frozenset(
        {"logs", "memory_kills", "disk_checked", "disk_exceeded", "last_active", "ports", "agent_session", "history"}
    ),
    AgentSession: frozenset({"history"}),
    Snapshot: frozenset({"file"}),
}


#: Fields whose name in the database is another one.
_STORED_NAMES = {"budget_marks": "budget_told"}

#: Where only these values have a meaning.
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

_names: dict[type, tuple[str, ...]] = {}


def kept(kind: Any) -> tuple[str, ...]:
    """The names of a record's fields that are kept."""
    if kind not in _names:
        left_out = _LEFT_OUT.get(kind, ())
        _names[kind] = tuple(f.name for f in dataclasses.fields(kind) if f.name not in left_out)
    return _names[kind]


def encode(record: Any) -> dict[str, Any]:
    return {_STORED_NAMES.get(name, name): _plain(getattr(record, name)) for name in kept(type(record))}


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, (set, frozenset)):
        return sorted(_plain(inner) for inner in value)
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, dict):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if dataclasses.is_dataclass(value):
        return encode(value)
    raise TypeError(f"{value!r} cannot be kept; say in codec.py how, or leave its field out")


class DamagedRecord(ValueError):
    """A record is not what an emulator writes; the text says which."""


def _simple(kind: type[T], body: Any, **replaced: Any) -> T:
    """A record whose fields have the types, and where only some values are possible one of them, that it is written
    with. DamagedRecord otherwise."""
    if not isinstance(body, dict):
        raise DamagedRecord(f"a record of kind {kind.__name__} is not an object")
    names = kept(kind)
    what = f"{kind.__name__} {str(body.get('id', ''))[:60]}".strip()
    try:
        record = kind(**{**{name: value for name, value in body.items() if name in names}, **replaced})
    except TypeError as error:
        raise DamagedRecord(f"{what} has not the right fields ({error})") from None
    for name, conforms in _conditions(kind):
        if not conforms(getattr(record, name)):
            raise DamagedRecord(f"{name} of {what} has a value that it cannot have")
    return record


_conditions_of: dict[type, tuple[tuple[str, Callable[[Any], bool]], ...]] = {}


def _conditions(kind: type) -> tuple[tuple[str, Callable[[Any], bool]], ...]:
    if kind not in _conditions_of:
        hints, names = get_type_hints(kind), kept(kind)
        allowed = _ALLOWED.get(kind, {})
        _conditions_of[kind] = tuple(
            (name, allowed[name].__contains__ if name in allowed else _condition(hints[name])) for name in names
        )
    return _conditions_of[kind]


def _condition(hint: Any) -> Callable[[Any], bool]:
    """Whether a value is of an annotated type, its content included."""
    origin, inner = get_origin(hint), [_condition(arg) for arg in get_args(hint) if arg is not Ellipsis]
    if hint is Any:
        return lambda value: True
    if hint is str:
        return _is_text
    if hint is int:
        return lambda value: type(value) is int and abs(value) < 1 << 63
    if hint is float:
        return lambda value: type(value) in (int, float) and abs(value) < 1e15  # not NaN either
    if origin is Union:
        return lambda value: any(conforms(value) for conforms in inner)
    if origin in (list, set):
        return lambda value: isinstance(value, origin) and all(map(inner[0], value))
    if origin is tuple:
        return lambda value: (
            isinstance(value, tuple)
            and len(value) == len(inner)
            and all(test(part) for test, part in zip(inner, value))
        )
    if origin is dict:
        return lambda value: (
            isinstance(value, dict) and all(map(inner[0], value)) and all(map(inner[1], value.values()))
        )
    return lambda value: isinstance(value, hint)


_NUMBER = _condition(float)


def _is_text(value: Any) -> bool:
    """One that can be sent, too: a half of a surrogate pair cannot."""
    if type(value) is not str:
        return False
    try:
        return value.isascii() or bool(value.encode())
    except UnicodeEncodeError:
        return False


def _object(body: Mapping[str, Any], name: str) -> dict[Any, Any]:
    if not isinstance(body.get(name), dict):
        raise DamagedRecord(f"{name} of {str(body.get('id', 'a record'))[:60]} is not an object")
    found: dict[Any, Any] = body[name]
    return found


def texts(body: Any, of: str) -> list[str]:
    if not isinstance(body, list) or not all(map(_is_text, body)):
        raise DamagedRecord(f"a list of {of[:60]} is not of texts")
    return body


def check_documents(found: Mapping[str, Any]) -> None:
    """Those that are read before the records are. DamagedRecord for one that has another form."""
    chance = found.get("chance")
    if chance is None:
        return
    drawn = chance.get("drawn") if isinstance(chance, dict) else None
    if not isinstance(drawn, dict) or type(chance.get("seed")) is not int or not all(map(_is_count, drawn.values())):
        raise DamagedRecord("the document chance does not say how many numbers were drawn")


def _is_count(value: Any) -> bool:
    """As many as can be skipped in seconds."""
    return type(value) is int and 0 <= value < 1 << 32


def check_tally(body: Mapping[str, Any], name: str) -> None:
    """What a history counts: events by type, and the outermost times."""
    types, ends = body.get("types"), (body.get("first"), body.get("last"))
    whole = isinstance(types, dict) and all(type(count) is int and 0 <= count < 1 << 63 for count in types.values())
    if not whole or not all(end is None or _NUMBER(end) for end in ends):
        raise DamagedRecord(f"the counts of {name[:60]} are not numbers")


def account(body: Mapping[str, Any]) -> Account:
    salted = body.get("password")
    return _simple(
        Account,
        body,
        password=(bytes.fromhex(salted[0]), bytes.fromhex(salted[1])) if salted else None,
        subscription=_simple(Subscription, body["subscription"]),
        rules={name: _simple(AlertRule, rule) for name, rule in _object(body, "rules").items()},
        notification_config=_simple(NotificationConfig, body["notification_config"]),
    )


def key(body: Mapping[str, Any]) -> Key:
    return _simple(Key, body)


def login(body: Mapping[str, Any]) -> LoginSession:
    return _simple(LoginSession, body, key=key(body["key"]))


def sandbox(body: Mapping[str, Any]) -> Sandbox:
    return _simple(
        Sandbox,
        body,
        repo=_simple(Repo, body["repo"]) if body.get("repo") else None,
        budget_marks=set(body["budget_told"]),
        port_passwords={int(port): password for port, password in _object(body, "port_passwords").items()},
    )


def session(body: Mapping[str, Any]) -> AgentSession:
    return _simple(AgentSession, body, charged={(rule, what) for rule, what in body["charged"]})


def snapshot(body: Mapping[str, Any], directory: Path) -> Snapshot:
    return _simple(Snapshot, body, file=snapshot_file(directory, body["id"]))


def snapshot_file(directory: Path, snapshot_id: str) -> Path:
    return directory / f"{snapshot_id}.tar"


def alert(body: Mapping[str, Any]) -> Alert:
    return _simple(Alert, body)


def notification(body: Mapping[str, Any]) -> Notification:
    return _simple(Notification, body)


def encode_line(line: LogEntry) -> list[str]:
    return [line.timestamp, line.type, line.message]


def line(body: Any) -> LogEntry:
    if not isinstance(body, list) or len(body) != 3 or not all(type(text) is str for text in body):
        raise DamagedRecord("a line of a log is not three texts")
    return LogEntry(*body)


def encode_event(kept_event: tuple[Event, int]) -> list[Any]:
    """Of an event and its weight, as a history holds them."""
    event, weight = kept_event
    return [weight, *(getattr(event, name) for name in kept(Event))]


def event(body: Any) -> tuple[Event, int]:
    if not isinstance(body, list) or len(body) != len(kept(Event)) + 1 or type(body[0]) is not int:
        raise DamagedRecord("an event is not a list of its fields")
    return _simple(Event, dict(zip(kept(Event), body[1:]))), body[0]
