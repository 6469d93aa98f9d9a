"""What the inspector's pages have in common: the document, the bar at the top, tables, times, amounts, buttons."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional
from urllib.parse import quote, urlencode

from ..platform.inspector_logins import PATH
from ..trace.html import Child, Html, element, joined
from ..trace.text import money

#: The shape that goes with the word of a status, and the class of its colour.
STATUSES = {
    "running": ("●", "good"),
    "completed": ("●", "good"),
    "paused": ("◐", "wait"),
    "pending": ("◌", "busy"),
    "creating": ("◌", "busy"),
    "stopped": ("○", "off"),
    "error": ("✕", "bad"),
    "failed": ("✕", "bad"),
}
SECTIONS = (("Sandboxes", ""), ("Journal", "journal"))


@dataclass(frozen=True)
class View:
    """What a page is rendered for.

    Attributes:
        account: The id of the account that is shown.
        accounts: The ids and names of all accounts.
        isolation: The isolation level.
        now: The account's time, RFC 3339.
        frozen: Whether that time stands still.
        base_url: The emulator's URL.
    """

    account: str
    accounts: Sequence[tuple[str, str]]
    isolation: str
    now: str
    frozen: bool
    base_url: str

    def link(self, *parts: str, **query: str) -> str:
        """The URL of a page of this account."""
        path = "/".join(quote(part, safe="") for part in parts)
        return f"{PATH}/{path}?{urlencode({'account': self.account, **query})}"


def document(title: str, *body: Child, **attributes: object) -> str:
    """A complete HTML document."""
    static = f"{PATH}/static"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", f"{title} - Caged emulator"),
        element("link", rel="icon", href="data:,"),
        element("link", rel="stylesheet", href=f"{static}/style.css"),
        element("link", rel="stylesheet", href=f"{static}/inspector.css"),
        element("script", type="module", src=f"{static}/inspector.js"),
    )
    return f"<!doctype html>\n{element('html', head, element('body', *body, **attributes), lang='en')}\n"


def plain_page(title: str, lines: Sequence[str], code: str = "") -> str:
    """A page without the bar, for who is not logged in and for errors."""
    return document(
        title,
        element(
            "main",
            element("h1", title),
            *[element("p", line) for line in lines],
            element("pre", code, class_="code") if code else None,
            element("p", element("a", "Sandboxes", href=f"{PATH}/")) if not code else None,
            class_="alone",
        ),
    )


def page(view: View, section: str, title: str, *content: Child) -> str:
    """A page with the bar at the top."""
    links = [
        element(
            "a", name, href=view.link(*([path] if path else [""])), aria_current="page" if name == section else None
        )
        for name, path in SECTIONS
    ]
    return document(
        title,
        element("a", "Skip to the content", class_="skip", href="#content"),
        element(
            "header",
            element("p", "Caged emulator", class_="brand"),
            element("nav", *links, aria_label="Sections"),
            _accounts(view),
            _clock(view),
            element("p", f"isolation: {view.isolation}", class_="muted"),
            element("span", id="theme"),
            class_="bar-top",
        ),
        element("p", id="message", role="alert", class_="problem", hidden=True),
        element("main", *content, id="content", tabindex="-1"),
        data_account=view.account,
    )


def _accounts(view: View) -> Html:
    options = [
        element("option", f"{name} ({id})" if name else id, value=id, selected=id == view.account)
        for id, name in view.accounts
    ]
    return element(
        "form",
        element("label", "Account", for_="account"),
        element("select", *options, id="account", name="account"),
        element("noscript", element("button", "Show")),
        method="get",
        action=f"{PATH}/",
    )


def _clock(view: View) -> Html:
    state = "frozen" if view.frozen else "running"
    other = (
        call_button("Unfreeze", "POST", "/_emulator/clock/unfreeze", view.account)
        if view.frozen
        else (call_button("Freeze", "POST", "/_emulator/clock/freeze", view.account, {}))
    )
    return element(
        "div",
        element("span", "Clock ", class_="muted"),
        element("time", view.now[:19].replace("T", " "), datetime=view.now, title=f"{view.now}, {state}"),
        element("span", "❄ frozen", class_="status wait") if view.frozen else None,
        call_button("+1 min", "POST", "/_emulator/clock/advance", view.account, {"minutes": 1}),
        other,
        class_="clock",
        role="group",
        aria_label="Clock",
    )


def status(word: str) -> Html:
    """A status, by shape, word and colour."""
    shape, name = STATUSES.get(word, ("◌", "busy"))
    return element("span", element("span", shape, aria_hidden="true"), f" {word}", class_=f"status {name}")


def moment(text: Optional[str], now: str = "") -> Html:
    """A time; the script shows how long ago it was by the account's clock."""
    return element("time", text, datetime=text, title=text, data_ago=now or True) if text else Html("")


def cost(spent: float, budget: Optional[float]) -> Html:
    """What was spent, and of what budget, as a bar."""
    if not budget:
        return element("span", money(spent), class_="number")
    return element(
        "span",
        element("meter", min="0", max=f"{budget:g}", high=f"{budget * 0.8:g}", value=f"{spent:g}", aria_label="Budget"),
        f" {money(spent)} of {money(budget)}",
        class_="number",
    )


def call_button(
    label: str,
    method: str,
    path: str,
    account: str,
    body: Optional[Mapping[str, Any]] = None,
    then: Optional[str] = None,
) -> Html:
    """A button that makes a call of the API, and then shows the page again or another one.

    Args:
        then: The URL of the page that is shown then.
    """
    if path.startswith("/_emulator/"):
        path = f"{path}?{urlencode({'account': account})}"
    return element(
        "button",
        label,
        type="button",
        data_method=method,
        data_call=path,
        data_body=None if body is None else json.dumps(body),
        data_then=then,
    )


def confirmed(label: str, question: str, button: Html) -> Html:
    """A button that asks in place before another one can be pressed."""
    return element(
        "details",
        element("summary", label, class_="button"),
        element("span", question, " ", button, class_="question"),
        class_="confirm",
    )


def table(columns: Sequence[str], rows: Sequence[Sequence[Child]], label: str) -> Html:
    """A table."""
    head = element("tr", *[element("th", name, scope="col") for name in columns])
    body = [element("tr", *[element("td", cell) for cell in row]) for row in rows]
    return element(
        "div",
        element("table", element("thead", head), element("tbody", joined(body)), aria_label=label),
        class_="table",
        tabindex="0",
        role="region",
        aria_label=label,
    )


def empty(text: str, code: str = "") -> Html:
    """What a page says that has nothing to show yet, with what to do next."""
    return element(
        "div",
        element("p", text),
        element("pre", code, class_="code", tabindex="0") if code else None,
        class_="nothing",
    )
