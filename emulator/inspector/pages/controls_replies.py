"""Replies of agents: what was scripted, how often it was given, and a form that adds one."""

from __future__ import annotations

from collections.abc import Sequence

from ...trace.html import Html, element
from ..control_parts import control_list, heading
from ..page import Page, PageRequest
from ..reply_form import reply_form

_PATH = "/_emulator/agents"


async def render(request: PageRequest) -> Sequence[Html]:
    lines = ["emulator.agents.list()", 'emulator.agents.remove("reply_…")', "emulator.agents.clear()"]
    return [
        heading(request, PAGE.path),
        element(
            "div",
            control_list(
                request,
                "replies",
                await request.api.get(_PATH),
                _PATH,
                used="used",
                nothing="No replies: agents say that they are emulated. Add one below, and an agent gives it.",
                lines=lines,
                one_path=f"{_PATH}/*/replies",
            ),
            element("h2", "Script a reply", class_="section-title"),
            reply_form(),
            class_="content",
        ),
    ]


PAGE = Page("controls/replies", "Replies", "Controls", render)
