"""The routes of the API's calls: their names, and the templates of their paths."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional
from urllib.parse import unquote

#: Method, template of the path below `/v1`, and operation. A WebSocket is opened with GET.
ROUTES: tuple[tuple[str, str, str], ...] = (
    ("GET", "/account", "account.get"),
    ("GET", "/account/keys", "account.list_keys"),
    ("POST", "/account/keys", "account.create_key"),
    ("DELETE", "/account/keys/{key_id}", "account.revoke_key"),
    ("GET", "/account/sessions", "account.list_sessions"),
    ("DELETE", "/account/sessions/{login_id}", "account.revoke_session"),
    ("GET", "/alerts", "alerts.list"),
    ("GET", "/alerts/rules", "alerts.list_rules"),
    ("PUT", "/alerts/rules/{rule_id}", "alerts.update_rule"),
    ("GET", "/alerts/{alert_id}", "alerts.get"),
    ("POST", "/alerts/{alert_id}/resolve", "alerts.resolve"),
    ("POST", "/auth/socket-ticket", "socket_ticket"),
    ("POST", "/billing/cancel", "billing.cancel"),
    ("POST", "/billing/checkout", "billing.create_checkout"),
    ("POST", "/billing/portal", "billing.create_portal"),
    ("GET", "/billing/subscription", "billing.get_subscription"),
    ("GET", "/billing/usage", "billing.get_usage"),
    ("POST", "/events/ingest", "events.ingest"),
    ("GET", "/notifications", "notifications.list"),
    ("GET", "/notifications/config", "notifications.get_config"),
    ("PUT", "/notifications/config", "notifications.update_config"),
    ("POST", "/notifications/read-all", "notifications.mark_all_read"),
    ("GET", "/notifications/unread-count", "notifications.unread_count"),
    ("POST", "/notifications/{notification_id}/read", "notifications.mark_read"),
    ("GET", "/sandboxes", "sandboxes.list"),
    ("POST", "/sandboxes", "sandboxes.create"),
    ("GET", "/sandboxes/{sandbox_id}", "sandboxes.get"),
    ("DELETE", "/sandboxes/{sandbox_id}", "sandboxes.destroy"),
    ("POST", "/sandboxes/{sandbox_id}/exec", "sandboxes.exec"),
    ("GET", "/sandboxes/{sandbox_id}/files", "files.list"),
    ("GET", "/sandboxes/{sandbox_id}/files/content", "files.read"),
    ("PUT", "/sandboxes/{sandbox_id}/files/content", "files.write"),
    ("GET", "/sandboxes/{sandbox_id}/git/diff", "files.git_diff"),
    ("GET", "/sandboxes/{sandbox_id}/logs", "sandboxes.logs"),
    ("GET", "/sandboxes/{sandbox_id}/mcp", "sandboxes.mcp"),
    ("POST", "/sandboxes/{sandbox_id}/pause", "sandboxes.pause"),
    ("GET", "/sandboxes/{sandbox_id}/ports", "sandboxes.ports"),
    ("POST", "/sandboxes/{sandbox_id}/resume", "sandboxes.resume"),
    ("GET", "/sandboxes/{sandbox_id}/sessions", "sessions.list_by_sandbox"),
    ("GET", "/sandboxes/{sandbox_id}/snapshots", "snapshots.list"),
    ("POST", "/sandboxes/{sandbox_id}/snapshots", "snapshots.create"),
    ("GET", "/sandboxes/{sandbox_id}/terminal", "sandboxes.terminal"),
    ("GET", "/sessions", "sessions.list"),
    ("GET", "/sessions/{session_id}", "sessions.get"),
    ("GET", "/sessions/{session_id}/replay", "sessions.replay"),
    ("GET", "/sessions/{session_id}/replay/summary", "sessions.replay_summary"),
    ("GET", "/snapshots/{snapshot_id}", "snapshots.get"),
    ("DELETE", "/snapshots/{snapshot_id}", "snapshots.delete"),
    ("GET", "/snapshots/{snapshot_id}/download", "snapshots.download"),
    ("POST", "/snapshots/{snapshot_id}/restore", "snapshots.restore"),
    ("GET", "/trust/sandboxes/{sandbox_id}", "sandboxes.trust_scores"),
)


@dataclass(frozen=True)
class Route:
    """The route of a path.

    Attributes:
        template: The path below `/v1`, with names in place of ids.
        operation: The name of the call.
        ids: The ids by their names.
    """

    template: str
    operation: str
    ids: dict[str, str] = field(default_factory=dict)


_Parts = list[str]
_TEMPLATES: dict[tuple[str, int], list[tuple[_Parts, str, str]]] = {}
for _method, _template, _operation in ROUTES:
    _parts = _template.split("/")
    _TEMPLATES.setdefault((_method, len(_parts)), []).append((_parts, _template, _operation))


def route_of(method: str, path: str) -> Optional[Route]:
    """The route of a path below `/v1`; None for a path that the SDK does not call."""
    parts = path.split("/")
    for template, text, operation in _TEMPLATES.get((method, len(parts)), ()):
        if all(wanted == part or (wanted[:1] == "{" and part) for wanted, part in zip(template, parts)):
            ids = {wanted[1:-1]: unquote(part) for wanted, part in zip(template, parts) if wanted[:1] == "{"}
            return Route(text, operation, ids)
    return None


def redacted_query(pairs: list[tuple[str, str]]) -> str:
    """A query string in which only numbers are shown: any other value may be a secret."""
    return "&".join(f"{name}={value if value.isdecimal() else 'REDACTED'}" for name, value in pairs)
