"""Pages in the system's Chromium: of a trace, of the inspector."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Optional

import pytest
from inspector_testing import EVIL, leave_inspector, note_problems
from shared_browser import SharedBrowser
from trace_page_testing import ready, write
from trace_testing import real_trace

from caged import Caged
from caged.emulator import AccountView, Emulator
from caged.emulator.trace.file import Trace

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page, Request

_shared = SharedBrowser()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: Optional[pytest.Item]) -> Generator[None, None, None]:
    try:
        return (yield)
    finally:
        if nextitem is None or Path(__file__).parent not in nextitem.path.parents:
            _shared.stop()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish() -> None:
    _shared.stop()  # an interrupted run has no teardown without a next test


@pytest.fixture(scope="module")
def browser() -> Browser:
    return _shared.get()


VIEWPORT: Any = {"width": 1280, "height": 800}


def new_context(browser: Browser, **options: Any) -> BrowserContext:
    context = browser.new_context(**{"viewport": VIEWPORT, **options})
    context.set_default_timeout(60_000)
    return context


class WatchedPage:
    """A page, and what it logs, raises, asks, or requests besides its file."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.problems: list[str] = []
        self._url = ""
        note_problems(page, self.problems)
        page.on("request", self._note_request)

    def _note_request(self, request: Request) -> None:
        if request.url.split("#")[0] != self._url:
            self.problems.append(f"request: {request.url}")

    def show(self, path: Path, fragment: str, size: Any = VIEWPORT) -> Page:
        self.leave()
        self.page.bring_to_front()  # others draw less often
        if self.page.viewport_size != size:
            self.page.set_viewport_size(size)
        if fragment:  # which does not load a file again that is shown already
            self.page.goto("about:blank")
        self._url = path.as_uri()
        self.page.goto(self._url + fragment)
        return self.page

    def leave(self) -> None:
        if self._url:
            self.page.evaluate("localStorage.clear()")  # the theme
            self.page.emulate_media(color_scheme="null")
            self._url = ""


@pytest.fixture(scope="module")
def shared_page(browser: Browser) -> Iterator[WatchedPage]:
    """A page for all files without options of their own: with a new one, a file takes twice the CPU time."""
    context = new_context(browser)
    yield WatchedPage(context.new_page())
    context.close()


@pytest.fixture
def open_page(browser: Browser, shared_page: WatchedPage) -> Iterator[Callable[..., Page]]:
    """Open a file in the shared page, of a size if it is given, or with options or a script in one of its own. A
    message of the console, an exception, or a request for anything but the file fails the test."""
    watched = [shared_page]

    def open_file(path: Path, fragment: str = "", script: str = "", size: Any = VIEWPORT, **options: Any) -> Page:
        if not script and not options:
            return shared_page.show(path, fragment, size)
        context = new_context(browser, **options)
        if script:
            context.add_init_script(script)
        watched.append(WatchedPage(context.new_page()))
        return watched[-1].show(path, fragment)

    yield open_file
    shared_page.leave()
    problems = [problem for one in watched for problem in one.problems]
    shared_page.problems.clear()
    for one in watched[1:]:
        one.page.context.close()
    assert problems == []


class KeptPages:
    """Pages for the tests that read a file, which the next such test finds as the one before has left them.

    A file takes half a second of CPU time to open, more than most tests need with it. Where there is another text in
    the filter than at first, a row that was closed, an open dialog or the like, the file is opened again.
    """

    def __init__(self, context: BrowserContext) -> None:
        self._context = context
        self._pages: dict[Path, tuple[WatchedPage, Any]] = {}

    def show(self, path: Path) -> Page:
        """Return a page with the file, in which the first step is selected and no element has the focus."""
        if path not in self._pages:
            self._pages[path] = WatchedPage(self._context.new_page()), None
        watched, state = self._pages[path]
        if state is None or watched.page.evaluate(READ_STATE) != state:
            ready(watched.show(path, ""))
            self._pages[path] = watched, watched.page.evaluate(READ_STATE)
        watched.page.bring_to_front()
        return watched.page

    def problems(self) -> list[str]:
        """Return the problems since the last call."""
        found = [problem for watched, _ in self._pages.values() for problem in watched.problems]
        for watched, _ in self._pages.values():
            watched.problems.clear()
        return found


#: Select the first step, and return what a test may have changed besides the selection.
READ_STATE = """() => {
  const all = (name, read) => [...document.querySelectorAll(name)].map(read);
  const state = [
    all('[role=treeitem]:not(.aside) .title', (one) => one.textContent),
    all('input:not([type=range])', (one) => one.type === 'checkbox' ? one.checked : one.value),
    all('details, dialog', (one) => one.closest('[role=tabpanel]') ? false : one.open),
    document.querySelector('#answer')?.hidden,
    document.documentElement.dataset.theme,
    localStorage.getItem('caged-theme'),
  ];
  document.querySelector('[role=treeitem]').click();
  document.activeElement.blur();
  scrollTo(0, 0);
  return state;
}"""


@pytest.fixture(scope="module")
def kept_pages(browser: Browser) -> Iterator[KeptPages]:
    context = new_context(browser, permissions=["clipboard-read", "clipboard-write"])
    yield KeptPages(context)
    context.close()


@pytest.fixture
def read_page(kept_pages: KeptPages) -> Iterator[Callable[[Path], Page]]:
    """Show a file in a page that is kept, in which the tab that was chosen last is open where a step has it. What fails
    a test of `open_page` fails one of this, too."""
    yield kept_pages.show
    assert kept_pages.problems() == []


# --- the page of a trace


@pytest.fixture(scope="module")
def trace() -> Trace:
    return real_trace()


@pytest.fixture(scope="module")
def path(trace: Trace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of that trace."""
    return write(trace, tmp_path_factory.mktemp("page"))


# --- the inspector


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator(allow_unused=True) as running:
        yield running


@pytest.fixture
def view(emulator: Emulator) -> Iterator[AccountView]:
    with emulator.account(name=EVIL, allow_unused=True) as made:
        yield made


@pytest.fixture
def caged(view: AccountView) -> Iterator[Caged]:
    with Caged(api_key=view.api_key, base_url=view.base_url) as client:
        yield client


@pytest.fixture(scope="module")
def window(emulator: Emulator, browser: Browser) -> Iterator[BrowserContext]:
    """A window that is logged in."""
    context = new_context(browser)
    context.set_default_timeout(60_000)
    page = context.new_page()
    page.goto(emulator.ui_link())
    leave_inspector(page, emulator)
    yield context
    context.close()


@pytest.fixture
def problems() -> list[str]:
    """What `page` logs, raises or asks. A test removes what it expects; anything else fails it."""
    return []


@pytest.fixture
def page(emulator: Emulator, window: BrowserContext, view: AccountView, problems: list[str]) -> Iterator[Page]:
    """The page of the window. It leaves the inspector before the account is deleted, which it would report."""
    page = window.pages[0]
    page.set_viewport_size(VIEWPORT)
    stop = note_problems(page, problems)
    yield page
    leave_inspector(page, emulator)
    stop()
    assert problems == []
