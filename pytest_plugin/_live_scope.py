"""What one test works with in a live run: the account of the API key, and the record of what the test created there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Callable, Optional

import pytest

from . import _kept_sandboxes, _report, _summary
from ._scopes import TraceFacts, active, keeps_sandboxes, report_leaks, reports_leaks
from ._target import TARGET

if TYPE_CHECKING:
    from ._creations import Creations


class LiveScope:
    """What a test created in the account of a live run."""

    def __init__(self, base_url: str, api_key: str, creations: Creations) -> None:
        self.base_url = base_url
        self.api_key = api_key
        self.creations = creations
        self._logs: Optional[dict[str, list[str]]] = None
        self.fixtures: set[str] = set()
        self.closing = ExitStack()

    def connections(self, config: pytest.Config) -> None:
        """None: those of the client, which are observed."""

    def claim(self, client: Any) -> None:
        """Make what the client creates belong to this scope."""
        self.creations.clients.add(client._session._http)

    def callback_sections(self) -> list[tuple[str, str]]:
        """None: a live run calls no functions of the test."""
        return []

    def facts(self, log_lines: int) -> TraceFacts:
        """What the trace of a failed test says of it: the logs that the API returns."""
        return TraceFacts("live", log=[f"{id}: {line}" for id, lines in self.logs().items() for line in lines])

    def logs(self) -> dict[str, list[str]]:
        """The logs of the test's newest sandboxes, by their ids, requested once: when a phase has failed."""
        if self._logs is None:
            self._logs = _report.live_logs(self.base_url, self.api_key, self.creations)
        return self._logs

    def sections(self, style: str, redacted: Callable[[str], str]) -> list[tuple[str, str]]:
        """Sections of the report of a failed test besides its timeline.

        Args:
            style: `short` or `full`.
            redacted: Redacts a text.
        """
        return _report.of_live_run(self.creations, self.logs(), style == "full", redacted)

    def left_open(self) -> list[str]:
        """What the test left open, one line each. Known after everything was destroyed."""
        ignored = self.creations.automatic | self.fixtures
        return [f"{kind} {id}" for kind, id in self.creations.destroyed if kind != "key" and id not in ignored]


@contextmanager
def live(item: pytest.Item) -> Iterator[LiveScope]:
    """Record what a test creates, and destroy it at the end."""
    from ._request_recorder import recording

    creations = new_creations(item.config)
    target = item.config.stash[TARGET]
    scope = LiveScope(target.base_url, target.api_key or "", creations)
    problems: list[str] = []
    try:
        with recording(creations), active(item, scope):
            yield scope
    finally:
        scope.closing.close()
        if keeps_sandboxes(item) and creations.sandboxes:
            _kept_sandboxes.report(item, creations.sandboxes)
        else:
            problems = destroy(item.config, creations)
    fail_on_remains(item.config, problems)
    report_leaks(item, scope.left_open() if reports_leaks(item) else [])


def new_creations(config: pytest.Config, of_test: bool = True) -> Creations:
    """Make the record of a scope of a live run.

    Raises:
        pytest.UsageError: There is no API key.
    """
    target = config.stash[TARGET]
    if target.api_key is None:
        raise pytest.UsageError(
            "--caged-target=live needs an API key: pass --caged-api-key=KEY or set CAGED_API_KEY, "
            "or run against the emulator with --caged-target=emulator"
        )
    from ._creations import Creations
    from ._ledger import open_ledger
    from ._traces import traces_of

    ledger = open_ledger(config, target.api_key)
    creations = Creations(target.base_url, target.api_key, target.run, ledger, of_test)
    traces = traces_of(config)
    if traces is not None:
        creations.seen = traces.calls.requested
    return creations


def destroy(config: pytest.Config, creations: Creations) -> list[str]:
    """Destroy what a scope of a live run has created. Returns one line for each thing that may still exist."""
    from caged import Caged

    target = config.stash[TARGET]
    with Caged(api_key=target.api_key, base_url=target.base_url) as client:
        problems = creations.destroy(client)
    if creations.ledger_failure:
        why = f"the ledger could not be written, `caged-emulator sweep` may miss something: {creations.ledger_failure}"
        _summary.add(config, _summary.NOTES, "live run", [why])
    return problems


def fail_on_remains(config: pytest.Config, problems: list[str]) -> None:
    """Fail when something that was created may still exist."""
    if problems:
        listed = "".join(f"\n  {problem}" for problem in problems)
        url = config.stash[TARGET].base_url
        text = f"not all that was created on {url} is known to be destroyed; look there, and destroy what still exists"
        pytest.fail(f"{text}:{listed}", pytrace=False)
