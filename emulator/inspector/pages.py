"""The inspector's pages: which there are, and what each of them shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

from starlette.requests import Request

from ..control.clock import rfc3339
from ..control.current_account import ALL_ACCOUNTS, acting_for
from ..platform.errors import ApiError
from ..platform.platform import Platform
from ..store import Account
from ..trace.html import Html, element
from .layout import View, page
from .sandbox_page import SandboxPage
from .sandboxes_page import sandboxes_page


class Pages:
    """Renders the pages of an emulator.

    Args:
        platform: The emulator's platform.
    """

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    async def render(self, path: Sequence[str], request: Request) -> str:
        """Render a page.

        Args:
            path: The decoded parts of its path below the inspector's.
            request: The request, whose query names the account.

        Raises:
            ApiError: 404 for a page, an account or a sandbox that does not exist.
        """
        account = self._account(request.query_params.get("account"))
        view = self._view(account)
        with acting_for(account.id):
            if list(path) == [""]:
                return page(view, "Sandboxes", "Sandboxes", *sandboxes_page(self._platform, account, view))
            if list(path) == ["journal"]:
                return page(view, "Journal", "Journal", *_journal(account))
            if path[0] == "sandboxes" and len(path) in (2, 3):
                shown = SandboxPage(self._platform, account, view, path[1])
                tab = path[2] if len(path) == 3 else "activity"
                return page(view, "Sandboxes", path[1], *await shown.render(tab, request.query_params.get("path")))
        raise ApiError(404, f"the inspector has no page {'/'.join(path)!r}")

    def _account(self, account_id: Optional[str]) -> Account:
        if account_id == ALL_ACCOUNTS:
            raise ApiError(404, "a page shows one account; select it at the top")
        return self._platform.accounts.administered(account_id or None)

    def _view(self, account: Account) -> View:
        platform = self._platform
        now, frozen = platform.clock.now(account.id)
        return View(
            account=account.id,
            accounts=[(one.id, one.name) for one in platform.store.accounts.values()],
            isolation=platform.isolation.level,
            now=rfc3339(now),
            frozen=frozen,
            base_url=platform.base_url,
        )


def _journal(account: Account) -> list[Html]:
    return [element("h1", "Journal", class_="spoken"), steps_view(account.id)]


def steps_view(account: str, sandbox: str = "") -> Html:
    """The place where the script shows steps, live."""
    return element("div", class_="steps-view", data_steps=account, data_sandbox=sandbox or None)
