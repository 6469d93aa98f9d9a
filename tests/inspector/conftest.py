"""An emulator, and browsers as far as HTTP goes: with the inspector's host name, and the cookies that it sets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Callable
from urllib.parse import urlsplit

import httpx
import pytest
from internals import platform_of

from caged import Caged
from caged.emulator import AccountView, Emulator


@pytest.fixture(scope="session")
def emulator() -> Iterator[Emulator]:
    with Emulator(allow_unused=True) as running:
        yield running


@pytest.fixture
def view(emulator: Emulator) -> Iterator[AccountView]:
    """The controls of a new account."""
    with emulator.account(allow_unused=True) as made:
        yield made


@pytest.fixture
def caged(view: AccountView) -> Iterator[Caged]:
    """A client of that account."""
    with Caged(api_key=view.api_key, base_url=view.base_url) as client:
        yield client


class Browser(httpx.Client):
    """Sends requests to an emulator with the Host of the inspector. It follows no redirect."""

    def __init__(self, emulator: Emulator) -> None:
        self.port = urlsplit(emulator.base_url).port
        self.host = platform_of(emulator).inspector_logins.host
        self.origin = f"http://{self.host}:{self.port}"
        super().__init__(
            base_url=emulator.base_url,
            headers={"Host": f"{self.host}:{self.port}", "Accept": "text/html"},
            timeout=60,
            trust_env=False,
        )

    def log_in(self, link: str) -> httpx.Response:
        """Open a link that logs in."""
        return self.get(link[len(self.origin) :])

    def call(self, method: str, path: str, account: str = "", **options: Any) -> httpx.Response:
        """Make a call of the API as a page does."""
        headers = {"X-Caged-Inspector": "1", "Origin": self.origin, "Sec-Fetch-Site": "same-origin"}
        if account:
            headers["X-Caged-Account"] = account
        return self.request(method, path, headers={**headers, **options.pop("headers", {})}, **options)


@pytest.fixture
def new_browser() -> Iterator[Callable[[Emulator], Browser]]:
    """Makes browsers that are not logged in."""
    made: list[Browser] = []

    def make(emulator: Emulator) -> Browser:
        made.append(Browser(emulator))
        return made[-1]

    yield make
    for browser in made:
        browser.close()


@pytest.fixture
def browser(emulator: Emulator, new_browser: Callable[[Emulator], Browser]) -> Browser:
    """A browser that is logged in."""
    logged_in = new_browser(emulator)
    assert logged_in.log_in(emulator.ui_link()).status_code == 303
    return logged_in
