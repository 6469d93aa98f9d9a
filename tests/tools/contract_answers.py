"""The keys of the platform's responses, by wire-contract.md and its companions and not by the emulator. `check`
compares a response with them: an unknown key is an error, as is a missing one.

A value is one of the words in `_SCALARS`, the name of an object (`Sandbox`), a list of either (`[Sandbox]`), a map
(`{str}`: names to strings) or a choice (`open|resolved`). Behind it stands what happens when there is no value:

    `?`       the key is left out; null is a fault
    ` null`   the key is there, with null
"""

from __future__ import annotations

import functools
import re
from typing import Any, Callable, Optional

import httpx

_UNREAD: Any = object()
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


_SCALARS: dict[str, Callable[[Any], bool]] = {
    "str": lambda value: isinstance(value, str),
    "bool": lambda value: isinstance(value, bool),
    "int": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": _is_number,
    "time": lambda value: isinstance(value, str) and _TIME.fullmatch(value) is not None,
    "any": lambda _value: True,
}

#: Object -> (where it is described, its keys). C: wire-contract.md, A and B: platform-behaviour.md, O:
#: wire-other-clients.md.
OBJECTS: dict[str, tuple[str, dict[str, str]]] = {
    "Sandbox": (
        "C 3.1; nullable keys may be absent",
        {
            "id": "str",
            "status": "pending|running|paused|stopped|error|destroyed",
            "template": "str",
            "ip": "str?",
            "cpus": "int",
            "memory_mb": "int",
            "disk_gb": "int",
            "network_mode": "full|none|allowlist",
            "repo_url": "str?",
            "budget": "number?",
            "init_script": "str?",
            "timeout": "int?",
            "config": "Config?",
            "created_at": "time",
            "started_at": "time?",
            "stopped_at": "time?",
            "cost": "number",
            "llm_cost": "number",
            "total_cost": "number",
        },
    ),
    "Config": ("C 3.1, B 4: source is yaml, flags or merged", {"source": "yaml|flags|merged", "raw": "str?"}),
    "Log": ("C 3.1", {"timestamp": "time", "type": "str", "message": "str"}),
    "Trust": ("C 3.1", {"session_id": "str", "score": "int", "updated_at": "time"}),
    "Port": (
        "C 3.1; preview_url is a string, O 2.1.4",
        {"port": "int", "preview_url": "str", "protocol": "http|tcp", "protected": "bool", "detected_at": "time?"},
    ),
    "Protected": ("B 15", {"port": "int", "protected": "bool", "preview_url": "str null"}),
    "Exec": ("C 3.2, A Exec: error only when it is set", {"output": "str", "exit_code": "int", "error": "str?"}),
    "File": (
        "C 3.3",
        {"name": "str", "path": "str", "type": "file|directory", "size": "int", "mod_time": "time"},
    ),
    "Written": ("C 3.3", {"status": "ok", "path": "str"}),
    "Changed": ("C 3.3", {"path": "str", "status": "modified|added|deleted|untracked"}),
    "Diff": ("C 3.3", {"files": "[Changed]", "diff": "str", "staged_diff": "str"}),
    "Snapshot": (
        "C 3.4; no account_id",
        {
            "id": "str",
            "sandbox_id": "str",
            "name": "str",
            "description": "str",
            "status": "pending|completed|failed",
            "trigger": "str",
            "size_bytes": "int",
            "created_at": "time",
            "completed_at": "time?",
        },
    ),
    "Restored": ("C 3.4", {"status": "restored"}),
    "Download": ("C 3.4", {"url": "str", "expires_in_seconds": "int"}),
    "Account": (
        "C 3.5",
        {"id": "str", "email": "str", "name": "str", "tier": "str", "email_verified": "bool", "created_at": "time"},
    ),
    "Key": (
        "C 3.5; null = never",
        {
            "id": "str",
            "name": "str",
            "prefix": "str",
            "scope": "full|read_only",
            "last_used": "time null",
            "expires_at": "time null",
            "created_at": "time",
        },
    ),
    "CreatedKey": ("C 3.5", {"key": "str", "info": "Key"}),
    "Login": (
        "C 3.5, AccountSession",
        {"id": "str", "user_agent": "str", "ip": "str", "expires_at": "time", "created_at": "time"},
    ),
    "Session": (
        "C 3.6; O 2.5: nullable keys are there with null",
        {
            "id": "str",
            "sandbox_id": "str",
            "persona_id": "str null",
            "status": "active|completed|failed",
            "agent_type": "str null",
            "model": "str null",
            "tokens_in": "int",
            "tokens_out": "int",
            "cost_usd": "number",
            "llm_cost": "number",
            "compute_cost": "number",
            "total_cost": "number",
            "trust_score": "int null",
            "event_count": "int",
            "duration_ms": "int null",
            "started_at": "time",
            "ended_at": "time null",
        },
    ),
    "Pagination": ("C 3.6", {"page": "int", "per_page": "int", "total": "int", "total_pages": "int"}),
    "Sessions": ("C 3.6", {"data": "[Session]", "pagination": "Pagination"}),
    "Replayed": (
        "C 3.6; data defaults to null",
        {
            "id": "str",
            "session_id": "str",
            "sequence": "int",
            "type": "str",
            "timestamp": "time",
            "duration_ms": "number",
            "data": "any",
        },
    ),
    "Replay": ("C 3.6", {"events": "[Replayed]", "has_more": "bool", "next_seq": "int", "total": "int"}),
    "Summary": (
        "C 3.6; no token or cost keys",
        {
            "session_id": "str",
            "event_count": "int",
            "start_time": "time",
            "end_time": "time",
            "duration_ms": "number",
            "types": "{int}",
        },
    ),
    "Ingested": ("C 3.7", {"accepted": "int", "errors": "int"}),
    "Alert": (
        "C 3.8; resolved_at is absent when open",
        {
            "id": "str",
            "account_id": "str",
            "rule_id": "str",
            "rule_type": "str",
            "severity": "info|warning|critical",
            "state": "open|resolved|muted",
            "title": "str",
            "message": "str",
            "sandbox_id": "str",
            "session_id": "str",
            "meta": "{str}",
            "created_at": "time",
            "resolved_at": "time?",
        },
    ),
    "Alerts": ("C 3.8", {"alerts": "[Alert]", "total": "int", "limit": "int", "offset": "int"}),
    "Rule": (
        "C 3.8",
        {
            "id": "str",
            "account_id": "str",
            "type": "budget_exceeded|cost_anomaly|agent_stuck|error_spike|trust_score_low",
            "enabled": "bool",
            "config": "RuleConfig",
            "created_at": "time",
        },
    ),
    "RuleConfig": (
        "C 3.8; absent = the server's default",
        {
            "threshold_percent": "number?",
            "multiplier_threshold": "number?",
            "idle_minutes": "int?",
            "error_count_threshold": "int?",
            "window_minutes": "int?",
            "score_threshold": "int?",
        },
    ),
    "Notification": (
        "C 3.9",
        {
            "id": "str",
            "account_id": "str",
            "alert_id": "str",
            "channel": "slack|discord|email|in_app",
            "title": "str",
            "message": "str",
            "read": "bool",
            "created_at": "time",
        },
    ),
    "Notifications": ("C 3.9", {"notifications": "[Notification]", "unread_count": "int"}),
    "Unread": ("C 3.9", {"unread_count": "int"}),
    "NotificationConfig": (
        "C 3.9; hints are absent when not configured",
        {
            "account_id": "str",
            "enabled_channels": "[str]",
            "slack_channel_id": "str",
            "email_address": "str",
            "slack_webhook_configured": "bool",
            "slack_webhook_hint": "str?",
            "slack_bot_token_configured": "bool",
            "slack_bot_token_hint": "str?",
            "discord_webhook_configured": "bool",
            "discord_webhook_hint": "str?",
        },
    ),
    "Subscription": (
        "C 3.10, O 2.9: nullable keys may be absent",
        {
            "tier": "str",
            "status": "str",
            "customer_id": "str",
            "current_period_end": "time?",
            "cancel_at_period_end": "bool",
            "trial_ends_at": "time?",
        },
    ),
    "Usage": (
        "C 3.10, O 2.9",
        {"compute_minutes": "int", "reported_minutes": "int", "pending_seconds": "int", "last_reported_at": "time?"},
    ),
    "Url": ("C 3.10", {"url": "str"}),
    "Ticket": ("C 3.11", {"ticket": "str", "expires_in": "int", "expires_at": "time"}),
    "DeviceCode": (
        "O 2.4",
        {
            "device_code": "str",
            "user_code": "str",
            "verification_url": "str",
            "expires_in": "int",
            "interval": "int",
        },
    ),
    "DeviceToken": ("O 2.4", {"access_token": "str", "token_type": "str", "account_id": "str", "email": "str"}),
    "Problem": (
        "C 2.3, A Errors",
        {"type": "str", "title": "str", "status": "int", "detail": "str", "reason": "Reason?"},
    ),
    "DeviceProblem": (
        "A Errors; O 2.4: the client reads `error`",
        {"type": "str", "title": "str", "status": "int", "detail": "str", "error": "str?", "reason": "Reason?"},
    ),
    "Reason": (
        "C 2.3, O 1.1: action and subject are optional",
        {"code": "str", "message": "str", "action": "str?", "subject_type": "str?", "subject_id": "str?"},
    ),
}

