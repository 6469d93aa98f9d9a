"""What the tests of the inspector in a browser share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable
from urllib.parse import urlsplit

from internals import platform_of

from caged.emulator import Emulator

if TYPE_CHECKING:
    from playwright.sync_api import Page

EVIL = "<img src=x onerror=alert(1)>\"'&</script>"
UI = "/_emulator/ui/"


def origin(emulator: Emulator) -> str:
    """Where the inspector's pages are."""
    return f"http://{platform_of(emulator).inspector_logins.host}:{urlsplit(emulator.base_url).port}"


def show(page: Page, emulator: Emulator, path: str, account: str) -> None:
    """Show a page of the inspector for an account, once it is live."""
    page.goto(f"{origin(emulator)}{UI}{path}?account={account}")
    page.get_by_text("● live").wait_for()


def leave_inspector(page: Page, emulator: Emulator) -> None:
    """Show a file of the inspector in place of its page. After about:blank the next page is in a new process."""
    page.goto(f"{origin(emulator)}{UI}static/session.js")


def note_problems(page: Page, problems: list[str]) -> Callable[[], None]:
    """Add what a page logs, raises or asks to a list, until the function that is returned is called."""
    listeners: dict[Any, Callable[[Any], object]] = {
        "console": lambda message: problems.append(f"console: {message.text}"),
        "pageerror": lambda error: problems.append(f"exception: {error}"),
        "dialog": lambda dialog: (problems.append(f"dialog: {dialog.message}"), dialog.dismiss()),
    }
    for event, listener in listeners.items():
        page.on(event, listener)

    def stop() -> None:
        for event, listener in listeners.items():
            page.remove_listener(event, listener)

    return stop
