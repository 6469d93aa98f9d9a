"""The parts that pages are made of: statuses, times, amounts, buttons, tables, steps."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Optional
from urllib.parse import urlencode

from ..trace.html import Child, Html, element, joined
from ..trace.text import money

#: The shape that goes with the word of a status, and the class of its colour.
_STATUSES = {
    "running": ("●", "good"),
    "completed": ("●", "good"),
    "paused": ("◐", "wait"),
    "pending": ("◌", "busy"),
    "creating": ("◌", "busy"),
    "stopped": ("○", "off"),
    "destroyed": ("○", "off"),
    "error": ("✕", "bad"),
    "failed": ("✕", "bad"),
}


def status(word: str) -> Html:
    """A status, by shape, word and colour."""
    shape, name = _STATUSES.get(word, ("◌", "busy"))
    return element("span", element("span", shape, aria_hidden="true"), f" {word}", class_=f"status {name}")


def moment(text: Optional[str]) -> Html:
    """A time, RFC 3339. The script shows how long ago it was by the account's clock, with the time itself as title."""
    return element("time", text, datetime=text, title=text, data_ago=True) if text else Html("")


def cost(spent: float, budget: Optional[float]) -> Html:
    """What was spent, in dollars, and of what budget, as a bar."""
    if not budget:
        return element("span", money(spent), class_="number")
    meter = element(
        "meter",
        min="0",
        max=f"{budget:g}",
        high=f"{budget * 0.8:g}",
        value=f"{spent:g}",
        aria_label="Share of the budget",
    )
    return element(
        "span", meter, f" {money(spent)} ", element("span", f"of {money(budget)}", class_="muted"), class_="cost"
    )


def call_button(
    label: str,
    method: str,
    path: str,
    account: str,
    body: Optional[Mapping[str, Any]] = None,
    *,
    done: str = "",
    then: Optional[str] = None,
    class_: Optional[str] = None,
) -> Html:
    """A button that makes a call of the API. Then the live parts of the page are shown again.

    Args:
        label: Its text.
        method: The method of the call.
        path: The path of the call, encoded.
        account: The account that the call is for.
        body: The body of the call, as JSON values.
        done: What the page says then; `{id}` is the id in the answer.
        then: The URL of a page that is shown instead.
        class_: A class for the stylesheet.
    """
    if path.startswith("/_emulator/"):
        path = f"{path}?{urlencode({'account': account})}"
    return element(
        "button",
        label,
        type="button",
        class_=class_,
        data_method=method,
        data_call=path,
        data_body=None if body is None else json.dumps(body),
        data_done=done or None,
        data_then=then,
    )


def confirmed(label: str, question: str, button: Html) -> Html:
    """A button that asks in place before another one can be pressed. Escape, or a second press, takes it back."""
    return element(
        "details",
        element("summary", label, class_="button"),
        element("span", element("span", question), button, class_="question"),
        class_="confirm",
    )


def python(lines: Sequence[str], summary: str = "The same in Python") -> Html:
    """The lines of Python that do what the page offers, folded."""
    return element("details", element("summary", summary), code("\n".join(lines)), class_="python")


def code(text: str) -> Html:
    """Lines to copy, with a button that does."""
    return element(
        "div",
        element("pre", text, class_="code", tabindex="0"),
        element("button", "Copy", type="button", data_copy=True),
        class_="copyable",
    )


def table(columns: Sequence[str], rows: Sequence[Sequence[Child]], label: str) -> Html:
    """A table.

    Args:
        columns: The names of the columns.
        rows: The cells of each row.
        label: The name of the table, for a screen reader.
    """
    head = element("tr", *[element("th", name, scope="col") for name in columns])
    body = [element("tr", *[element("td", cell) for cell in row]) for row in rows]
    return element(
        "div",
        element("table", element("thead", head), element("tbody", joined(body))),
        class_="table",
        tabindex="0",
        role="region",
        aria_label=label,
    )


def empty(text: str, lines: str = "", hint: Optional[Html] = None) -> Html:
    """What a page says that has nothing to show yet: what to do next.

    Args:
        text: What is missing.
        lines: Code that makes it.
        hint: What else to know.
    """
    return element(
        "div",
        element("p", text, class_="lead"),
        code(lines) if lines else None,
        element("p", hint, class_="muted") if hint is not None else None,
        class_="nothing",
    )


def live(name: str, *children: Child, **attributes: object) -> Html:
    """A part of a page that the script shows again when something has happened in the account.

    Args:
        name: Its id in the document.
        children: Its content.
        attributes: More attributes, as of `element`.
    """
    return element("div", *children, id=name, data_live=True, **attributes)


def steps_view(sandbox: str = "") -> Html:
    """The list of steps with their details, live.

    Args:
        sandbox: The sandbox whose steps are shown; empty for those of the account.
    """
    return element("div", class_="steps-view", data_steps=True, data_sandbox=sandbox or None)
