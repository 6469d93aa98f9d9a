"""The shapes of the JSON objects on the wire, as the platform's clients read them: their keys, and the kinds of values.

A key with `?` may be absent or null. `find_mismatch` tests the keys of a shape, `find_extra_key` looks for other keys.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Optional

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")

#: The kind of a value is a type, a set of allowed texts, a shape, `[shape]`, or one of these names.
NUMBER, COUNT, TIME, ANY, TEXTS, STRINGS = "a number", "a number from 0 up", "a time", "anything", "texts", "strings"

SANDBOX = {
    "id": str,
    "status": {"pending", "running", "paused", "stopped", "error", "destroyed"},
    "template": str,
    "ip?": str,
    "cpus": COUNT,
    "memory_mb": COUNT,
    "disk_gb": COUNT,
    "network_mode": str,
    "repo_url?": str,
    "budget?": NUMBER,
    "init_script?": str,
    "timeout?": int,
    "config?": {"source": {"yaml", "flags", "merged"}, "raw?": str},
    "created_at": TIME,
    "started_at?": TIME,
    "stopped_at?": TIME,
    "cost": NUMBER,
    "llm_cost": NUMBER,
    "total_cost": NUMBER,
}
LOG = {"timestamp": TIME, "type": str, "message": str}
TRUST = {"session_id": str, "score": COUNT, "updated_at": TIME}
PORT = {"port": COUNT, "preview_url?": str, "protocol": str, "protected": bool, "detected_at?": TIME}
EXEC = {"output": str, "exit_code": int, "error?": str}
FILE = {"name": str, "path": str, "type": {"file", "directory"}, "size": COUNT, "mod_time": TIME}
WRITTEN = {"status": str, "path": str}
CHANGED = {"path": str, "status": {"modified", "added", "deleted", "untracked"}}
DIFF = {"files": [CHANGED], "diff": str, "staged_diff": str}
SNAPSHOT = {
    "id": str,
    "sandbox_id": str,
    "name?": str,
    "description?": str,
    "status": {"pending", "completed", "failed"},
    "trigger": str,
    "size_bytes": COUNT,
    "created_at": TIME,
    "completed_at?": TIME,
}
DOWNLOAD = {"url": str, "expires_in_seconds": COUNT}
ACCOUNT = {"id": str, "email": str, "name": str, "tier": str, "email_verified": bool, "created_at": TIME}
KEY = {
    "id": str,
    "name": str,
    "prefix": str,
    "scope": {"full", "read_only"},
    "last_used?": TIME,
    "expires_at?": TIME,
    "created_at": TIME,
}
CREATED_KEY = {"key": str, "info": KEY}
LOGIN = {"id": str, "user_agent": str, "ip": str, "expires_at": TIME, "created_at": TIME}
SESSION = {
    "id": str,
    "sandbox_id": str,
    "persona_id?": str,
    "status": {"active", "completed", "failed"},
    "agent_type?": str,
    "model?": str,
    "tokens_in": COUNT,
    "tokens_out": COUNT,
    "cost_usd": NUMBER,
    "llm_cost": NUMBER,
    "compute_cost": NUMBER,
    "total_cost": NUMBER,
    "trust_score?": COUNT,
    "event_count": COUNT,
    "duration_ms?": COUNT,
    "started_at": TIME,
    "ended_at?": TIME,
}
SESSIONS = {
    "data": [SESSION],
    "pagination": {"page": COUNT, "per_page": COUNT, "total": COUNT, "total_pages": COUNT},
}
REPLAYED = {
    "id": str,
    "session_id": str,
    "sequence": COUNT,
    "type": str,
    "timestamp": TIME,
    "duration_ms": NUMBER,
    "data?": ANY,
}
REPLAY = {"events": [REPLAYED], "has_more": bool, "next_seq": COUNT, "total": COUNT}
SUMMARY = {
    "session_id": str,
    "event_count": COUNT,
    "start_time": TIME,
    "end_time": TIME,
    "duration_ms": NUMBER,
    "types": dict,
}
INGESTED = {"accepted": COUNT, "errors": COUNT}
ALERT = {
    "id": str,
    "account_id": str,
    "rule_id": str,
    "rule_type": str,
    "severity": {"info", "warning", "critical"},
    "state": {"open", "resolved", "muted"},
    "title": str,
    "message": str,
    "sandbox_id?": str,
    "session_id?": str,
    "meta?": TEXTS,
    "created_at": TIME,
    "resolved_at?": TIME,
}
ALERTS = {"alerts": [ALERT], "total": COUNT, "limit": COUNT, "offset": COUNT}
RULE = {
    "id": str,
    "account_id": str,
    "type": str,
    "enabled": bool,
    "config": {
        "threshold_percent?": NUMBER,
        "multiplier_threshold?": NUMBER,
        "idle_minutes?": int,
        "error_count_threshold?": int,
        "window_minutes?": int,
        "score_threshold?": int,
    },
    "created_at": TIME,
}
NOTIFICATION = {
    "id": str,
    "account_id": str,
    "alert_id": str,
    "channel": {"slack", "discord", "email", "in_app"},
    "title": str,
    "message": str,
    "read": bool,
    "created_at": TIME,
}
NOTIFICATIONS = {"notifications": [NOTIFICATION], "unread_count": COUNT}
UNREAD = {"unread_count": COUNT}
NOTIFICATION_CONFIG = {
    "account_id": str,
    "enabled_channels": STRINGS,
    "slack_channel_id": str,
    "email_address": str,
    "slack_webhook_configured": bool,
    "slack_webhook_hint?": str,
    "slack_bot_token_configured": bool,
    "slack_bot_token_hint?": str,
    "discord_webhook_configured": bool,
    "discord_webhook_hint?": str,
}
SUBSCRIPTION = {
    "tier": str,
    "status": str,
    "customer_id?": str,
    "current_period_end?": TIME,
    "cancel_at_period_end": bool,
    "trial_ends_at?": TIME,
}
USAGE = {
    "compute_minutes": COUNT,
    "reported_minutes": COUNT,
    "pending_seconds": COUNT,
    "last_reported_at?": TIME,
}
TICKET = {"ticket": str, "expires_in": COUNT, "expires_at": TIME}
TOOL = {"name": str, "description": str, "inputSchema": dict}


def find_mismatch(value: object, shape: Any, where: str = "") -> Optional[tuple[str, str]]:
    """Find the first place where a value does not have a shape.

    Args:
        value: Parsed JSON.
        shape: The required shape.
        where: The place of the value in the whole answer.

    Returns:
        What was expected and what is there; None when the value has the shape.
    """
    if isinstance(shape, Mapping):
        return _find_object_mismatch(value, shape, where)
    if isinstance(shape, list):
        if value is None:
            return None  # the platform's clients read null as an empty list
        if not isinstance(value, list):
            return f"{where}: an array", repr(value)
        mismatches = (find_mismatch(item, shape[0], f"{where}[{number}]") for number, item in enumerate(value))
        return next((mismatch for mismatch in mismatches if mismatch is not None), None)
    if _is_of_kind(value, shape):
        return None
    return f"{where}: {_describe_kind(shape)}", repr(value)


def _find_object_mismatch(value: object, shape: Mapping[str, Any], where: str) -> Optional[tuple[str, str]]:
    if not isinstance(value, dict):
        return f"{where or 'it'}: an object", repr(value)
    for name, kind in shape.items():
        key = name.rstrip("?")
        place = f"{where}.{key}" if where else key
        if value.get(key) is None and name.endswith("?"):
            continue
        if key not in value:
            return f"a key {place}", f"only {', '.join(map(str, value))}"
        mismatch = find_mismatch(value[key], kind, place)
        if mismatch is not None:
            return mismatch
    return None


def find_extra_key(value: object, shape: Any, where: str = "") -> Optional[str]:
    """Return the place of the first key in a value that its shape does not contain; None when there is none."""
    if isinstance(shape, list) and isinstance(value, list):
        extra_keys = (find_extra_key(item, shape[0], f"{where}[{number}]") for number, item in enumerate(value))
        return next(filter(None, extra_keys), None)
    if not isinstance(shape, Mapping) or not isinstance(value, Mapping):
        return None
    kinds = {name.rstrip("?"): kind for name, kind in shape.items()}
    for key, inner in value.items():
        place = f"{where}.{key}" if where else str(key)
        extra_key = find_extra_key(inner, kinds[key], place) if key in kinds else place
        if extra_key is not None:
            return extra_key
    return None


def _is_of_kind(value: object, kind: Any) -> bool:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind == ANY:
        return True
    if kind == NUMBER:
        return is_number
    if kind == COUNT:
        return isinstance(value, int) and is_number and value >= 0
    if kind is int:
        return isinstance(value, int) and is_number
    if kind == TIME:
        return isinstance(value, str) and _TIME.fullmatch(value) is not None
    if kind == STRINGS:
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    if kind == TEXTS:
        return isinstance(value, dict) and all(isinstance(item, str) for item in value.values())
    if isinstance(kind, set):
        return value in kind if isinstance(value, str) else False
    return isinstance(value, kind)


def _describe_kind(kind: Any) -> str:
    if isinstance(kind, set):
        return " or ".join(sorted(kind))
    if kind == TIME:
        return "an RFC 3339 time"
    return kind if isinstance(kind, str) else f"a {kind.__name__}"
