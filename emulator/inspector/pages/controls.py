"""What is set up: faults, stubs, replies of agents, the clock and money. One page for each, with tabs between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Callable, get_args

from ...control.faults import Fault
from ...control.operations import OperationName
from ...control.stubs import Stub
from ...trace.html import Html, element
from ..control_parts import SANDBOXES, ControlKind, control_list, heading, known_sandboxes
from ..forms import PythonCall, fields_of, form, suggestions
from ..page import Page, PageRequest
from ..reply_form import reply_form
from . import controls_clock

_OPERATIONS = "known-operations"


@dataclass(frozen=True)
class _ControlPage:
    """A page with the controls of one kind, and forms that add one.

    Attributes:
        path: Its path.
        title: The title of the document.
        kind: The controls.
        forms: The title of each form, and what makes it.
    """

    path: str
    title: str
    kind: ControlKind
    forms: Sequence[tuple[str, Callable[[], Html]]]

    async def render(self, request: PageRequest) -> Sequence[Html]:
        found = await request.api.get(self.kind.path)
        forms = [part for title, made in self.forms for part in (element("h2", title, class_="section-title"), made())]
        listed = control_list(request, self.kind, found)
        content = element("div", listed, *forms, await known_sandboxes(request), class_="content")
        return [heading(request, self.path), content]


def _form(name: str, what: str, description: type, method: str, call: PythonCall, path: str, first: str) -> Html:
    """The form that adds a fault or a stub. `first`: the fields in view; the others are folded."""
    return form(
        name,
        fields_of(description, method, suggestions={"operation": _OPERATIONS, "sandbox": SANDBOXES}),
        "POST",
        path,
        [call],
        submit=f"Add the {what}",
        done="Added {id}.",
        first=first.split(),
        has_scope=True,
    )


def _fault_form() -> Html:
    first = "operation status detail times delay drop"
    call = PythonCall("emulator.faults.add", ["operation"])
    made = _form("fault", "fault", Fault, "", call, "/_emulator/faults", first)
    return element("div", made, suggestions(_OPERATIONS, get_args(get_args(OperationName)[0])))


def _stub_form(method: str, target: str) -> Html:
    first = "match program args exit_code times output"
    call = PythonCall(f"emulator.commands.{method}", [target, "output"])
    return _form(f"add-{method}", "stub", Stub, method, call, "/_emulator/commands", first)


_PAGES = (
    _ControlPage(
        "controls",
        "Controls",
        ControlKind(
            "faults",
            "/_emulator/faults",
            "fault",
            used="triggered",
            nothing="No faults. Add one below, and the requests that match it fail.",
        ),
        [("Add a fault", _fault_form)],
    ),
    _ControlPage(
        "controls/stubs",
        "Stubs",
        ControlKind(
            "stubs",
            "/_emulator/commands",
            "stub",
            used="used",
            nothing="No stubs: every command really runs. Add one below, and it answers instead.",
        ),
        [
            ("Stub a command", lambda: _stub_form("stub", "match")),
            ("Stub a program", lambda: _stub_form("program", "program")),
        ],
    ),
    _ControlPage(
        "controls/replies",
        "Replies",
        ControlKind(
            "replies",
            "/_emulator/agents",
            "reply",
            used="used",
            nothing="No replies: agents say that they are emulated. Add one below, and an agent gives it.",
            one_path="/_emulator/agents/*/replies",
        ),
        [("Script a reply", reply_form)],
    ),
)
#: The pages. The first one is that of the navigation.
PAGES: tuple[Page, ...] = (
    *[Page(one.path, one.title, "Controls", one.render, is_section=one is _PAGES[0]) for one in _PAGES],
    controls_clock.PAGE,
)
