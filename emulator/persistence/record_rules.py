"""The rules of every stored field of every record, by the names that the fields have in the database."""

from __future__ import annotations

from ..cage.git import Repo
from ..config import TIERS
from ..control.records import EVENT_TYPES
from ..history import Event
from ..platform import alert_triggers, limits, notifications, rules, sandbox_states
from ..platform.limits import Range
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
from .field_validation import (
    AMOUNT,
    COUNT,
    EPOCH,
    FLAG,
    ID,
    JSON,
    TEXT,
    TIMESTAMP,
    Check,
    Fields,
    Items,
    Objects,
    Rule,
    integer,
    list_of,
    mapping,
    matching,
    number,
    one_of,
    text,
)

#: The key, in the JSON of a sandbox or an account, of the causes of its alerts. It keeps its old name because databases
#: and archives that exist have it, and have to stay readable.
ALERT_CAUSES = "told"

_NAME = text(1)
_HEX = matching(r"([0-9a-f]{2})+", "a text of hexadecimal digits").secret()
_NO_NUL = matching(r"[^\0]*", "a text without a NUL character")
_ARGUMENT = matching(r"[^\0-][^\0]*", "a text that is not empty and does not begin with a dash")
_WEBHOOK = matching(notifications.WEBHOOK, "an http or https URL").or_empty().secret()
_EVENT_TYPE = one_of(EVENT_TYPES)


def _range(allowed: Range) -> Rule:
    return integer(allowed.least, allowed.most)


#: Salt and hash.
_PASSWORD = Rule(
    "a list of two texts of hexadecimal digits, or null",
    lambda value: value is None or (isinstance(value, list) and len(value) == 2 and all(map(_HEX.is_valid, value))),
    is_secret=True,
)

_KEY = Fields(
    {
        "id": ID,
        "account_id": ID,
        "name": TEXT,
        "secret": matching(r"[ -~]+", "a text of printable ASCII characters").secret(),
        "scope": one_of(["full", "read_only"]),
        "created_at": TIMESTAMP,
        "last_used": TIMESTAMP.or_none(),
    },
    optional={"last_used"},
)

_SUBSCRIPTION = Fields(
    {
        "period_end": EPOCH.or_none(),
        "cancel_at_period_end": FLAG,
        "ended": FLAG,
        "reported_minutes": COUNT,
        "reported_at": TIMESTAMP.or_none(),
    },
    optional={"period_end", "cancel_at_period_end", "ended", "reported_minutes", "reported_at"},
)

_ALERT_RULE = Fields(
    {
        "id": ID,
        "account_id": ID,
        "type": one_of(rules.DEFAULTS),
        "created_at": TIMESTAMP,
        "enabled": FLAG,
        "config": mapping(TEXT, number(0, rules.MOST)),
    },
    optional={"enabled", "config"},
)

_NOTIFICATION_CONFIG = Fields(
    {
        "enabled_channels": list_of(one_of(notifications.CHANNELS)),
        "slack_channel_id": TEXT,
        "email_address": matching(r"(?s).*@.*", "an e-mail address").or_empty(),
        "slack_webhook_url": _WEBHOOK,
        "discord_webhook_url": _WEBHOOK,
    },
    optional={"enabled_channels", "slack_channel_id", "email_address", "slack_webhook_url", "discord_webhook_url"},
)

_REPO = Fields(
    {
        "url": _ARGUMENT.secret(),
        "token": _NO_NUL.or_none().secret(),
        "branch": _ARGUMENT.or_none(),
        "commit": _ARGUMENT.or_none(),
        "subdir": matching(r"(?!(.*/)?\.\.(/|\Z))[^\0]*", "a path without `..`").or_none(),
    },
    optional={"token", "branch", "commit", "subdir"},
    or_none=True,
)

_CONFIG_FILE = Rule(
    "an object with the texts source and raw, or null",
    lambda value: (
        value is None
        or (isinstance(value, dict) and set(value) <= {"source", "raw"} and all(map(TEXT.is_valid, value.values())))
    ),
)

