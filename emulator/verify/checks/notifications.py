"""Notifications and their channels. A webhook is set only if the account has none, and removed again."""

from __future__ import annotations

from typing import Any

from ..assertions import assert_equal, assert_error, assert_status, assert_true, read_object
from ..check import Group
from ..context import Context
from ..errors import SkipCheck
from ..shapes import NOTIFICATION_CONFIG, NOTIFICATIONS

group = Group("notifications")

_CONFIG = "/notifications/config"
_HOOK = "https://discord.com/api/webhooks/0/caged-verify-wxyz"
_CLEAR = "__clear__"


@group.contract("list", "The list has notifications and unread_count.", "wire-contract 3.9")
def list_notifications(context: Context) -> None:
    read_object(context.get("/notifications"), NOTIFICATIONS)


@group.contract("list-limit", "`limit` is the largest number of notifications in a list.", "wire-contract 3.9")
def list_limit(context: Context) -> None:
    found = read_object(context.get("/notifications", params={"limit": 1}), NOTIFICATIONS)["notifications"] or ()
    assert_true(len(found) <= 1, "one notification at most", len(found))


@group.contract("unread", "unread=true selects the unread notifications.", "wire-contract 3.9")
def unread(context: Context) -> None:
    found = read_object(context.get("/notifications", params={"unread": "true"}), NOTIFICATIONS)
    items = found["notifications"] or ()
    assert_true(not any(item["read"] for item in items), "only unread ones", "one that is read")
    assert_true(
        bool(items) == bool(found["unread_count"]), f"as many as unread_count {found['unread_count']}", len(items)
    )


@group.contract(
    "unread-count", "unread-count has a route of its own, with the same number as the list.", "wire-contract 3.9"
)
def unread_count(context: Context) -> None:
    found = read_object(context.get("/notifications/unread-count"), {"unread_count": int})
    assert_equal("unread_count", found["unread_count"], context.get("/notifications").json().get("unread_count"))


@group.contract("config", "The settings have the keys of all channels.", "wire-contract 3.9")
def config(context: Context) -> None:
    read_object(context.get(_CONFIG), NOTIFICATION_CONFIG)


@group.contract("config-empty", "An empty update changes nothing and returns the settings.", "wire-contract 3.9")
def config_empty(context: Context) -> None:
    before = context.require_json(context.get(_CONFIG), "the settings")
    assert_equal("the settings", read_object(context.put(_CONFIG, json={}), NOTIFICATION_CONFIG), before)


def _set_webhook(context: Context) -> dict[str, Any]:
    """Set a webhook, update the settings without it, and remove it. Done once.

    Returns:
        The answers to setting it (`set`), to getting the settings (`get`), to the update without it (`kept`) and to its
        removal (`cleared`).
    """

    def make() -> dict[str, Any]:
        before = context.require_json(context.get(_CONFIG), "the settings")
        if not isinstance(before, dict) or before.get("discord_webhook_configured") is not False:
            raise SkipCheck("the account has a Discord webhook of its own, which could not be restored")
        context.add_cleanup("PUT", _CONFIG, "the Discord webhook", {"discord_webhook_url": _CLEAR})
        return {
            "set": context.put(_CONFIG, json={"discord_webhook_url": _HOOK}),
            "get": context.get(_CONFIG),
            "kept": context.put(_CONFIG, json={"email_address": before.get("email_address", "")}),
            "cleared": context.put(_CONFIG, json={"discord_webhook_url": _CLEAR}),
        }

    return context.shared("a webhook", make)


@group.contract("webhook-set", "A webhook that was set is reported as configured.", "wire-contract 3.9")
def webhook_set(context: Context) -> None:
    assert_equal("configured", read_object(_set_webhook(context)["set"]).get("discord_webhook_configured"), True)


@group.contract(
    "webhook-hidden", "A webhook is not returned, except for its last four characters.", "wire-contract 3.9"
)
def webhook_hidden(context: Context) -> None:
    for answer in (_set_webhook(context)["set"], _set_webhook(context)["get"]):
        hint = read_object(answer).get("discord_webhook_hint")
        assert_true("caged-verify-wxyz" not in answer.text, "no credential", "the webhook itself")
        assert_true(isinstance(hint, str) and hint.endswith("wxyz"), "a hint that ends with wxyz", repr(hint))


@group.contract(
    "webhook-hint", "The hint of a webhook is three dots and its last four characters.", "wire-contract 3.9"
)
def webhook_hint(context: Context) -> None:
    assert_equal("hint", read_object(_set_webhook(context)["get"]).get("discord_webhook_hint"), "...wxyz")


@group.contract("webhook-kept", "An update without the webhook keeps it.", "wire-contract 3.9")
def webhook_kept(context: Context) -> None:
    assert_equal("configured", read_object(_set_webhook(context)["kept"]).get("discord_webhook_configured"), True)


@group.contract("webhook-cleared", "__clear__ removes the webhook and its hint.", "wire-contract 3.9")
def webhook_cleared(context: Context) -> None:
    found = read_object(_set_webhook(context)["cleared"])
    got = [found.get("discord_webhook_configured"), found.get("discord_webhook_hint")]
    assert_equal("configured, hint", got, [False, None])


@group.decision("unknown-channel", "An unknown channel returns 400.", "Part A, Errors")
def unknown_channel(context: Context) -> None:
    before = context.require_json(context.get(_CONFIG), "the settings")
    channels = {"enabled_channels": before["enabled_channels"]}
    answer = context.put(_CONFIG, json={"enabled_channels": ["caged-verify-none"]})
    if answer.status_code < 300:
        context.add_cleanup("PUT", _CONFIG, "the channels", channels)
    assert_error(answer, 400)


@group.contract("read-routes", "read-all is a route of its own and not an id.", "wire-contract 11")
def read_routes(context: Context) -> None:
    # Called only if there is nothing to mark as read.
    if context.require_json(context.get("/notifications/unread-count"), "the count").get("unread_count"):
        raise SkipCheck("the account has unread notifications, which would be marked as read")
    assert_status(context.post("/notifications/read-all"), 204)