#: Operation -> its successful answer. None: an empty body.
ANSWERS: dict[str, Optional[str]] = {
    "sandboxes.create": "Sandbox",
    "sandboxes.list": "[Sandbox]",
    "sandboxes.get": "Sandbox",
    "sandboxes.destroy": None,
    "sandboxes.pause": None,
    "sandboxes.resume": None,
    "sandboxes.ports": "[Port]",
    "sandboxes.protect_port": "Protected",
    "sandboxes.logs": "[Log]",
    "sandboxes.trust_scores": "[Trust]",
    "sandboxes.exec": "Exec",
    "files.list": "[File]",
    "files.write": "Written",
    "files.git_diff": "Diff",
    "snapshots.list": "[Snapshot]",
    "snapshots.create": "Snapshot",
    "snapshots.get": "Snapshot",
    "snapshots.delete": None,
    "snapshots.download": "Download",
    "snapshots.restore": "Restored",
    "account.get": "Account",
    "account.list_keys": "[Key]",
    "account.create_key": "CreatedKey",
    "account.revoke_key": None,
    "account.list_sessions": "[Login]",
    "account.revoke_session": None,
    "sessions.list_by_sandbox": "[Session]",
    "sessions.list": "Sessions",
    "sessions.get": "Session",
    "sessions.replay": "Replay",
    "sessions.replay_summary": "Summary",
    "events.ingest": "Ingested",
    "alerts.list": "Alerts",
    "alerts.get": "Alert",
    "alerts.resolve": None,
    "alerts.list_rules": "[Rule]",
    "alerts.update_rule": "Rule",
    "notifications.list": "Notifications",
    "notifications.unread_count": "Unread",
    "notifications.mark_read": None,
    "notifications.mark_all_read": None,
    "notifications.get_config": "NotificationConfig",
    "notifications.update_config": "NotificationConfig",
    "billing.get_subscription": "Subscription",
    "billing.get_usage": "Usage",
    "billing.create_checkout": "Url",
    "billing.create_portal": "Url",
    "billing.cancel": None,
    "socket_ticket": "Ticket",
    "auth.device_code": "DeviceCode",
    "auth.device_token": "DeviceToken",
}

