"""Stubs: what answers in place of commands and programs, how often it did, and forms that add one."""

from __future__ import annotations

from collections.abc import Sequence

from ...control.stubs import Stub
from ...trace.html import Html, element
from ..control_parts import SANDBOXES, control_list, heading, known_sandboxes
from ..forms import PythonCall, fields_of, form
from ..page import Page, PageRequest

_PATH = "/_emulator/commands"
#: The fields in view; the others are folded.
_FIRST = ("match", "program", "args", "exit_code", "times", "output")
_FORMS = (
    ("stub", "Stub a command", PythonCall("emulator.commands.stub", ["match", "output"])),
    ("program", "Stub a program", PythonCall("emulator.commands.program", ["program", "output"])),
)


async def render(request: PageRequest) -> Sequence[Html]:
    lines = ["emulator.commands.list()", 'emulator.commands.remove("stub_…")', "emulator.commands.clear()"]
    return [
        heading(request, PAGE.path),
        element(
            "div",
            control_list(
                request,
                "stubs",
                await request.api.get(_PATH),
                _PATH,
                used="used",
                nothing="No stubs: every command really runs. Add one below, and it answers instead.",
                lines=lines,
            ),
            *[part for method, title, call in _FORMS for part in _form(method, title, call)],
            await known_sandboxes(request),
            class_="content",
        ),
    ]


def _form(method: str, title: str, call: PythonCall) -> list[Html]:
    made = form(
        f"add-{method}",
        fields_of(Stub, method, suggestions={"sandbox": SANDBOXES}),
        "POST",
        _PATH,
        [call],
        submit="Add the stub",
        done="Added {id}.",
        first=_FIRST,
        has_scope=True,
    )
    return [element("h2", title, class_="section-title"), made]


PAGE = Page("controls/stubs", "Stubs", "Controls", render)
