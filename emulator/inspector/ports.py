"""Links to the previews of ports."""

from __future__ import annotations

from urllib.parse import urlsplit

from ..trace.html import Html, element
from .page import PageRequest


def preview_link(request: PageRequest, sandbox: str, port: int, text: str) -> Html:
    """A link to a preview at a host name of its own, which is another site than the inspector for a browser."""
    url = f"http://{sandbox}-{port}.localhost:{urlsplit(request.base_url).port}/"
    return element("a", text, href=url, target="_blank", rel="noopener noreferrer", class_="port", title=url)
