"""The clock of the account, and what its sandboxes cost: both can be moved on by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...control.clock import Advance, Tick
from ...trace.html import Html, element
from ..components import call_button, cost, empty, live, moment, python, status, table
from ..control_parts import SANDBOXES, heading, known_sandboxes
from ..forms import Field, PythonCall, fields_of, form
from ..page import Page, PageRequest

_AT = Field("at", "text", "A time in RFC 3339, such as `2030-01-01T00:00:00Z`; the present time by default.")
_USD = Field("usd", "number", "What is added to its cost, as an agent's work does.", unit="USD", at_least=0)


async def render(request: PageRequest) -> Sequence[Html]:
    clock = await request.api.get("/_emulator/clock")
    sandboxes = list(reversed(await request.api.get("/v1/sandboxes")))
    return [
        heading(request, PAGE.path),
        element(
            "div",
            _state(request, clock),
            _form("freeze", "Set and freeze", [_AT], "Set the clock"),
            _form("advance", "Advance", fields_of(Advance), "Advance the clock"),
            _form("tick", "Tick", fields_of(Tick), "Tick"),
            _costs(request, sandboxes),
            element("h2", "Spend", class_="section-title"),
            _spend(sandboxes[0]["id"] if len(sandboxes) == 1 else ""),
            await known_sandboxes(request),
            class_="content",
        ),
    ]


def _state(request: PageRequest, clock: Mapping[str, Any]) -> Html:
    frozen = bool(clock["frozen"])
    unfreeze = call_button("Unfreeze", "POST", "/_emulator/clock/unfreeze", request.account)
    reset = call_button(
        "Reset", "DELETE", "/_emulator/clock", request.account, done="The clock shows the emulator's time."
    )
    return live(
        "clock-state",
        element(
            "div",
            element("h2", "Clock", class_="section-title"),
            element("code", clock["now"], class_="now"),
            element("span", "frozen" if frozen else "running", class_=f"status {'busy' if frozen else 'good'}"),
            unfreeze if frozen else None,
            reset,
            class_="section-head",
        ),
        element(
            "p",
            "What becomes due on the way happens: idle sandboxes pause, budgets run out, alerts are raised.",
            class_="muted",
        ),
        python(["emulator.clock.now()", "emulator.clock.unfreeze()", "emulator.clock.reset()"]),
        class_="section",
    )


def _form(name: str, title: str, fields: Sequence[Field], submit: str) -> Html:
    made = form(
        f"clock-{name}",
        fields,
        "POST",
        f"/_emulator/clock/{name}",
        [PythonCall(f"emulator.clock.{name}", ["at"] if name == "freeze" else [])],
        submit=submit,
        has_scope=True,
    )
    return element("div", element("h3", title, class_="form-title"), made, class_="section")


def _costs(request: PageRequest, sandboxes: Sequence[Mapping[str, Any]]) -> Html:
    rows = [
        (
            element("a", element("code", one["id"]), href=request.link("sandboxes", one["id"])),
            status(one["status"]),
            moment(one["created_at"]),
            cost(one["total_cost"], one.get("budget")),
        )
        for one in sandboxes
    ]
    content = (
        table(("Sandbox", "Status", "Created", "Cost"), rows, "Cost of sandboxes")
        if rows
        else empty("No sandboxes. Money is spent in a sandbox; create one first.")
    )
    return live("costs", element("h2", "Money", class_="section-title"), content, class_="section")


def _spend(sandbox: str) -> Html:
    where = Field("sandbox", "text", "Its id.", value=sandbox, suggestions=SANDBOXES)
    return form(
        "spend",
        [where, _USD],
        "POST",
        "/_emulator/sandboxes/{sandbox}/spend",
        [PythonCall("emulator.spend", ["sandbox", "usd"])],
        submit="Spend",
        done="Spent.",
    )


PAGE = Page("controls/clock", "Clock and money", "Controls", render)
