"""The tab with a terminal in a sandbox."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...trace.html import Html, element
from ..components import live, python
from ..page import PageRequest, Tab
from .sandbox_states import unavailable


async def render(request: PageRequest, sandbox: Mapping[str, Any]) -> Sequence[Html]:
    nothing = unavailable(request, sandbox, "A terminal")
    if nothing is not None:
        return [live("terminal", nothing, class_="content")]
    id = sandbox["id"]
    lines = [
        f'terminal = await caged.sandboxes.terminal("{id}", rows=24, cols=80)  # caged: an AsyncCaged',
        'terminal.on_output(lambda text: print(text, end=""))',
        'await terminal.send("ls\\n")',
    ]
    shell = element("div", data_terminal=id, class_="terminal-view", role="group", aria_label=f"Terminal of {id}")
    return [live("terminal", shell, python(lines), class_="content terminal-tab")]


TAB = Tab("terminal", "Terminal", render)