#: The rules of the records by their class.
RULES: dict[type, Fields] = {
    Key: _KEY,
    Subscription: _SUBSCRIPTION,
    AlertRule: _ALERT_RULE,
    NotificationConfig: _NOTIFICATION_CONFIG,
    Repo: _REPO,
    AccountRecord: Fields(
        {
            "id": ID,
            "name": TEXT,
            "email": matching(r"(?s).*@.*", "an e-mail address"),
            "tier": one_of(TIERS),
            "created_at": TIMESTAMP,
            "password": _PASSWORD,
            "subscription": _SUBSCRIPTION,
            "past_seconds": AMOUNT,
            "rules": Objects(_ALERT_RULE),
            "notification_config": _NOTIFICATION_CONFIG,
            ALERT_CAUSES: list_of(TEXT),
        },
        optional={"password", "past_seconds"},
    ),
    LoginSession: Fields(
        {"id": ID, "key": _KEY, "user_agent": TEXT, "ip": TEXT, "created_at": TIMESTAMP, "expires": EPOCH}
    ),
    Sandbox: Fields(
        {
            "id": ID,
            "account_id": ID,
            "template": one_of(limits.TEMPLATES),
            "cpus": _range(limits.CPUS),
            "memory_mb": _range(limits.MEMORY_MB),
            "disk_gb": _range(limits.DISK_GB),
            "network_mode": one_of(limits.NETWORK_MODES),
            "timeout": integer(1, max(tier.idle_seconds for tier in (*limits.TIERS.values(), limits.UNLIMITED))),
            "created_at": TIMESTAMP,
            "allowlist": list_of(TEXT),
            "env": mapping(matching(r"[^= \t\n\0]+", "the name of a variable"), _NO_NUL.secret()),
            "secrets": list_of(TEXT),
            "packages": list_of(TEXT),
            "agents": list_of(one_of(limits.AGENTS)),
            "repo": _REPO,
            "budget": number(0).or_none(),
            "init_script": _NO_NUL.or_none().secret(),
            "config": _CONFIG_FILE,
            "ip": matching(r"[0-9a-f.:]{2,45}", "an IP address").or_none(),
            "status": one_of([state for state in sandbox_states.STATES if state != "destroyed"]),
            "started_at": TIMESTAMP.or_none(),
            "stopped_at": TIMESTAMP.or_none(),
            "spent_compute": AMOUNT,
            "spent_llm": AMOUNT,
            "running_since": EPOCH.or_none(),
            "budget_told": list_of(integer(1, 100)),
            "port_passwords": mapping(
                matching(
                    r"[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]",
                    "a port from 1 to 65535",
                ),
                _NAME.secret(),
            ),
            "has_restored": FLAG,
            "session_id": ID.or_none(),
            ALERT_CAUSES: list_of(TEXT),
        },
        optional={"allowlist", "env", "secrets", "packages", "agents", "repo", "budget", "init_script", "config", "ip"}
        | {"status", "started_at", "stopped_at", "spent_compute", "spent_llm", "running_since", "has_restored"},
    ),
    AgentSession: Fields(
        {
            "id": ID,
            "account_id": ID,
            "sandbox_id": ID,
            "agent_type": one_of(limits.AGENTS),
            "model": TEXT.or_none(),
            "started_at": EPOCH,
            "compute_before": AMOUNT,
            "status": one_of(["active", "completed", "failed"]),
            "ended_at": EPOCH.or_none(),
            "tokens_in": COUNT,
            "tokens_out": COUNT,
            "llm_cost": AMOUNT,
            # Below 0 when the clock was set back meanwhile.
            "compute_cost": number(),
            "trust_score": integer(0, 100),
            "trust_updated_at": EPOCH,
            "charged": Rule(
                "a list of pairs of texts",
                lambda value: (
                    isinstance(value, list)
                    and all(
                        isinstance(pair, list) and len(pair) == 2 and all(map(TEXT.is_valid, pair)) for pair in value
                    )
                ),
            ),
            "deletions": list_of(EPOCH),
            "chosen_id": TEXT.or_none(),
        },
        optional={"status", "ended_at", "tokens_in", "tokens_out", "llm_cost", "compute_cost", "trust_score"}
        | {"trust_updated_at", "deletions", "chosen_id"},
    ),
    Snapshot: Fields(
        {
            "id": ID,
            "account_id": ID,
            "sandbox_id": ID,
            "name": _NAME,
            "description": TEXT,
            "trigger": one_of(["manual", "auto"]),
            "created_at": TIMESTAMP,
            "status": one_of(["pending", "completed", "failed"]),
            "size_bytes": COUNT,
            "completed_at": TIMESTAMP.or_none(),
        },
        optional={"status", "size_bytes", "completed_at"},
    ),
    Alert: Fields(
        {
            "id": ID,
            "account_id": ID,
            "rule_id": ID.or_empty(),
            "rule_type": one_of([*rules.DEFAULTS, *alert_triggers.WITHOUT_RULE]),
            "severity": one_of(["info", "warning", "critical"]),
            "title": TEXT,
            "message": TEXT,
            "sandbox_id": ID.or_empty(),
            # A client may have chosen it.
            "session_id": TEXT,
            "meta": mapping(TEXT, TEXT),
            "created_at": TIMESTAMP,
            "state": one_of(["open", "resolved", "muted"]),
            "resolved_at": TIMESTAMP.or_none(),
        },
        optional={"state", "resolved_at"},
    ),
    Notification: Fields(
        {
            "id": ID,
            "account_id": ID,
            "alert_id": ID,
            "channel": one_of(notifications.CHANNELS),
            "title": TEXT,
            "message": TEXT,
            "created_at": TIMESTAMP,
            "read": FLAG,
        },
        optional={"read"},
    ),
}

