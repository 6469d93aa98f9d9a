"""Records of the store as JSON objects, and back. What belongs to one run of an emulator is left out."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from ..cage.git import Repo
from ..history import Event
from ..store import (
    Account,
    Alert,
    AlertRule,
    Key,
    LogEntry,
    Login,
    Notification,
    NotificationConfig,
    Sandbox,
    Session,
    Snapshot,
    Subscription,
)

T = TypeVar("T")

#: Locks, processes, what is counted anew, and what has a place of its own in the database.
_LEFT_OUT: dict[type, frozenset[str]] = {
    Account: frozenset({"keys", "window", "history"}),
    Sandbox: frozenset(
        {"cage", "logs", "busy", "memory_kills", "disk_looked", "disk_told", "last_active", "ports", "lifecycle"}
        | {"disk", "gone", "agent", "session", "history"}
    ),
    Session: frozenset({"history"}),
    Snapshot: frozenset({"file"}),
}


_names: dict[type, tuple[str, ...]] = {}


def kept(kind: Any) -> tuple[str, ...]:
    """The names of a record's fields that are kept."""
    if kind not in _names:
        left_out = _LEFT_OUT.get(kind, ())
        _names[kind] = tuple(f.name for f in dataclasses.fields(kind) if f.name not in left_out)
    return _names[kind]


def encode(record: Any) -> dict[str, Any]:
    return {name: _plain(getattr(record, name)) for name in kept(type(record))}


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


def _simple(kind: type[T], body: Mapping[str, Any], **replaced: Any) -> T:
    names = kept(kind)
    return kind(**{**{name: value for name, value in body.items() if name in names}, **replaced})


def account(body: Mapping[str, Any]) -> Account:
    salted = body.get("password")
    return _simple(
        Account,
        body,
        password=(bytes.fromhex(salted[0]), bytes.fromhex(salted[1])) if salted else None,
        subscription=_simple(Subscription, body["subscription"]),
        rules={name: _simple(AlertRule, rule) for name, rule in body["rules"].items()},
        notification_config=_simple(NotificationConfig, body["notification_config"]),
    )


def key(body: Mapping[str, Any]) -> Key:
    return _simple(Key, body)


def login(body: Mapping[str, Any]) -> Login:
    return _simple(Login, body, key=key(body["key"]))


def sandbox(body: Mapping[str, Any]) -> Sandbox:
    """Without its locks, until `awaken`: those belong to a loop, and this is read before there is one."""
    return _simple(
        Sandbox,
        body,
        repo=_simple(Repo, body["repo"]) if body.get("repo") else None,
        budget_told=set(body["budget_told"]),
        port_passwords={int(port): password for port, password in body["port_passwords"].items()},
        **dict.fromkeys(("lifecycle", "disk", "gone", "agent")),
    )


def awaken(sandbox: Sandbox) -> None:
    """On the loop that it will live on."""
    sandbox.lifecycle, sandbox.disk, sandbox.agent = asyncio.Lock(), asyncio.Lock(), asyncio.Lock()
    sandbox.gone = asyncio.Event()


def session(body: Mapping[str, Any]) -> Session:
    return _simple(Session, body, charged={(rule, what) for rule, what in body["charged"]})


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


def line(body: list[str]) -> LogEntry:
    return LogEntry(*body)


def encode_event(kept_event: tuple[Event, int]) -> list[Any]:
    """Of an event and its weight, as a history holds them."""
    event, weight = kept_event
    return [weight, *(getattr(event, name) for name in kept(Event))]


def event(body: list[Any]) -> tuple[Event, int]:
    return Event(**dict(zip(kept(Event), body[1:]))), body[0]
