"""Values that no emulator writes into a record: for every field of every record, those that must be refused."""

from __future__ import annotations

from typing import Any

from caged.emulator.persistence import record_rules

NAN, INFINITE = float("nan"), float("inf")
#: An id that no record has.
MISSING = object()

IDS = ["", None, 5, "x", "../x", "cage_a/b", "cage_A1", "CAGE_a1", "cage_a1\n", "cage_" + "a" * 33, ["cage_a"]]
ID_OR_EMPTY = [value for value in IDS if value != ""]
OPTIONAL_ID = [value for value in IDS if value is not None]
TEXTS = [None, 5, True, ["a"], {"a": "b"}, "\ud800"]
OPTIONAL_TEXTS = [value for value in TEXTS if value is not None]
FLAGS = [None, 0, 1, "true", []]
NUMBERS = [None, "1", True, NAN, INFINITE, -INFINITE, [1]]
AMOUNTS = [*NUMBERS, -0.01, -1]
COUNTS = [None, "1", True, -1, 0.5, 1.0, NAN, INFINITE, 1 << 63, int("9" * 399)]
TIMES = [None, 5, "", "yesterday", "2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-01-01", "2026-01-01T25:00:00Z"]
OPTIONAL_TIMES = [value for value in TIMES if value is not None]
EPOCHS = [*NUMBERS, 1e18, -1e18, 1 << 70]
OPTIONAL_EPOCHS = [value for value in EPOCHS if value is not None]
LISTS_OF_TEXTS = [None, "a", {"a": 1}, [5], [None], ["a", ["b"]], ["\ud800"]]


def enums(*near: str) -> list[Any]:
    return [None, "", 5, True, ["a"], {}, *near]


KEY: dict[str, list[Any]] = {
    "id": IDS,
    "account_id": [*IDS, MISSING],
    "name": TEXTS,
    "secret": [*TEXTS, "", "a\nb", "\xe4", MISSING],
    "scope": enums("root", "FULL", "read-only"),
    "created_at": [*TIMES, MISSING],
    "last_used": OPTIONAL_TIMES,
}
SUBSCRIPTION: dict[str, list[Any]] = {
    "period_end": OPTIONAL_EPOCHS,
    "cancel_at_period_end": FLAGS,
    "ended": FLAGS,
    "reported_minutes": COUNTS,
    "reported_at": OPTIONAL_TIMES,
}
CONFIG: dict[str, list[Any]] = {
    "enabled_channels": [None, "slack", [5], ["pager"], ["slack", ["email"]], {}],
    "slack_channel_id": TEXTS,
    "email_address": [*TEXTS, "nowhere"],
    "slack_webhook_url": [*TEXTS, "ftp://x", "https://a b", "javascript:x"],
    "discord_webhook_url": [*TEXTS, "x", "http://"],
}
RULE: dict[str, list[Any]] = {
    "id": [*IDS, "rule_other"],
    "account_id": IDS,
    "type": [*enums("budget", "BUDGET_EXCEEDED"), "agent_stuck"],  # the account has a rule of that type already
    "created_at": TIMES,
    "enabled": FLAGS,
    "config": [None, [], {"a": "b"}, {"a": NAN}, {"a": -1}, {"a": 1e9}, {"a": None}, {"a": {}}],
}
REPO: dict[str, list[Any]] = {
    "url": [*TEXTS, "", "-x", "a\0b", MISSING],
    "token": [*OPTIONAL_TEXTS, "a\0"],
    "branch": [*OPTIONAL_TEXTS, "", "--upload-pack=x"],
    "commit": [*OPTIONAL_TEXTS, "", "-c"],
    "subdir": [*OPTIONAL_TEXTS, "..", "../x", "a/../b", "a/.."],
}


def inside(place: str, fields: dict[str, list[Any]]) -> dict[str, list[Any]]:
    return {f"{place}.{name}": values for name, values in fields.items()}


