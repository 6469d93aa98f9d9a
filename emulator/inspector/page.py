"""What a page is, and what it is rendered from."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Callable, Optional
from urllib.parse import urlencode

from ..platform.inspector_logins import PATH
from ..trace.html import Html
from .public_api import PublicApi, segment


@dataclass(frozen=True)
class PageRequest:
    """One request for a page.

    Attributes:
        api: Reads from the API for the account that is shown.
        account: The id of that account.
        base_url: The emulator's URL.
        parameters: The decoded values of the `{parameters}` in the page's path.
        query: The query parameters.
        now: The account's time, RFC 3339.
    """

    api: PublicApi
    account: str
    base_url: str
    parameters: Mapping[str, str]
    query: Mapping[str, str]
    now: str

    def link(self, *parts: str, **query: str) -> str:
        """The URL of a page, for the same account.

        Args:
            parts: The segments of its path, not encoded.
            query: Its query parameters besides `account`.
        """
        path = "/".join(segment(part) for part in parts)
        return f"{PATH}/{path}?{urlencode({'account': self.account, **query})}"


Render = Callable[[PageRequest], Awaitable[Sequence[Html]]]


@dataclass(frozen=True)
class Page:
    """A page. To add one, write a module in `pages/` and add its page to `pages.PAGES`.

    Attributes:
        path: Its path below the inspector's; `{name}` stands for one segment.
        title: The title of the document; a `{name}` in it is replaced.
        section: The link of the navigation that is marked as the current one.
        render: Returns its content. It raises ApiError (404) where what it is about does not exist.
        is_section: Whether the navigation has a link to it.
    """

    path: str
    title: str
    section: str
    render: Render
    is_section: bool = False

    def match(self, path: Sequence[str]) -> Optional[dict[str, str]]:
        """Return the parameters in a path, given as decoded segments; None where it is not this page's."""
        own = self.path.split("/")
        if len(own) != len(path):
            return None
        parameters = {}
        for name, given in zip(own, path):
            if name.startswith("{"):
                parameters[name[1:-1]] = given
            elif name != given:
                return None
        return parameters


@dataclass(frozen=True)
class Tab:
    """A tab of a sandbox's page. To add one, write a module in `pages/` and add its tab to `pages.sandbox.TABS`.

    Attributes:
        path: The last segment of its path.
        title: Its name.
        render: Returns its content, for a request with the parameter `id`, and the sandbox as the API answers it; a
            sandbox that was destroyed has the status `destroyed` and no more than its id.
    """

    path: str
    title: str
    render: Callable[[PageRequest, Mapping[str, Any]], Awaitable[Sequence[Html]]]
