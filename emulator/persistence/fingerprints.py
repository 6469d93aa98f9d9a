"""Fingerprints of records: values that are unequal when a stored field has changed, and that take microseconds."""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter
from typing import Any

from ..store import AccountRecord, Key, LoginSession, NotificationConfig, Sandbox, Subscription
from .codec import stored_fields


def account_fingerprint(account: AccountRecord, alert_causes: Iterable[str]) -> tuple[Any, ...]:
    return (
        _ACCOUNT_FIELDS(account),
        tuple(account.notification_config.enabled_channels),
        [(rule.enabled, tuple(rule.config.items())) for rule in account.rules.values()],
        alert_causes,
    )


def key_fingerprint(key: Key) -> tuple[Any, ...]:
    """Return the fingerprint of a key without `last_used`, which every request changes."""
    return key.name, key.scope, key.secret


def login_fingerprint(login: LoginSession) -> tuple[Any, ...]:
    return login.expires, login.key.secret


def sandbox_fingerprint(sandbox: Sandbox, session_id: Any, alert_causes: Iterable[str]) -> tuple[Any, ...]:
    collections = (_freeze(collection) for collection in _SANDBOX_COLLECTIONS(sandbox))
    return (_SANDBOX_FIELDS(sandbox), *collections, session_id, alert_causes)


def _freeze(collection: Any) -> Any:
    if isinstance(collection, dict):
        return tuple(collection.items())
    return frozenset(collection) if isinstance(collection, set) else tuple(collection)


_ACCOUNT_FIELDS = attrgetter(
    *(name for name in stored_fields(AccountRecord) if name not in ("rules", "subscription", "notification_config")),
    *(f"subscription.{name}" for name in stored_fields(Subscription)),
    *(f"notification_config.{name}" for name in stored_fields(NotificationConfig) if name != "enabled_channels"),
)
_COLLECTION_NAMES = ("allowlist", "env", "secrets", "packages", "agents", "budget_marks", "port_passwords")
_SANDBOX_FIELDS = attrgetter(*(name for name in stored_fields(Sandbox) if name not in _COLLECTION_NAMES))
_SANDBOX_COLLECTIONS = attrgetter(*_COLLECTION_NAMES)
