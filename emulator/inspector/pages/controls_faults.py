"""Faults: what is injected into requests, how often it was, and a form that adds one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from ...control.faults import Fault
from ...control.operations import OperationName
from ...trace.html import Html, element
from ..control_parts import SANDBOXES, control_list, heading, known_sandboxes
from ..forms import PythonCall, fields_of, form, suggestions
from ..page import Page, PageRequest

_OPERATIONS = "known-operations"
#: The fields in view; the others are folded.
_FIRST = ("operation", "status", "detail", "times", "delay", "drop")


async def render(request: PageRequest) -> Sequence[Html]:
    found = await request.api.get("/_emulator/faults")
    fields = fields_of(Fault, suggestions={"operation": _OPERATIONS, "sandbox": SANDBOXES})
    lines = ["emulator.faults.list()", 'emulator.faults.remove("fault_…")', "emulator.faults.clear()"]
    return [
        heading(request, PAGE.path),
        element(
            "div",
            control_list(
                request,
                "faults",
                found,
                "/_emulator/faults",
                used="triggered",
                nothing="No faults. Add one below, and the requests that match it fail.",
                lines=lines,
            ),
            element("h2", "Add a fault", class_="section-title"),
            form(
                "fault",
                fields,
                "POST",
                "/_emulator/faults",
                [PythonCall("emulator.faults.add", ["operation"])],
                submit="Add the fault",
                done="Added {id}.",
                first=_FIRST,
                has_scope=True,
            ),
            suggestions(_OPERATIONS, get_args(get_args(OperationName)[0])),
            await known_sandboxes(request),
            class_="content",
        ),
    ]


PAGE = Page("controls", "Controls", "Controls", render, is_section=True)
