"""The tab of a sandbox's log, live."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...platform.errors import ApiError
from ...trace.html import Html, element, joined
from ...trace.text import plain
from ..components import empty, live, python
from ..page import PageRequest, Tab
from ..public_api import segment

#: The newest entries that are shown, as many as the API answers at most.
_ENTRIES = 1000
#: Types of entries that say that something is not as it should be.
_PROBLEMS = frozenset({"error", "warning"})


async def render(request: PageRequest, sandbox: Mapping[str, Any]) -> Sequence[Html]:
    id = sandbox["id"]
    try:
        entries = await request.api.get(f"/v1/sandboxes/{segment(id)}/logs", tail=_ENTRIES)
    except ApiError as error:
        return [live("logs", empty(f"There is no log any more: {error}."), class_="content")]
    lines = python([f'caged.sandboxes.logs("{id}", tail={_ENTRIES})'])
    if not entries:
        nothing = empty("The log is empty. Run a command:", f'caged.sandboxes.exec("{id}", "echo hello")')
        return [live("logs", nothing, class_="content", data_poll=True)]
    log = element(
        "div",
        joined([_entry(one) for one in entries]),
        class_="log",
        data_log=True,
        tabindex="0",
        role="region",
        aria_label="Log",
    )
    return [live("logs", log, lines, class_="content log-tab", data_poll=True)]


def _entry(entry: Mapping[str, Any]) -> Html:
    kind, time = entry["type"], entry["timestamp"]
    return element(
        "div",
        element("time", time[11:19], datetime=time, title=time),
        element("span", kind, class_="kind"),
        element("code", plain(entry["message"])),
        class_="entry problem" if kind in _PROBLEMS else "entry",
    )


TAB = Tab("logs", "Logs", render)
