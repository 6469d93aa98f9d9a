"""All sandboxes of the account."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...trace.html import Html, element, escaped, joined
from ...trace.text import one_line, plain
from ...truncation import truncate
from ..components import cost, empty, live, moment, status, table
from ..page import Page, PageRequest
from ..ports import preview_link
from ..public_api import segment

_COLUMNS = ("Sandbox", "Status", "Template", "Created", "Cost", "Ports", "Last command")
#: The newest commands, among which the last one of each sandbox is looked for.
_COMMANDS = 200
#: Characters of a command.
_COMMAND_CHARACTERS = 300


async def render(request: PageRequest) -> Sequence[Html]:
    found = await request.api.get("/v1/sandboxes")
    commands = await request.api.get("/_emulator/journal/commands", last=_COMMANDS)
    last = {one["sandbox"]: truncate(one_line(plain(one["command"])), _COMMAND_CHARACTERS) for one in commands}
    rows = [
        (
            element("a", element("code", one["id"]), href=request.link("sandboxes", one["id"])),
            status(one["status"]),
            one["template"],
            moment(one["created_at"]),
            cost(one["total_cost"], one.get("budget")),
            await _ports(request, one),
            element("code", last[one["id"]], class_="last", title=last[one["id"]]) if one["id"] in last else None,
        )
        for one in reversed(found)
    ]
    content = table(_COLUMNS, rows, "Sandboxes") if rows else _nothing(request)
    heading = element("h1", "Sandboxes ", element("span", f"{len(rows):,}", class_="muted number") if rows else None)
    return [
        element(
            "div",
            element("div", data_filter="sandboxes", class_="table-filter", hidden=True),
            live("sandboxes", heading, content, class_="content"),
            class_="filtered",
        )
    ]


async def _ports(request: PageRequest, sandbox: Mapping[str, Any]) -> Html:
    """Links to the previews of the ports on which the sandbox listens."""
    if sandbox["status"] != "running":
        return Html("")
    found = await request.api.get(f"/v1/sandboxes/{segment(sandbox['id'])}/ports")
    return joined([preview_link(request, sandbox["id"], one["port"], str(one["port"])) for one in found])


def _nothing(request: PageRequest) -> Html:
    lines = (
        "from caged import Caged\n"
        f'caged = Caged(base_url="{request.base_url}", api_key="...")\n'
        'print(caged.sandboxes.exec(caged.sandboxes.create().id, "echo hello").output)'
    )
    return empty(
        "No sandboxes yet. Create one, and it appears here:",
        lines,
        joined(
            [
                element("code", "caged-emulator env"),
                escaped(" prints the API key, and the URL, as environment variables that "),
                element("code", "Caged()"),
                escaped(" reads by itself."),
            ]
        ),
    )


PAGE = Page("", "Sandboxes", "Sandboxes", render, is_section=True)
