"""Checks of a page by axe-core."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Optional

if TYPE_CHECKING:
    from playwright.sync_api import Page

AXE = Path(__file__).parent / "vendor" / "axe-core" / "axe.min.js"

#: The rules that depend on colors. A color scheme changes nothing else, so that the others need one scheme.
COLOR_RULES = ["color-contrast", "link-in-text-block"]

#: Details of what passed, which take half of the time, and selectors of what failed are not collected. Sounds and
#: frames are not looked for, which would take another tenth of it; a page that has one fails.
RUN = """async ([part, rules, except]) => {
  if (document.querySelector("audio, video, iframe, frame, object")) throw new Error("axe does not check this page");
  const options = { resultTypes: ["violations"], selectors: false, preload: false, iframes: false };
  if (rules) options.runOnly = rules;
  for (const rule of except) (options.rules ??= {})[rule] = { enabled: false };
  const { violations } = await axe.run(part, options);
  return violations.map(({ id, nodes: [node] }) => `${id}: ${node.html.slice(0, 200)} ${node.failureSummary}`);
}"""


def violations(
    page: Page, part: str = "html", only: Optional[list[str]] = None, but: tuple[str, ...] = ()
) -> list[str]:
    """Run axe-core on a part of a page.

    Args:
        page: A page, whose policy need not allow scripts of axe: the browser's own interface runs it.
        part: A CSS selector.
        only: Ids of the rules to check; all by default.
        but: Ids of rules to leave out.

    Returns:
        One text for each rule that is violated.
    """
    if page.evaluate("typeof axe") == "undefined":
        page.evaluate(AXE.read_text("utf-8"))
    return list(page.evaluate(RUN, [part, only, list(but)]))


def violations_in_both_schemes(page: Page, part: str = "html") -> list[str]:
    """Run axe-core in the light scheme, and what depends on colors in the dark one, too."""
    page.emulate_media(color_scheme="light")
    assert not looks_dark(page)
    found = violations(page, part)
    page.emulate_media(color_scheme="dark")
    assert looks_dark(page)
    found += violations(page, part, COLOR_RULES)
    page.emulate_media(color_scheme="light")
    return found


def looks_dark(page: Page) -> bool:
    """Whether the background of a page is dark."""
    red, green, blue = page.evaluate(
        "getComputedStyle(document.body).backgroundColor.match(/[0-9.]+/g).slice(0, 3).map(Number)"
    )
    return bool(red + green + blue < 300)
