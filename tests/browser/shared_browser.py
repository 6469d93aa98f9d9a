"""The system's Chromium, driven by Playwright, and its end, for which no answer of a browser is needed."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from leftovers import children_of, command_of
from waiting import eventually

if TYPE_CHECKING:
    from playwright.sync_api import Browser

#: The first is the same browser without windows, and takes two thirds of the CPU time.
NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
#: Its own sandbox does not work for root and in containers; only pages made by these tests are opened. Without a
#: process for drawing, and without an emulated graphics card in it, the same pages take a tenth less CPU time.
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-software-rasterizer", "--in-process-gpu"]
#: A page is drawn as one tile instead of some twenty, and no script runs long enough that optimized machine code pays:
#: together these take some percent of the CPU time less.
FLAGS += ["--default-tile-width=1280", "--default-tile-height=800", "--js-flags=--no-opt,--no-maglev"]
#: Seconds after which a driver that does not end is killed.
END_SECONDS = 10.0


def find_chromium() -> str:
    """The path of a Chromium; empty without one."""
    given = os.environ.get("CAGED_TEST_CHROMIUM", "")
    return given or next((path for path in map(shutil.which, NAMES) if path), "")


class SharedBrowser:
    """A browser for the tests of this directory that follow one another: a start takes 2 s of CPU time.

    Playwright occupies the event loop of the thread until it is stopped, so that tests of other directories could not
    run one.
    """

    def __init__(self) -> None:
        self._playwright: Any = None
        self._browser: Any = None
        self._directory = ""
        self._driver = 0

    def get(self) -> Browser:
        """Return the browser, started if it does not run."""
        sync_api = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
        path = find_chromium()
        if not path:
            pytest.skip(
                "no Chromium: install the Debian package `chromium-headless-shell` or `chromium`, or set "
                "CAGED_TEST_CHROMIUM to its path"
            )
        if self._playwright is None:
            self._start(sync_api)
        if self._browser is None or not self._browser.is_connected():
            self._browser = self._playwright.chromium.launch(executable_path=path, args=FLAGS)
        return cast("Browser", self._browser)

    def _start(self, sync_api: Any) -> None:
        before = set(children_of(os.getpid()))
        # All files of the browser and of Playwright's driver are there, also after they are killed.
        self._directory = tempfile.mkdtemp(prefix="caged-browser-")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TMPDIR", self._directory)
            self._playwright = sync_api.sync_playwright().start()
        (self._driver,) = (
            pid for pid in children_of(os.getpid()) if pid not in before and "playwright" in command_of(pid)
        )

    def stop(self) -> None:
        """End the browser and the driver, and remove their files.

        `Browser.close` is not called: it has no time limit, and with chromium-headless-shell it did not return once in
        three runs of the suite. A browser that is killed needs no answer, and a driver without a browser ends at once;
        if it does not, it is killed, too, and its end is what Playwright waits for.
        """
        playwright, self._playwright, self._browser = self._playwright, None, None
        if playwright is None:
            return
        for leader in children_of(self._driver):  # each browser is started in a process group of its own
            with suppress(ProcessLookupError):
                os.killpg(leader, signal.SIGKILL)
        timer = threading.Timer(END_SECONDS, _kill, [self._driver])
        timer.start()
        try:
            playwright.stop()
        finally:
            timer.cancel()
            timer.join()
            eventually(self._remove, f"the removal of {self._directory}", END_SECONDS)

    def _remove(self) -> bool:
        shutil.rmtree(self._directory, ignore_errors=True)
        return not Path(self._directory).exists()


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
