"""That answers hold the keys of the contract and no others: code that reads another key passes against a server that
sends it, and fails on the platform."""

from __future__ import annotations

from typing import Any, Callable

from ..check import Different, Group, Unchecked
from ..context import Context
from ..expect import parsed, short
from ..shapes import (
    ACCOUNT,
    ALERT,
    ALERTS,
    CREATED_KEY,
    DIFF,
    DOWNLOAD,
    EXEC,
    FILE,
    INGESTED,
    KEY,
    LOG,
    LOGIN,
    NOTIFICATION_CONFIG,
    NOTIFICATIONS,
    PORT,
    REPLAY,
    RULE,
    SANDBOX,
    SESSION,
    SESSIONS,
    SNAPSHOT,
    SUBSCRIPTION,
    SUMMARY,
    TICKET,
    TRUST,
    UNREAD,
    USAGE,
    WRITTEN,
    extra_key,
)
from ..wire import segment
from . import account, ports, sessions, snapshots

group = Group("keys")


def _check(name: str, what: str, shape: Any, answer: Callable[[Context], Any]) -> None:
    """Register the check that the JSON which `answer` gets has no key but those of `shape`."""

    @group.decision(name, f"{what} holds the keys of the contract and no others.", "Part A, Profile")
    def look(bench: Context) -> None:
        got = answer(bench)
        if got == [] and isinstance(shape, list):
            raise Unchecked("the list is empty")
        found = extra_key(got, shape)
        if found is not None:
            raise Different("no key that the contract does not name", short(found))


def _getting(path: str) -> Callable[[Context], Any]:
    """What a GET of this path answers; `{box}` in it is the shared sandbox."""
    return lambda bench: parsed(bench.get(path.format(box=bench.box) if "{box}" in path else path))


def _ingested(bench: Context) -> Any:
    event = {"type": "desktop", "timestamp": "2026-01-31T12:00:00Z", "sandbox_id": bench.box}
    return parsed(bench.post("/events/ingest", json={"events": [event]}))


def _listing(bench: Context) -> Any:
    bench.put_file("x")
    return parsed(bench.get(bench.files(), params={"path": "/workspace"}))


def _changes(bench: Context) -> Any:
    bench.shell("mkdir -p keys-repo; cd keys-repo; git init -q; echo x > file")
    return parsed(bench.get(f"/sandboxes/{bench.box}/git/diff", params={"path": "/workspace/keys-repo"}))


def _trust(bench: Context) -> Any:
    sessions.newest_path(bench)  # a session has a score
    return parsed(bench.get(f"/trust/sandboxes/{segment(bench.python_box)}"))


def _alerts(bench: Context) -> Any:
    found = parsed(bench.get("/alerts"))
    if isinstance(found, dict) and found.get("alerts") == []:
        raise Unchecked("the account has no alert")
    return found


def _alert(bench: Context) -> Any:
    found = _alerts(bench)
    listed = found.get("alerts") if isinstance(found, dict) else None
    if not listed or not isinstance(listed[0], dict):
        raise Unchecked("the list of alerts has none that could be looked at")
    return parsed(bench.get(f"/alerts/{segment(str(listed[0].get('id')))}"))


def _rule_updated(bench: Context) -> Any:
    rules = bench.needed(bench.get("/alerts/rules"), "the list of alert rules")
    if not isinstance(rules, list) or not rules or not isinstance(rules[0], dict):
        raise Unchecked("the account has no alert rule")
    return parsed(bench.put(f"/alerts/rules/{segment(str(rules[0].get('id')))}", json={"config": {}}))


def _sandbox_sessions(bench: Context) -> Any:
    found = bench.needed(bench.get(sessions.newest_path(bench)), "an agent session")
    # Its sandbox may be gone.
    return bench.needed(bench.get(f"/sandboxes/{segment(str(found['sandbox_id']))}/sessions"), "its sandbox's list")


_check("sandbox", "A sandbox", SANDBOX, lambda bench: parsed(bench.created))
_check("sandboxes", "A sandbox in a list", [SANDBOX], _getting("/sandboxes"))
_check("sandbox-get", "A sandbox that is looked at", SANDBOX, _getting("/sandboxes/{box}"))
_check("log", "A line of a log", [LOG], _getting("/sandboxes/{box}/logs"))
_check("port", "A port", PORT, ports.listening_port)
_check("exec", "The result of a command", EXEC, lambda bench: parsed(bench.exec("echo hello")))
_check("exec-failed", "The result of a command that fails", EXEC, lambda bench: parsed(bench.exec("exit 3")))
_check("file", "An entry of a directory", [FILE], _listing)
_check("written", "The answer to a write", WRITTEN, lambda bench: parsed(bench.write(bench.name(), "x")))
_check("git-diff", "A git diff", DIFF, _changes)
_check("snapshot", "A snapshot", SNAPSHOT, lambda bench: parsed(bench.get(snapshots.completed_path(bench))))
_check("snapshot-created", "A new snapshot", SNAPSHOT, lambda bench: parsed(snapshots.taken(bench)))
_check("snapshots", "A snapshot in a list", [SNAPSHOT], _getting("/sandboxes/{box}/snapshots"))
_check("download", "A download", DOWNLOAD, lambda b: parsed(b.get(f"{snapshots.completed_path(b)}/download")))
_check("account", "The account", ACCOUNT, _getting("/account"))
_check("key-created", "A new API key", CREATED_KEY, lambda bench: parsed(account.created(bench)))
_check("key", "An API key", [KEY], _getting("/account/keys"))
_check("login", "A login to the dashboard", [LOGIN], _getting("/account/sessions"))
_check("sessions", "A page of agent sessions", SESSIONS, _getting("/sessions?page=1"))
_check("session", "An agent session", SESSION, lambda bench: parsed(bench.get(sessions.newest_path(bench))))
_check("sandbox-sessions", "An agent session in a sandbox's list", [SESSION], _sandbox_sessions)
_check("replay", "A replay", REPLAY, lambda bench: parsed(bench.get(f"{sessions.newest_path(bench)}/replay")))
_check("summary", "A summary", SUMMARY, lambda b: parsed(b.get(f"{sessions.newest_path(b)}/replay/summary")))
_check("trust", "A trust score", [TRUST], _trust)
_check("ingested", "The answer to events", INGESTED, _ingested)
_check("alerts", "A page of alerts", ALERTS, _alerts)
_check("alert", "An alert that is looked at", ALERT, _alert)
_check("rule", "An alert rule", [RULE], _getting("/alerts/rules"))
_check("rule-updated", "An updated alert rule", RULE, _rule_updated)
_check("notifications", "A page of notifications", NOTIFICATIONS, _getting("/notifications"))
_check("unread-count", "The number of unread notifications", UNREAD, _getting("/notifications/unread-count"))
_check("notification-config", "The notification settings", NOTIFICATION_CONFIG, _getting("/notifications/config"))
_check(
    "notification-config-updated",
    "The answer to an update of the notification settings",
    NOTIFICATION_CONFIG,
    lambda bench: parsed(bench.put("/notifications/config", json={})),
)
_check("subscription", "The subscription", SUBSCRIPTION, _getting("/billing/subscription"))
_check("usage", "The usage", USAGE, _getting("/billing/usage"))
_check("ticket", "A socket ticket", TICKET, lambda bench: parsed(bench.post("/auth/socket-ticket")))
