"""What the inspector's pages have in common: the document, the bar at the top, the navigation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..platform.inspector_logins import PATH
from ..trace.html import Child, Html, element
from .components import call_button, python
from .page import PageRequest

#: The steps that the clock can make by a button: the label, and the body of the call.
_CLOCK_STEPS: tuple[tuple[str, dict[str, int]], ...] = (
    ("1 second", {"seconds": 1}),
    ("1 minute", {"minutes": 1}),
    ("1 hour", {"hours": 1}),
    ("1 day", {"days": 1}),
)


def document(title: str, *body: Child, refresh: str = "", **attributes: object) -> str:
    """A complete HTML document.

    Args:
        title: Its title.
        body: The content of its body.
        refresh: The URL of the page that is shown instead, at once.
        attributes: Attributes of the body.
    """
    static = f"{PATH}/static"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", http_equiv="refresh", content=f"0; url={refresh}") if refresh else None,
        element("title", f"{title} · Caged emulator"),
        element("link", rel="icon", href="data:,"),
        element("link", rel="stylesheet", href=f"{static}/style.css"),
        element("link", rel="stylesheet", href=f"{static}/inspector.css"),
        element("link", rel="stylesheet", href=f"{static}/forms.css"),
        element("script", type="module", src=f"{static}/inspector.js"),
    )
    return f"<!doctype html>\n{element('html', head, element('body', *body, **attributes), lang='en')}\n"


def plain_page(title: str, lines: Sequence[str], code: str = "", refresh: str = "") -> str:
    """A page without navigation, for who is not logged in and for errors."""
    back = element("p", element("a", "All sandboxes", href=f"{PATH}/"))
    main = element(
        "main",
        element("p", "Caged emulator", class_="brand"),
        element("h1", title),
        *[element("p", line) for line in lines],
        element("pre", code, class_="code") if code else back,
        class_="alone",
    )
    return document(title, main, refresh=refresh)


def framed_page(
    request: PageRequest,
    title: str,
    navigation: Sequence[tuple[str, str, bool]],
    content: Sequence[Html],
    about: Mapping[str, Any],
) -> str:
    """A page with the bar at the top and the navigation.

    Args:
        request: The request.
        title: The title of the document.
        navigation: Name and path of each section, and whether it is the current one.
        content: What the page shows.
        about: What the bar shows: `accounts` (id and name of each), `clock` and `isolation`, as the API answers them,
            and the `revision` of the journal.
    """
    links = [
        element("a", name, href=request.link(path), aria_current="page" if is_current else None)
        for name, path, is_current in navigation
    ]
    bar = element(
        "header",
        element("p", "Caged emulator", class_="brand"),
        _accounts(request, about["accounts"]),
        _clock(request, about["clock"]),
        element("p", "isolation ", element("strong", str(about["isolation"])), class_="isolation muted"),
        element("p", "◌ connecting", id="connection", role="status", class_="muted"),
        class_="bar-top",
    )
    return document(
        title,
        element("a", "Skip to the content", class_="skip", href="#content"),
        bar,
        element(
            "div",
            element(
                "div",
                element("nav", *links, aria_label="Sections"),
                element("div", id="tools"),
                class_="side",
            ),
            element(
                "main",
                element("p", id="message", role="status", hidden=True),
                *content,
                id="content",
                tabindex="-1",
            ),
            class_="frame",
        ),
        data_account=request.account,
        data_revision=about["revision"],
    )


def _accounts(request: PageRequest, accounts: Sequence[Mapping[str, Any]]) -> Html:
    options = [
        element(
            "option",
            f"{one['name']} ({one['id']})" if one["name"] else one["id"],
            value=one["id"],
            selected=one["id"] == request.account,
        )
        for one in accounts
    ]
    return element(
        "form",
        element("label", "Account", for_="account"),
        element("select", *options, id="account", name="account"),
        element("noscript", element("button", "Show")),
        method="get",
        action=f"{PATH}/",
    )


def _clock(request: PageRequest, clock: Mapping[str, Any]) -> Html:
    account, frozen = request.account, bool(clock["frozen"])
    steps = [
        call_button(label, "POST", "/_emulator/clock/advance", account, body, class_="quiet")
        for label, body in _CLOCK_STEPS
    ]
    switch = (
        call_button("Unfreeze", "POST", "/_emulator/clock/unfreeze", account)
        if frozen
        else call_button("Freeze", "POST", "/_emulator/clock/freeze", account, {})
    )
    now = str(clock["now"])
    return element(
        "div",
        element("span", "Clock", class_="muted"),
        element("time", now[:19].replace("T", " "), datetime=now, title=f"{now}, the account's time"),
        element("span", element("span", "❄", aria_hidden="true"), " frozen", class_="status busy") if frozen else None,
        switch,
        element(
            "details",
            element("summary", "Step", class_="button"),
            element(
                "div",
                element("p", "Move the clock on by", class_="muted"),
                *steps,
                python(["emulator.clock.advance(minutes=1)"]),
                class_="menu",
            ),
            class_="drop",
        ),
        id="clock",
        data_live=True,
        data_now=clock["epoch"],
        data_frozen=frozen,
        class_="clock",
        role="group",
        aria_label="Clock",
    )
