"""Notifications and where they go. A webhook is set only where the account has none, and removed again."""

from __future__ import annotations

from typing import Any

from ..check import Group, Unchecked
from ..context import Context
from ..expect import an_object, refused, same, status, true
from ..shapes import NOTIFICATION_CONFIG, NOTIFICATIONS

group = Group("notifications")

_CONFIG = "/notifications/config"
_HOOK = "https://discord.com/api/webhooks/0/caged-verify-wxyz"
_CLEAR = "__clear__"


@group.contract("list", "The list is notifications and unread_count.", "wire-contract 3.9")
def listed(bench: Context) -> None:
    an_object(bench.get("/notifications"), NOTIFICATIONS)


@group.contract("list-limit", "`limit` is how many come at most.", "wire-contract 3.9")
def list_limit(bench: Context) -> None:
    found = an_object(bench.get("/notifications", params={"limit": 1}), NOTIFICATIONS)["notifications"] or ()
    true(len(found) <= 1, "one notification at most", len(found))


@group.contract("unread", "unread=true lists what is not read.", "wire-contract 3.9")
def unread(bench: Context) -> None:
    found = an_object(bench.get("/notifications", params={"unread": "true"}), NOTIFICATIONS)
    items = found["notifications"] or ()
    true(not any(item["read"] for item in items), "only unread ones", "one that is read")
    true(bool(items) == bool(found["unread_count"]), f"as many as unread_count {found['unread_count']}", len(items))


@group.contract("unread-count", "unread-count is a route of its own, and the same number.", "wire-contract 3.9")
def unread_count(bench: Context) -> None:
    found = an_object(bench.get("/notifications/unread-count"), {"unread_count": int})
    same("unread_count", found["unread_count"], bench.get("/notifications").json().get("unread_count"))


@group.contract("config", "The settings are those of all channels.", "wire-contract 3.9")
def config(bench: Context) -> None:
    an_object(bench.get(_CONFIG), NOTIFICATION_CONFIG)


@group.contract("config-empty", "An empty update changes nothing and answers the settings.", "wire-contract 3.9")
def config_empty(bench: Context) -> None:
    before = bench.needed(bench.get(_CONFIG), "the settings")
    same("the settings", an_object(bench.put(_CONFIG, json={}), NOTIFICATION_CONFIG), before)


def _hooked(bench: Context) -> dict[str, Any]:
    """Settings as they were, with a webhook, after an update that leaves it out, and after it was removed."""

    def tell() -> dict[str, Any]:
        before = bench.needed(bench.get(_CONFIG), "the settings")
        if not isinstance(before, dict) or before.get("discord_webhook_configured") is not False:
            raise Unchecked("the account has a Discord webhook of its own, which could not be put back")
        bench.undo("PUT", _CONFIG, "the Discord webhook", {"discord_webhook_url": _CLEAR})
        return {
            "set": bench.put(_CONFIG, json={"discord_webhook_url": _HOOK}),
            "get": bench.get(_CONFIG),
            "left": bench.put(_CONFIG, json={"email_address": before.get("email_address", "")}),
            "cleared": bench.put(_CONFIG, json={"discord_webhook_url": _CLEAR}),
        }

    return bench.shared("a webhook", tell)


@group.contract("webhook-set", "A webhook that is set is configured.", "wire-contract 3.9")
def webhook_set(bench: Context) -> None:
    same("configured", an_object(_hooked(bench)["set"]).get("discord_webhook_configured"), True)


@group.contract("webhook-hidden", "A webhook is never shown, only its last four characters.", "wire-contract 3.9")
def webhook_hidden(bench: Context) -> None:
    for answer in (_hooked(bench)["set"], _hooked(bench)["get"]):
        hint = an_object(answer).get("discord_webhook_hint")
        true("caged-verify-wxyz" not in answer.text, "no credential", "the webhook itself")
        true(isinstance(hint, str) and hint.endswith("wxyz"), "a hint that ends with wxyz", repr(hint))


@group.contract("webhook-hint", "A hint is three dots and the last four characters.", "wire-contract 3.9")
def webhook_hint(bench: Context) -> None:
    same("hint", an_object(_hooked(bench)["get"]).get("discord_webhook_hint"), "...wxyz")


@group.contract("webhook-kept", "A webhook that an update leaves out stays.", "wire-contract 3.9")
def webhook_kept(bench: Context) -> None:
    same("configured", an_object(_hooked(bench)["left"]).get("discord_webhook_configured"), True)


@group.contract("webhook-cleared", "__clear__ removes it, and its hint.", "wire-contract 3.9")
def webhook_cleared(bench: Context) -> None:
    found = an_object(_hooked(bench)["cleared"])
    got = [found.get("discord_webhook_configured"), found.get("discord_webhook_hint")]
    same("configured, hint", got, [False, None])


@group.decision("unknown-channel", "A channel that does not exist is a 400.", "Part A, Errors")
def unknown_channel(bench: Context) -> None:
    before = bench.needed(bench.get(_CONFIG), "the settings")
    channels = {"enabled_channels": before["enabled_channels"]}
    answer = bench.put(_CONFIG, json={"enabled_channels": ["caged-verify-none"]})
    if answer.status_code < 300:
        bench.undo("PUT", _CONFIG, "the channels", channels)
    refused(answer, 400)


@group.contract("read-routes", "read-all is a route of its own: it is no id.", "wire-contract 11")
def read_routes(bench: Context) -> None:
    # Called only where nothing is lost by it.
    if bench.needed(bench.get("/notifications/unread-count"), "the count").get("unread_count"):
        raise Unchecked("the account has unread notifications, which would be marked as read")
    status(bench.post("/notifications/read-all"), 204)
