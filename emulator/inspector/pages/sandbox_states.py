"""What a tab says that has something to show only while the sandbox runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Optional

from ...platform.sandbox_states import TRANSITIONS
from ...trace.html import Html, element
from ..components import call_button, empty
from ..page import PageRequest
from ..public_api import segment


def unavailable(request: PageRequest, sandbox: Mapping[str, Any], what: str) -> Optional[Html]:
    """What the tab shows instead; None for a sandbox that runs.

    Args:
        request: The request for the page.
        sandbox: The sandbox.
        what: What needs it to run, as the beginning of a sentence.
    """
    state = sandbox["status"]
    if state == "running":
        return None
    if state not in TRANSITIONS["resume"]:
        text = f"{what} needs a running sandbox; this one is {state}."
        return empty(text, hint=element("span", "Its steps are under Activity."))
    path = f"/v1/sandboxes/{segment(sandbox['id'])}/resume"
    button = call_button("Resume", "POST", path, request.account)
    return empty(
        f"{what} needs a running sandbox; this one is {state}.", f'caged.sandboxes.resume("{sandbox["id"]}")', button
    )
