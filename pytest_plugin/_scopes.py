"""What the scope of a test on the emulator and that of a live run have in common."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Callable, Optional, Protocol

import pytest

from . import _environment, _summary
from ._policy import POLICY

if TYPE_CHECKING:
    from caged.emulator.trace.file import UnusedControl

    from ._shared_connections import SharedConnections


@dataclass
class TraceFacts:
    """What is known of a test besides its steps.

    Attributes:
        target: `emulator` or `live`.
        isolation: The isolation level of sandboxes; empty where it is not known.
        log: The newest lines of the emulator's log, or of the sandboxes' logs in a live run.
        unused: Controls that never applied.
    """

    target: str
    isolation: str = ""
    log: list[str] = field(default_factory=list)
    unused: list[UnusedControl] = field(default_factory=list)


class Scope(Protocol):
    """What one test works with.

    Attributes:
        fixtures: Ids of sandboxes that a fixture created, so that the test need not destroy them.
        closing: What is done when the test and all its other fixtures are over. Clients are closed only then, so that
            leaks are detected first.
    """

    base_url: str
    api_key: str
    fixtures: set[str]
    closing: ExitStack

    def connections(self, config: pytest.Config) -> Optional[SharedConnections]:
        """The connections that the test's client uses; None: its own."""

    def claim(self, client: object) -> None:
        """In live runs: what the client creates belongs to this scope."""

    def callback_sections(self) -> list[tuple[str, str]]:
        """Sections of the report of a failed test: exceptions of its functions."""

    def sections(self, style: str, redacted: Callable[[str], str]) -> list[tuple[str, str]]:
        """Sections of the report of a failed test besides its timeline.

        Args:
            style: `short` or `full`.
            redacted: Redacts a text.
        """

    def facts(self, log_lines: int) -> TraceFacts:
        """What the trace of a failed test says of it. `log_lines`: how many lines of a log."""

    def left_open(self) -> list[str]:
        """What the test left open, one line each."""


#: The scope of a test, while it is active.
SCOPE: pytest.StashKey[Scope] = pytest.StashKey()
#: Whether a phase of the test has failed.
FAILED = pytest.StashKey[bool]()
#: The environment before the scope was active.
SAVED = pytest.StashKey[_environment.Saved]()


@contextmanager
def active(item: pytest.Item, scope: Scope) -> Iterator[None]:
    """Let a bare `Caged()` use the scope's account, and the hooks around the test find the scope."""
    saved = _environment.point_at(scope.base_url, scope.api_key)
    item.stash[SAVED] = saved
    item.stash[SCOPE] = scope
    try:
        yield
    finally:
        del item.stash[SCOPE]
        _environment.restore(saved)


def has_failed(item: pytest.Item) -> bool:
    return item.stash.get(FAILED, False)


def reports_leaks(item: pytest.Item) -> bool:
    """A test that failed did not come to its end, so what it left open is not reported."""
    return item.config.stash[POLICY].leaks != "ignore" and not has_failed(item)


def keeps_sandboxes(item: pytest.Item) -> bool:
    return item.config.stash[POLICY].keep_failed and has_failed(item)


def report_leaks(item: pytest.Item, leaks: list[str]) -> None:
    """Fail, or list at the end of the run, as `--caged-leaks` says."""
    if not leaks:
        return
    if item.config.stash[POLICY].leaks == "warn":
        _summary.add(item.config, _summary.LEAKS, item.nodeid, leaks)
        return
    listed = "".join(f"\n  {leak}" for leak in leaks)
    pytest.fail(f"{item.nodeid} left open:{listed}", pytrace=False)


def report_unused(config: pytest.Config, who: str, unused: list[str]) -> None:
    """Fail, or list at the end of the run, as `--caged-unused` says."""
    if not unused or config.stash[POLICY].unused == "ignore":
        return
    if config.stash[POLICY].unused == "warn":
        _summary.add(config, _summary.UNUSED, who, unused)
        return
    text = "\n".join(unused)
    pytest.fail(f"{who}: {text}", pytrace=False)
