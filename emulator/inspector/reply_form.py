"""The form that scripts the next reply of an agent."""

from __future__ import annotations

from ..control.agent_replies import ScriptedReply
from ..platform import limits
from ..trace.html import Html
from .forms import Field, PythonCall, fields_of, form

#: The fields in view; the others are folded.
_FIRST = ("agent", "prompt", "text", "cost_usd")
_AGENT = Field(
    "agent",
    "choice",
    "The agent, as the platform names it.",
    choices=tuple(limits.AGENTS),
    value=next(iter(limits.AGENTS)),
    is_always_sent=True,
)


def reply_form(name: str = "reply") -> Html:
    """The form.

    Args:
        name: Its id in the document.
    """
    fields = [
        Field(one.name, one.kind, f"{one.help} Every prompt by default.", hint=one.hint)
        if one.name == "prompt"
        else one
        for one in fields_of(ScriptedReply, "reply_to")
    ]
    return form(
        name,
        [_AGENT, *fields],
        "POST",
        "/_emulator/agents/{agent}/replies",
        [
            PythonCall("emulator.agent({agent}).reply_to", ["prompt", "text"], when="prompt"),
            PythonCall("emulator.agent({agent}).reply", ["text"]),
        ],
        submit="Add the reply",
        done="Added {id}.",
        first=_FIRST,
        has_scope=True,
    )
