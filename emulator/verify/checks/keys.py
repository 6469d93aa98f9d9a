"""The keys of answers: those of the contract and no others. Code that reads another key passes against a server that
sends it, and fails on the platform."""

from __future__ import annotations

from typing import Any, Callable

from ..assertions import read_json, shorten
from ..check import Group
from ..context import Context
from ..errors import Mismatch, SkipCheck
from ..raw_client import path_segment
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
    find_extra_key,
)
from . import account, ports, sessions, snapshots

group = Group("keys")


def _check(name: str, what: str, shape: Any, answer: Callable[[Context], Any]) -> None:
    """Register a check that the JSON returned by `answer` has only the keys of `shape`."""

    @group.decision(name, f"{what} has the keys of the contract and no others.", "Part A, Profile")
    def check(context: Context) -> None:
        got = answer(context)
        if got == [] and isinstance(shape, list):
            raise SkipCheck("the list is empty")
        found = find_extra_key(got, shape)
        if found is not None:
            raise Mismatch("no key that the contract does not name", shorten(found))


def _get(path: str) -> Callable[[Context], Any]:
    """Return a function that gets a path, in which `{sandbox}` is the id of the shared sandbox."""
    return lambda context: read_json(
        context.get(path.format(sandbox=context.sandbox_id) if "{sandbox}" in path else path)
    )


def _ingested(context: Context) -> Any:
    event = {"type": "desktop", "timestamp": "2026-01-31T12:00:00Z", "sandbox_id": context.sandbox_id}
    return read_json(context.post("/events/ingest", json={"events": [event]}))


def _listing(context: Context) -> Any:
    context.write_new_file("x")
    return read_json(context.get(context.files_path(), params={"path": "/workspace"}))


def _changes(context: Context) -> Any:
    context.run_command("mkdir -p keys-repo; cd keys-repo; git init -q; echo x > file")
    return read_json(context.get(f"/sandboxes/{context.sandbox_id}/git/diff", params={"path": "/workspace/keys-repo"}))


def _trust(context: Context) -> Any:
    sessions.newest_path(context)  # only a sandbox with a session has a score
    return read_json(context.get(f"/trust/sandboxes/{path_segment(context.second_sandbox_id)}"))


def _alerts(context: Context) -> Any:
    found = read_json(context.get("/alerts"))
    if isinstance(found, dict) and found.get("alerts") == []:
        raise SkipCheck("the account has no alert")
    return found


def _alert(context: Context) -> Any:
    found = _alerts(context)
    listed = found.get("alerts") if isinstance(found, dict) else None
    if not listed or not isinstance(listed[0], dict):
        raise SkipCheck("the list of alerts has no usable entry")
    return read_json(context.get(f"/alerts/{path_segment(str(listed[0].get('id')))}"))


def _rule_updated(context: Context) -> Any:
    rules = context.require_json(context.get("/alerts/rules"), "the list of alert rules")
    if not isinstance(rules, list) or not rules or not isinstance(rules[0], dict):
        raise SkipCheck("the account has no alert rule")
    return read_json(context.put(f"/alerts/rules/{path_segment(str(rules[0].get('id')))}", json={"config": {}}))


def _sandbox_sessions(context: Context) -> Any:
    found = context.require_json(context.get(sessions.newest_path(context)), "an agent session")
    # The check is skipped if the sandbox of the session was destroyed.
    return context.require_json(
        context.get(f"/sandboxes/{path_segment(str(found['sandbox_id']))}/sessions"), "its sandbox's list"
    )


_check("sandbox", "A sandbox", SANDBOX, lambda context: read_json(context.create_response))
_check("sandboxes", "A sandbox in a list", [SANDBOX], _get("/sandboxes"))
_check("sandbox-get", "A retrieved sandbox", SANDBOX, _get("/sandboxes/{sandbox}"))
_check("log", "A log line", [LOG], _get("/sandboxes/{sandbox}/logs"))
_check("port", "A port", PORT, ports.listening_port)
_check("exec", "The result of a command", EXEC, lambda context: read_json(context.exec("echo hello")))
_check("exec-failed", "The result of a command that fails", EXEC, lambda context: read_json(context.exec("exit 3")))
_check("file", "A directory entry", [FILE], _listing)
_check(
    "written",
    "The answer to writing a file",
    WRITTEN,
    lambda context: read_json(context.write(context.unique_name(), "x")),
)
_check("git-diff", "A git diff", DIFF, _changes)
_check("snapshot", "A snapshot", SNAPSHOT, lambda context: read_json(context.get(snapshots.completed_path(context))))
_check(
    "snapshot-created", "A new snapshot", SNAPSHOT, lambda context: read_json(snapshots.create_shared_snapshot(context))
)
_check("snapshots", "A snapshot in a list", [SNAPSHOT], _get("/sandboxes/{sandbox}/snapshots"))
_check(
    "download",
    "A download",
    DOWNLOAD,
    lambda context: read_json(context.get(f"{snapshots.completed_path(context)}/download")),
)
_check("account", "The account", ACCOUNT, _get("/account"))
_check("key-created", "A new API key", CREATED_KEY, lambda context: read_json(account.create_shared_key(context)))
_check("key", "An API key", [KEY], _get("/account/keys"))
_check("login", "A login to the dashboard", [LOGIN], _get("/account/sessions"))
_check("sessions", "A page of agent sessions", SESSIONS, _get("/sessions?page=1"))
_check("session", "An agent session", SESSION, lambda context: read_json(context.get(sessions.newest_path(context))))
_check("sandbox-sessions", "An agent session in a sandbox's list", [SESSION], _sandbox_sessions)
_check("replay", "A replay", REPLAY, lambda context: read_json(context.get(f"{sessions.newest_path(context)}/replay")))
_check(
    "summary",
    "A summary",
    SUMMARY,
    lambda context: read_json(context.get(f"{sessions.newest_path(context)}/replay/summary")),
)
_check("trust", "A trust score", [TRUST], _trust)
_check("ingested", "The answer to ingesting events", INGESTED, _ingested)
_check("alerts", "A page of alerts", ALERTS, _alerts)
_check("alert", "A retrieved alert", ALERT, _alert)
_check("rule", "An alert rule", [RULE], _get("/alerts/rules"))
_check("rule-updated", "An updated alert rule", RULE, _rule_updated)
_check("notifications", "A page of notifications", NOTIFICATIONS, _get("/notifications"))
_check("unread-count", "The number of unread notifications", UNREAD, _get("/notifications/unread-count"))
_check("notification-config", "The set of notification settings", NOTIFICATION_CONFIG, _get("/notifications/config"))
_check(
    "notification-config-updated",
    "The answer to an update of the notification settings",
    NOTIFICATION_CONFIG,
    lambda context: read_json(context.put("/notifications/config", json={})),
)
_check("subscription", "The subscription", SUBSCRIPTION, _get("/billing/subscription"))
_check("usage", "The usage", USAGE, _get("/billing/usage"))
_check("ticket", "A socket ticket", TICKET, lambda context: read_json(context.post("/auth/socket-ticket")))
