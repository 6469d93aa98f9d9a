"""What the pages of controls have in common: tabs, and the list of what is set up."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..control.current_account import ALL_ACCOUNTS
from ..trace.html import Child, Html, element, joined
from ..trace.text import counted
from ..truncation import truncate
from .components import call_button, confirmed, empty, live, python, table
from .forms import suggestions
from .page import PageRequest
from .public_api import segment

#: The tabs: path and title.
TABS = (
    ("controls", "Faults"),
    ("controls/stubs", "Stubs"),
    ("controls/replies", "Replies"),
    ("controls/clock", "Clock and money"),
)
#: The ids of suggestions.
SANDBOXES = "known-sandboxes"
#: Characters of one option's value.
_VALUE_CHARACTERS = 200


@dataclass(frozen=True)
class ControlKind:
    """Controls of one kind.

    Attributes:
        name: What they are called, in the plural.
        path: The path of their list; what is behind `/_emulator/` is also their name in Python.
        prefix: Of their ids.
        used: The key that says how often one applied.
        nothing: What is said where there are none.
        one_path: The path of one, without its id, where that is another one than that of the list.
    """

    name: str
    path: str
    prefix: str
    used: str
    nothing: str
    one_path: str = ""

    @property
    def lines(self) -> list[str]:
        """Python that lists and removes them."""
        group = f"emulator.{self.path.rpartition('/')[2]}"
        return [f"{group}.list()", f'{group}.remove("{self.prefix}_…")', f"{group}.clear()"]


def heading(request: PageRequest, current: str) -> Html:
    """The heading of a page of controls, with the tabs.

    Args:
        request: The request.
        current: The path of the page.
    """
    links = [
        element("a", title, href=request.link(*path.split("/")), aria_current="page" if path == current else None)
        for path, title in TABS
    ]
    return element(
        "div",
        element("h1", "Controls", class_="page-title"),
        element("nav", *links, class_="page-tabs", aria_label="Controls"),
        class_="page-top",
    )


async def known_sandboxes(request: PageRequest) -> Html:
    """The sandboxes, newest first, as suggestions for a field."""
    found = await request.api.get("/v1/sandboxes")
    return live("choices", suggestions(SANDBOXES, [one["id"] for one in reversed(found)]))


def control_list(request: PageRequest, kind: ControlKind, controls: Sequence[Mapping[str, Any]]) -> Html:
    """The controls of one kind that apply to the account, with how often each applied, live.

    Args:
        request: The request.
        kind: What they are.
        controls: They, as the API answers them.
    """
    name, one_path = kind.name, kind.one_path or kind.path
    rows = [
        (
            element("code", one["id"], class_="id"),
            _options(one),
            element("span", "all accounts" if one["account"] == ALL_ACCOUNTS else "this account", class_="whole"),
            _used(one, kind.used),
            call_button("Remove", "DELETE", f"{one_path}/{segment(one['id'])}", _named(request, one), class_="small"),
        )
        for one in controls
    ]
    title = element(
        "h2",
        name.capitalize(),
        element("span", f" {len(rows):,}", class_="muted number") if rows else None,
        class_="section-title",
    )
    if not rows:
        return live("controls", title, empty(kind.nothing), class_="section")
    columns = ("Id", "Options", "For", kind.used.capitalize(), "Action")
    return live(
        "controls",
        element("div", title, *_clear(request, name, controls, kind.path), class_="section-head"),
        table(columns, rows, name.capitalize()),
        python(kind.lines),
        class_="section",
    )


def _named(request: PageRequest, control: Mapping[str, Any]) -> str:
    """The account that a call about a control names."""
    return ALL_ACCOUNTS if control["account"] == ALL_ACCOUNTS else request.account


def _clear(request: PageRequest, name: str, controls: Sequence[Mapping[str, Any]], path: str) -> list[Html]:
    """A button for those of the account, where there are any. Those of all accounts are removed one by one: clearing
    all accounts would remove also what other accounts have, which the page does not show."""
    count = sum(_named(request, one) == request.account for one in controls)
    if not count:
        return []
    button = call_button("Yes, clear", "DELETE", path, request.account, class_="danger", done=f"Cleared the {name}.")
    return [confirmed("Clear", f"Removes {name} of this account: {count:,}.", button)]


def _options(control: Mapping[str, Any]) -> Html:
    """The options that were given, as Python has them."""
    first = [element("code", control["agent"], class_="option")] if "agent" in control else []
    given = [
        element("code", element("span", f"{name}=", class_="muted"), _shown(value), class_="option")
        for name, value in control["options"].items()
    ]
    also = [element("span", "optional", class_="muted")] if control["optional"] else []
    if not given and not first:
        given = [element("code", control["described"], class_="option")]
    return element("span", joined([*first, *given, *also]), class_="options")


def _shown(value: Any) -> str:
    if isinstance(value, dict) and set(value) == {"regex"}:
        return truncate(f"re.compile({json.dumps(value['regex'])})", _VALUE_CHARACTERS)
    if isinstance(value, bool):
        return str(value)
    return truncate(json.dumps(value, ensure_ascii=False), _VALUE_CHARACTERS)


def _used(control: Mapping[str, Any], key: str) -> Child:
    """How often it applied."""
    count, times = control[key], control["options"].get("times")
    if not count:
        seen = control.get("seen")
        return element(
            "span", f"not yet; {counted(seen, 'request')} matched" if seen else "not yet", class_="muted whole"
        )
    text = counted(count, "time")
    if times is not None and count >= times:
        return element("span", element("strong", text), element("span", ", used up", class_="muted"), class_="whole")
    return element("strong", text, class_="whole")
