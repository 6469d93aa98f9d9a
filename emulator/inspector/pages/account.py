"""The account: its plan and usage, keys without their values, alerts with their rules, notifications."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Optional

from ...platform import limits
from ...trace.html import Child, Html, element
from ..components import call_button, empty, live, moment, python, table
from ..forms import Field, PythonCall, form
from ..page import Page, PageRequest
from ..public_api import segment

#: What the thresholds of rules mean.
_THRESHOLDS = {
    "threshold_percent": Field("config.threshold_percent", "number", "Of the sandbox's budget.", "percent", 0),
    "multiplier_threshold": Field(
        "config.multiplier_threshold", "number", "Of the average cost of earlier sessions.", "times", 0
    ),
    "idle_minutes": Field("config.idle_minutes", "integer", "Without anything that the agent did.", "minutes", 0),
    "error_count_threshold": Field("config.error_count_threshold", "integer", "Errors in the window.", "", 0),
    "window_minutes": Field("config.window_minutes", "integer", "In which errors are counted.", "minutes", 0),
    "score_threshold": Field("config.score_threshold", "integer", "A trust score below it.", "", 0, 100),
}
_SHAPES = {"critical": ("✕", "bad"), "warning": ("▲", "wait"), "info": ("●", "busy")}
Answer = Mapping[str, Any]


async def render(request: PageRequest) -> Sequence[Html]:
    alerts = await request.api.get("/v1/alerts", limit=100)
    rules = await request.api.get("/v1/alerts/rules")
    found = await request.api.get("/v1/notifications", limit=100)
    return [
        element(
            "div",
            element("h1", "Account"),
            await _plan(request),
            _alerts(request, alerts),
            element("h2", "Alert rules", class_="section-title"),
            element("div", *[_rule(one) for one in rules], class_="rules"),
            _notifications(request, found),
            await _keys(request),
            class_="content",
        ),
    ]


async def _plan(request: PageRequest) -> Html:
    """Plan, and usage against its limits."""
    account = await request.api.get("/v1/account")
    subscription = await request.api.get("/v1/billing/subscription")
    usage = await request.api.get("/v1/billing/usage")
    applies = (await request.api.get("/_emulator/status"))["tier"] is not None
    plan = limits.TIERS[account["tier"]] if applies else limits.UNLIMITED
    sandboxes = len(await request.api.get("/v1/sandboxes"))
    keys = len(await request.api.get("/v1/account/keys"))
    verb = "ends" if subscription["cancel_at_period_end"] else "renews"
    end = subscription.get("current_period_end")
    facts: list[tuple[str, Child]] = [
        ("Name", element("span", account["name"])),
        ("Id", element("code", account["id"])),
        ("Plan", f"{account['tier']}, {subscription['status']}"),
        (verb.capitalize(), element("time", end[:10], datetime=end, title=end)) if end else ("Renews", "never"),
        ("Sandboxes", _share(sandboxes, plan.sandboxes)),
        ("Keys", _share(keys, plan.keys)),
        ("Running time", f"{usage['compute_minutes']:,} minutes"),
        ("Requests", f"{plan.requests:,} a minute at most" if applies else "no limit"),
    ]
    note = "" if applies else "The emulator was started without a plan (--tier), so no limit applies."
    return live(
        "plan",
        element(
            "dl", *[element("div", element("dt", name), element("dd", text)) for name, text in facts], class_="plan"
        ),
        element("p", note, class_="muted") if note else None,
        python(["caged.account.get()", "caged.billing.get_subscription()", "caged.billing.get_usage()"]),
        class_="section",
    )


def _share(used: int, most: Optional[int]) -> Html:
    """How much of a limit is used."""
    if most is None:
        return element("span", f"{used:,}", class_="number")
    meter = element(
        "meter", min="0", max=f"{most}", high=f"{most * 0.8:g}", value=f"{used}", aria_label="Share of the limit"
    )
    return element("span", meter, f" {used:,} ", element("span", f"of {most:,}", class_="muted"), class_="cost")


def _head(title: str, count: int, *more: Child) -> Html:
    number = element("span", f" {count:,}", class_="muted number") if count else None
    return element("div", element("h2", title, number, class_="section-title"), *more, class_="section-head")


def _alerts(request: PageRequest, page: Answer) -> Html:
    rows = [
        (
            _severity(one["severity"]),
            element("div", element("strong", one["title"]), element("p", one["message"], class_="muted")),
            element("a", element("code", one["sandbox_id"]), href=request.link("sandboxes", one["sandbox_id"]))
            if one["sandbox_id"]
            else None,
            moment(one["created_at"]),
            element("span", "resolved ", moment(one["resolved_at"]), class_="muted")
            if one.get("resolved_at")
            else call_button(
                "Resolve", "POST", f"/v1/alerts/{segment(one['id'])}/resolve", request.account, class_="small"
            ),
        )
        for one in page["alerts"]
    ]
    columns = ("Severity", "Alert", "Sandbox", "Raised", "Action")
    nothing = empty("No alerts. One is raised when a rule below applies, for instance at 80 % of a sandbox's budget.")
    return live(
        "alerts",
        _head("Alerts", page["total"]),
        table(columns, rows, "Alerts") if rows else nothing,
        python(["caged.alerts.list()", 'caged.alerts.resolve("alert_…")']) if rows else None,
        class_="section",
    )


def _severity(word: str) -> Html:
    shape, name = _SHAPES.get(word, ("●", "busy"))
    return element("span", element("span", shape, aria_hidden="true"), f" {word}", class_=f"status {name}")


def _rule(rule: Answer) -> Html:
    """A rule, folded, with a form that changes it."""
    given = rule["config"]
    fields = [
        Field("enabled", "flag", "Whether it raises alerts.", value=str(rule["enabled"]).lower(), is_always_sent=True)
    ]
    for name, value in given.items():
        known = _THRESHOLDS[name]
        fields.append(
            Field(known.name, known.kind, known.help, known.unit, known.at_least, known.at_most, value=f"{value:g}")
        )
    words = ", ".join(f"{name} {value:g}" for name, value in given.items())
    state = element("span", f" {'' if rule['enabled'] else 'off; '}{words}", class_="muted")
    return element(
        "details",
        element("summary", live(f"state-{rule['id']}", element("strong", rule["type"]), state, class_="rule-state")),
        form(
            rule["id"],
            fields,
            "PUT",
            f"/v1/alerts/rules/{segment(rule['id'])}",
            [PythonCall("caged.alerts.update_rule", literal=rule["id"])],
            submit="Save",
            done="Saved the rule.",
            keeps_values=True,
        ),
        class_="rule",
    )


def _notifications(request: PageRequest, found: Answer) -> Html:
    rows = [
        (
            element("div", element("strong", one["title"]), element("p", one["message"], class_="muted")),
            one["channel"],
            moment(one["created_at"]),
            element("span", "read", class_="muted")
            if one["read"]
            else call_button(
                "Mark as read", "POST", f"/v1/notifications/{segment(one['id'])}/read", request.account, class_="small"
            ),
        )
        for one in found["notifications"]
    ]
    unread = found["unread_count"]
    all_read = call_button("Mark all as read", "POST", "/v1/notifications/read-all", request.account)
    head = (
        _head("Notifications", unread, element("span", "unread", class_="muted"), all_read)
        if unread
        else _head("Notifications", 0)
    )
    return live(
        "notifications",
        head,
        table(("Notification", "Channel", "Sent", "Action"), rows, "Notifications")
        if rows
        else empty("No notifications. An alert sends one to each channel that is on."),
        python(
            [
                "caged.notifications.list()",
                'caged.notifications.mark_read("notif_…")',
                "caged.notifications.mark_all_read()",
            ]
        )
        if rows
        else None,
        class_="section",
    )


async def _keys(request: PageRequest) -> Html:
    rows = [
        (
            element("span", one["name"]),
            element("code", one["id"]),
            one["scope"],
            moment(one["created_at"]),
            moment(one["last_used"]) if one["last_used"] else element("span", "never", class_="muted"),
        )
        for one in await request.api.get("/v1/account/keys")
    ]
    return live(
        "keys",
        _head("API keys", len(rows)),
        table(("Name", "Id", "Scope", "Created", "Last used"), rows, "API keys")
        if rows
        else empty("No keys are left: nothing can call the API for this account."),
        element("p", "The inspector does not show their values, and cannot make or revoke one.", class_="muted"),
        class_="section",
    )


PAGE = Page("account", "Account", "Account", render, is_section=True)