#: kind -> field -> wrong values. `RULE` stands for one of the account's rules.
WRONG: dict[str, dict[str, list[Any]]] = {
    "account": {
        "id": IDS,
        "name": TEXTS,
        "email": [*TEXTS, "", "nowhere", MISSING],
        "tier": enums("gold", "Team", "unlimited"),
        "created_at": TIMES,
        "password": [5, "ab", [], ["ab"], ["zz", "zz"], ["ab", None], ["ab", "abc"], ["ab", "ab", "ab"], {"a": "b"}],
        "subscription": [None, 5, [], "x", MISSING],
        **inside("subscription", SUBSCRIPTION),
        "past_seconds": AMOUNTS,
        "rules": [None, 5, [], {"rule_a1": None}, {"rule_a1": []}, {"rule_a1": {}}, MISSING],
        **inside("rules.RULE", RULE),
        "notification_config": [None, 5, [], "x", MISSING],
        **inside("notification_config", CONFIG),
        "told": [*LISTS_OF_TEXTS, MISSING],
    },
    "key": KEY,
    "login": {
        "id": IDS,
        "key": [None, 5, [], {}, MISSING],
        **inside("key", KEY),
        "user_agent": TEXTS,
        "ip": TEXTS,
        "created_at": TIMES,
        "expires": [*EPOCHS, MISSING],
    },
    "sandbox": {
        "id": IDS,
        "account_id": IDS,
        "template": enums("node", "python-27", "minimal "),
        "cpus": [*COUNTS, 0, 9, 10_000],
        "memory_mb": [*COUNTS, 0, 127, 8193, 1 << 40],
        "disk_gb": [*COUNTS, 0, 51],
        "network_mode": enums("moon", "Full", "host"),
        "timeout": [*COUNTS, 0, 86_401],
        "created_at": [*TIMES, MISSING],
        "allowlist": LISTS_OF_TEXTS,
        "env": [None, [], ["a"], {"": "x"}, {"a=b": "x"}, {"a b": "x"}, {"a": 1}, {"a": None}, {"a": "x\0"}],
        "secrets": LISTS_OF_TEXTS,
        "packages": LISTS_OF_TEXTS,
        "agents": [None, "codex", {}, [5], ["claude"], ["codex", "hal"]],
        "repo": [5, [], "x", {}],
        **inside("repo", REPO),
        "budget": [value for value in AMOUNTS if value is not None],
        "init_script": [*OPTIONAL_TEXTS, "a\0"],
        "config": [5, [], "x", {"source": 5}, {"source": None}, {"other": "x"}],
        "ip": [5, "", "x", "localhost", "127.0.0.1/8", ["::1"]],
        "status": enums("flying", "Running", "destroyed", "completed"),
        "started_at": OPTIONAL_TIMES,
        "stopped_at": OPTIONAL_TIMES,
        "spent_compute": AMOUNTS,
        "spent_llm": AMOUNTS,
        "running_since": OPTIONAL_EPOCHS,
        "budget_told": [None, 80, ["80"], [NAN], [-1], [101], [True], {}, MISSING],
        "port_passwords": [
            *(None, [], {"x": "y"}, {"0": "y"}, {"-1": "y"}, {"65536": "y"}, {"080": "y"}, {"80.0": "y"}),
            *({"80": ""}, {"80": 5}, {"80": None}, MISSING),
        ],
        "has_restored": FLAGS,
        "session_id": [*OPTIONAL_ID, MISSING],
        "told": [*LISTS_OF_TEXTS, MISSING],
    },
    "session": {
        "id": IDS,
        "account_id": IDS,
        "sandbox_id": IDS,
        "agent_type": enums("claude", "hal"),
        "model": OPTIONAL_TEXTS,
        "started_at": [*EPOCHS, MISSING],
        "compute_before": AMOUNTS,
        "status": enums("running", "Active"),
        "ended_at": OPTIONAL_EPOCHS,
        "tokens_in": COUNTS,
        "tokens_out": COUNTS,
        "llm_cost": AMOUNTS,
        "compute_cost": NUMBERS,
        "trust_score": [*COUNTS, 101],
        "trust_updated_at": EPOCHS,
        "charged": [None, "ab", ["ab"], [["a"]], [["a", "b", "c"]], [["a", 5]], [{"a": "b"}], {"a": "b"}, MISSING],
        "deletions": [None, 5, ["x"], [NAN], [None], [1e18], {}],
        "chosen_id": OPTIONAL_TEXTS,
    },
    "snapshot": {
        "id": IDS,
        "account_id": IDS,
        "sandbox_id": IDS,
        "name": [*TEXTS, "", MISSING],
        "description": TEXTS,
        "trigger": enums("hourly", "Manual"),
        "created_at": TIMES,
        "status": enums("running", "complete"),
        "size_bytes": COUNTS,
        "completed_at": OPTIONAL_TIMES,
    },
    "alert": {
        "id": IDS,
        "account_id": IDS,
        "rule_id": ID_OR_EMPTY,
        "rule_type": enums("weather"),
        "severity": enums("fatal", "Warning"),
        "title": TEXTS,
        "message": TEXTS,
        "sandbox_id": ID_OR_EMPTY,
        "session_id": TEXTS,
        "meta": [None, [], "x", {"a": 5}, {"a": None}, {"a": {}}, MISSING],
        "created_at": TIMES,
        "state": enums("closed", "Open"),
        "resolved_at": OPTIONAL_TIMES,
    },
    "notification": {
        "id": IDS,
        "account_id": IDS,
        "alert_id": IDS,
        "channel": enums("pager", "Slack"),
        "title": TEXTS,
        "message": TEXTS,
        "created_at": TIMES,
        "read": FLAGS,
    },
    "history": {
        "types": [None, [], "x", {"command": -1}, {"command": 0.5}, {"command": None}, {"flying": 1}, MISSING],
        "first": OPTIONAL_EPOCHS,
        "last": OPTIONAL_EPOCHS,
    },
}
CLASSES = {
    "account": record_rules.AccountRecord,
    "key": record_rules.Key,
    "login": record_rules.LoginSession,
    "sandbox": record_rules.Sandbox,
    "session": record_rules.AgentSession,
    "snapshot": record_rules.Snapshot,
    "alert": record_rules.Alert,
    "notification": record_rules.Notification,
}
PARTS = {
    "account.subscription": record_rules.Subscription,
    "account.notification_config": record_rules.NotificationConfig,
    "account.rules.RULE": record_rules.AlertRule,
    "login.key": record_rules.Key,
    "sandbox.repo": record_rules.Repo,
}

