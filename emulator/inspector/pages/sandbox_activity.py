"""The tab of what happens in a sandbox, live."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...trace.html import Html
from ..components import steps_view
from ..page import PageRequest, Tab


async def render(request: PageRequest, sandbox: Mapping[str, Any]) -> Sequence[Html]:
    return [steps_view(sandbox["id"])]


TAB = Tab("activity", "Activity", render)
