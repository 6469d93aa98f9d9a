"""The tab of the ports on which a sandbox listens, with links to their previews."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from ...trace.html import Html, element
from ..components import empty, live, moment, python, table
from ..page import PageRequest, Tab
from ..ports import preview_link
from ..public_api import segment
from .sandbox_states import unavailable


async def render(request: PageRequest, sandbox: Mapping[str, Any]) -> Sequence[Html]:
    nothing = unavailable(request, sandbox, "Listing its ports")
    if nothing is not None:
        return [live("ports", nothing, class_="content")]
    id = sandbox["id"]
    found = await request.api.get(f"/v1/sandboxes/{segment(id)}/ports")
    lines = [f'caged.sandboxes.ports("{id}")']
    if not found:
        start = f'caged.sandboxes.exec("{id}", "nohup python3 -m http.server 3000 >/tmp/log 2>&1 &")'
        nothing = empty("No process listens on a port. Start one, and it appears here:", start)
        return [live("ports", nothing, class_="content", data_poll=True)]
    rows = [
        (
            element("span", str(one["port"]), class_="number"),
            _preview(request, id, one),
            _access(one),
            moment(one["detected_at"]),
        )
        for one in found
    ]
    listed = table(("Port", "Preview", "Access", "Since"), rows, "Ports")
    return [live("ports", listed, python(lines), class_="content", data_poll=True)]


def _access(port: Mapping[str, Any]) -> str:
    if not port["preview_url"]:
        return ""
    return "with a password" if port["protected"] else "open"


def _preview(request: PageRequest, id: str, port: Mapping[str, Any]) -> Html:
    if not port["preview_url"]:
        return element("span", "none: only ports of web servers have one", class_="muted")
    number = port["port"]
    return preview_link(request, id, number, f"{id}-{number}.localhost:{urlsplit(request.base_url).port}")


TAB = Tab("ports", "Ports", render)