#: Operations whose answers no document describes, or that are no JSON, and why.
UNDESCRIBED = {
    "files.read": "text: the file's content (C 3.3)",
    "snapshots.content": "bytes: a .tar.gz (C 3.4)",
    "sandboxes.terminal": "a WebSocket (C 4.2)",
    "sandboxes.mcp": "a WebSocket (C 4.4)",
    "sandboxes.terminal_sessions": "B 6: the shape is not readable",
    "auth.signup": "B 1: response fields are not shown",
    "auth.login": "B 1: response fields are not shown",
    "auth.device_page": "a page for people",
    "billing.checkout_page": "a page for people",
    "billing.portal_page": "a page for people",
    "health.get": "the emulator's own",
    "openapi.get": "the emulator's own",
}


@functools.cache
def _parted(kind: str) -> tuple[str, str]:
    """Return the kind without its suffix, and the suffix: `?`, `null` or nothing."""
    if kind.endswith("?"):
        return kind[:-1], "?"
    return (kind[: -len(" null")], "null") if kind.endswith(" null") else (kind, "")


def optional_keys() -> set[str]:
    """`Object.key` of every key that may have no value."""
    return {
        f"{name}.{key}" for name, (_source, keys) in OBJECTS.items() for key, kind in keys.items() if _parted(kind)[1]
    }