#: The rules of the items of lists.
ENTRIES: dict[type, Items] = {
    LogEntry: Items({"timestamp": TIMESTAMP, "type": matching(r"[a-z_]{1,32}", "a word"), "message": TEXT}),
    Event: Items(
        {
            "weight": COUNT,
            # A client may have chosen the ids of events and of their sessions.
            "id": _NAME,
            "account_id": ID,
            "sandbox_id": ID.or_empty(),
            "session_id": TEXT,
            "sequence": integer(1),
            "type": _EVENT_TYPE,
            "timestamp": TIMESTAMP,
            "duration_ms": number(),
            "data": JSON,
            "process_id": TEXT,
            "meta": mapping(TEXT, TEXT),
        }
    ),
}

#: The counts of a history's events, which may have been removed.
HISTORY = Fields({"types": mapping(_EVENT_TYPE, COUNT), "first": EPOCH.or_none(), "last": EPOCH.or_none()})

_DIAL = Rule(
    "a list of an offset in seconds and of the frozen time in epoch seconds, or null",
    lambda value: (
        isinstance(value, list)
        and len(value) == 2
        and (value[0] is None or EPOCH.is_valid(value[0]))
        and (value[1] is None or EPOCH.is_valid(value[1]))
    ),
)

#: The documents that are stored beside the records, by name.
DOCUMENTS: dict[str, Check] = {
    "alive": Fields({"common": EPOCH, "accounts": mapping(ID, EPOCH)}),
    # Drawn numbers are skipped one by one, so their count is bounded by what takes seconds.
    "chance": Fields(
        {
            "seed": Rule("an integer", lambda value: type(value) is int),
            "drawn": mapping(TEXT, integer(0, (1 << 32) - 1)),
        }
    ),
    "clock": mapping(matching(r"\*|[a-z]{1,16}_[a-z0-9]{1,32}", "the id of an account or `*`"), _DIAL),
    "signing_key": _HEX,
}
