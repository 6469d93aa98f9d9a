"""One sandbox: its state, what can be done with it, and a tab for each kind of its contents."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Optional

from ...platform.errors import ApiError
from ...platform.sandbox_states import TRANSITIONS
from ...trace.html import Html, element
from ..components import call_button, confirmed, cost, live, moment, python, status
from ..page import Page, PageRequest, Tab
from ..public_api import segment
from . import (
    sandbox_activity,
    sandbox_files,
    sandbox_logs,
    sandbox_ports,
    sandbox_sessions,
    sandbox_settings,
    sandbox_snapshots,
    sandbox_terminal,
)

#: The tabs of a sandbox's page. The first one is shown when the path names none.
TABS: tuple[Tab, ...] = (
    sandbox_activity.TAB,
    sandbox_terminal.TAB,
    sandbox_files.TAB,
    sandbox_logs.TAB,
    sandbox_sessions.TAB,
    sandbox_snapshots.TAB,
    sandbox_ports.TAB,
    sandbox_settings.TAB,
)


def _page(tab: Tab, path: str) -> Page:
    async def render(request: PageRequest) -> Sequence[Html]:
        sandbox = await _sandbox(request)
        return [_heading(request, sandbox), _links(request, tab), *await tab.render(request, sandbox)]

    return Page(path, "{id}", "Sandboxes", render)


async def _sandbox(request: PageRequest) -> Mapping[str, Any]:
    """The sandbox as the API answers it; the id and status of one that was destroyed, while the journal knows it."""
    id = request.parameters["id"]
    try:
        found: Mapping[str, Any] = await request.api.get(f"/v1/sandboxes/{segment(id)}")
        return found
    except ApiError as error:
        if error.status == 404 and await _is_in_journal(request, id):
            return {"id": id, "status": "destroyed"}
        raise


async def _is_in_journal(request: PageRequest, id: str) -> bool:
    if not re.fullmatch(r"\w+", id):
        return False  # the query would read it as a pattern
    try:
        return bool((await request.api.get("/_emulator/journal/steps", sandbox=id, last=1))["steps"])
    except ApiError:
        return False  # the account never had it


def _heading(request: PageRequest, sandbox: Mapping[str, Any]) -> Html:
    name = element("h1", sandbox["id"])
    if sandbox["status"] == "destroyed":
        note = element("p", "It is gone; the journal still has what it did.", class_="muted")
        return live("sandbox", name, status("destroyed"), note, class_="sandbox-top")
    return live(
        "sandbox",
        name,
        status(sandbox["status"]),
        element("span", sandbox["template"], class_="muted"),
        element("span", "created ", moment(sandbox["created_at"]), class_="muted"),
        cost(sandbox["total_cost"], sandbox.get("budget")),
        element("div", *_actions(request, sandbox), class_="actions"),
        _python(sandbox),
        class_="sandbox-top",
    )


def _actions(request: PageRequest, sandbox: Mapping[str, Any]) -> list[Optional[Html]]:
    """The buttons for what its state allows."""
    path, state, account = f"/v1/sandboxes/{segment(sandbox['id'])}", sandbox["status"], request.account
    destroy = call_button("Yes, destroy it", "DELETE", path, account, class_="danger", then=request.link(""))
    return [
        call_button("Pause", "POST", f"{path}/pause", account) if state in TRANSITIONS["pause"] else None,
        call_button("Resume", "POST", f"{path}/resume", account) if state in TRANSITIONS["resume"] else None,
        call_button("Snapshot", "POST", f"{path}/snapshots", account, {}, done="Snapshot {id} was requested.")
        if state in ("running", "paused")
        else None,
        confirmed("Destroy", "Its files will be lost.", destroy),
    ]


def _python(sandbox: Mapping[str, Any]) -> Html:
    id = sandbox["id"]
    calls = [f'caged.sandboxes.{name}("{id}")' for name in ("pause", "resume", "destroy")]
    return python([calls[0], calls[1], f'caged.snapshots.create("{id}")', calls[2]])


def _links(request: PageRequest, current: Tab) -> Html:
    id = request.parameters["id"]
    links = [
        element(
            "a",
            tab.title,
            href=request.link("sandboxes", id, tab.path),
            aria_current="page" if tab is current else None,
        )
        for tab in TABS
    ]
    return element("nav", *links, class_="page-tabs", aria_label="Sandbox")


PAGES: tuple[Page, ...] = (
    _page(TABS[0], "sandboxes/{id}"),
    *[_page(tab, f"sandboxes/{{id}}/{tab.path}") for tab in TABS],
)
