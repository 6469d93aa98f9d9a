"""The journal: everything that happens in the account, live."""

from __future__ import annotations

from collections.abc import Sequence

from ...trace.html import Html, element
from ..components import steps_view
from ..page import Page, PageRequest


async def render(request: PageRequest) -> Sequence[Html]:
    return [element("h1", "Journal", class_="spoken"), steps_view()]


PAGE = Page("journal", "Journal", "Journal", render, is_section=True)
