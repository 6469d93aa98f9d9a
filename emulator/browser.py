"""Opening a page in the user's browser."""

from __future__ import annotations

import os
import sys
import webbrowser


def open_in_browser(url: str) -> bool:
    """Open a URL in a new tab.

    Returns:
        Whether a browser was started. False without a desktop: a browser of the terminal would take it over.
    """
    if not _has_desktop():
        return False
    try:
        return webbrowser.open(url, new=2)
    except webbrowser.Error:
        return False


def _has_desktop() -> bool:
    if os.environ.get("BROWSER"):
        return True  # chosen by the user
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