#: Items of lists: list -> item -> wrong values.
ENTRIES: dict[str, dict[str, list[Any]]] = {
    "log": {"timestamp": TIMES, "type": [*enums(), "a b", "x" * 33], "message": TEXTS},
    "events": {
        "weight": COUNTS,
        "id": [*TEXTS, ""],
        "account_id": IDS,
        "sandbox_id": ID_OR_EMPTY,
        "session_id": TEXTS,
        "sequence": [*COUNTS, 0],
        "type": enums("weather"),
        "timestamp": TIMES,
        "duration_ms": NUMBERS,
        "data": [NAN, {"a": INFINITE}, {"a": [NAN]}, "\ud800", {"\ud800": 1}],
        "process_id": TEXTS,
        "meta": [None, [], {"a": 5}, {"a": None}],
    },
}
DOCUMENTS: dict[str, list[Any]] = {
    "alive": [
        *(None, 5, [], {}, "x", {"common": None, "accounts": {}}, {"common": "1", "accounts": {}}),
        *({"common": NAN, "accounts": {}}, {"common": 1e18, "accounts": {}}, {"common": 5}),
        *({"common": 5, "accounts": None}, {"common": 5, "accounts": []}, {"common": 5, "accounts": {"a/b": 5}}),
        *({"common": 5, "accounts": {"acct_a": NAN}}, {"common": 5, "accounts": {"acct_a": None}}),
    ],
    "chance": [
        *(None, 5, [], {}, {"seed": "1", "drawn": {}}, {"seed": 1, "drawn": []}, {"seed": 1, "drawn": {"a": -1}}),
        *({"seed": 1, "drawn": {"a": 1 << 40}}, {"seed": NAN, "drawn": {}}, {"seed": 1, "drawn": {"a": 0.5}}),
    ],
    "clock": [
        *(None, 5, [], "x", {"*": None}, {"*": []}, {"*": [0]}, {"*": [NAN, None]}, {"*": [0, "x"]}),
        *({"*": [0, INFINITE]}, {"*": [1e18, None]}, {"a/b": [0, None]}, {"*": [0, None, 0]}, {"*": [True, None]}),
    ],
    "signing_key": [None, 5, "", "zz", "abc", ["ab"]],
}
