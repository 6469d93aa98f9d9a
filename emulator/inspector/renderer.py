"""From a path to the HTML of a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..control.current_account import ALL_ACCOUNTS
from ..platform.errors import ApiError
from ..platform.platform import Platform
from .layout import framed_page
from .page import Page, PageRequest
from .pages import PAGES
from .public_api import PublicApi


class Renderer:
    """Renders the pages of an emulator.

    Args:
        platform: The emulator's platform.
    """

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    async def render(self, path: Sequence[str], query: Mapping[str, str]) -> str:
        """Render a page.

        Args:
            path: The decoded segments of its path below the inspector's.
            query: Its query parameters; `account` is the id of the account, which is the first one by default.

        Raises:
            ApiError: 404 for a page, an account or a sandbox that does not exist.
        """
        page, parameters = _find(path)
        if query.get("account") == ALL_ACCOUNTS:
            raise ApiError(404, "a page shows one account; choose it at the top of a page")
        account = self._platform.accounts.administered(query.get("account") or None)
        api = PublicApi(self._platform, account)
        clock = await api.get("/_emulator/clock")
        about = {
            # The answer has keys, too, which no page may have.
            "accounts": [{"id": one["id"], "name": one["name"]} for one in await api.get("/_emulator/accounts")],
            "clock": clock,
            "isolation": (await api.get("/_emulator/status"))["isolation"],
            # Read before the content: what happens meanwhile is shown again.
            "revision": (await api.get("/_emulator/journal/steps", last=1))["revision"],
        }
        request = PageRequest(api, account.id, self._platform.base_url, parameters, query, clock["now"])
        navigation = [(one.title, one.path, one.section == page.section) for one in PAGES if one.is_section]
        title = page.title.format(**parameters)
        return framed_page(request, title, navigation, await page.render(request), about)


def _find(path: Sequence[str]) -> tuple[Page, dict[str, str]]:
    for page in PAGES:
        parameters = page.match(path)
        if parameters is not None:
            return page, parameters
    raise ApiError(404, f"the inspector has no page {'/'.join(path)!r}")