def fault(value: Any, kind: str, where: str = "$", seen: Optional[set[tuple[str, bool]]] = None) -> Optional[str]:
    """Describe the first place where a value is not of this kind; None if there is none.

    Args:
        seen: Receives (`Object.key`, whether it had a value) for every optional key.
    """
    if kind in _SCALARS:  # most are
        return None if _SCALARS[kind](value) else f"{where} is {value!r}, not of type {kind}"
    if kind.startswith("["):
        if not isinstance(value, list):
            return f"{where} is {value!r}, not an array"
        found = (fault(item, kind[1:-1], f"{where}[{number}]", seen) for number, item in enumerate(value))
        return next(filter(None, found), None)
    if kind.startswith("{"):
        if not isinstance(value, dict):
            return f"{where} is {value!r}, not an object"
        found = (fault(item, kind[1:-1], f"{where}.{name}", seen) for name, item in value.items())
        return next(filter(None, found), None)
    if kind in OBJECTS:
        return _object_fault(value, kind, where, seen)
    return None if value in kind.split("|") else f"{where} is {value!r}, not one of {kind}"


def _object_fault(value: Any, name: str, where: str, seen: Optional[set[tuple[str, bool]]]) -> Optional[str]:
    source, keys = OBJECTS[name]
    if not isinstance(value, dict):
        return f"{where} is {value!r}, not an object"
    extra = sorted(set(value) - set(keys))
    if extra:
        return f"{where} has {', '.join(extra)}, which {name} does not have ({source})"
    for key, declared in keys.items():
        kind, without = _parted(declared)
        there = key in value and not (without == "null" and value[key] is None)
        if seen is not None and without:
            seen.add((f"{name}.{key}", there))
        if not there and without and (key in value) == (without == "null"):
            continue
        if key not in value:
            return f"{where} has no {key} ({source})"
        found = fault(value[key], kind, f"{where}.{key}", seen)
        if found is not None:
            return found
    return None


def check(
    operation: str, response: httpx.Response, seen: Optional[set[tuple[str, bool]]] = None, body: Any = _UNREAD
) -> None:
    """Fail when a JSON answer of an operation differs from the contract.

    Args:
        operation: Name of the operation; those of `UNDESCRIBED` are not looked at.
        seen: As of `fault`.
        body: The answer's JSON, where it has been decoded already.
    """
    if "json" not in response.headers.get("content-type", ""):
        return
    kind: Optional[str] = ANSWERS.get(operation)
    if response.status_code >= 400:
        kind = "DeviceProblem" if operation == "auth.device_token" else "Problem"
    if kind is not None:
        found = fault(response.json() if body is _UNREAD else body, kind, seen=seen)
        assert found is None, f"{operation} answered {response.status_code}, and {found}"
