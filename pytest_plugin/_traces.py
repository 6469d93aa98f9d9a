"""The trace of each test that uses the fixtures: gathered while the test runs, written once it is over."""

from __future__ import annotations

import contextlib
import importlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

import pytest

from caged._observation import install
from caged._version import __version__
from caged.emulator.control.clock import rfc3339
from caged.emulator.trace.call_steps import shown_path, source_of
from caged.emulator.trace.file import Trace, TraceHeader, UnusedControl
from caged.emulator.trace.outline import cost
from caged.emulator.trace.redaction import redact_header, redact_steps

from . import _report, _summary, _trace_files
from ._calls import CallLog
from ._kept_sandboxes import KEPT
from ._policy import POLICY
from ._scopes import SCOPE
from ._target import TARGET
from ._trace_header import described, failing_line, first_line, relative
from ._trace_steps import Phase, StepSource, assemble

if TYPE_CHECKING:
    from caged._observation import Observer
    from caged.emulator.control_client.base_emulator import AccountView

    from ._emulator_source import AnyEmulator

#: Lines of the emulator's log, or of a live sandbox's, in a trace.
LOG_LINES = 100
#: Characters of the text of a failure.
ERROR_CHARACTERS = 64 * 1024
#: The name of the property in JUnit XML.
PROPERTY = "caged_trace"
#: Fixtures of which one makes a test one of ours, besides a scope of its own.
_FIXTURES = {"_caged_scope", "caged_factory", "_caged_running"}
_PHASES = ("setup", "call", "teardown")
_TRACES: pytest.StashKey[Traces] = pytest.StashKey()


class TestTrace:
    """What is known of a test so far."""

    __test__ = False  # not a test class

    def __init__(self, item: pytest.Item, began: float) -> None:
        self.item = item
        self.attempt = int(getattr(item, "execution_count", 1))
        self.began = began
        self.phases: list[Phase] = []
        self.page: Optional[Path] = None
        self.problem = ""
        self.header = TraceHeader(title=item.nodeid, wall=rfc3339(began), version=__version__, outcome="passed")

        self.has_scope = False
        self._uses_fixture = not _FIXTURES.isdisjoint(getattr(item, "fixturenames", ()))

    @property
    def has_failed(self) -> bool:
        return self.header.outcome in ("failed", "error")

    def is_ours(self) -> bool:
        """Whether the test uses the fixtures, also those that it requests while it runs."""
        self.has_scope = self.has_scope or SCOPE in self.item.stash
        return self.has_scope or self._uses_fixture


class Traces:
    """Gathers and writes the traces of a run."""

    def __init__(self, config: pytest.Config) -> None:
        config.stash[_TRACES] = self
        self._config = config
        self._root = str(config.rootpath)
        self.calls = CallLog()
        self._source: Optional[StepSource] = None
        self._current: Optional[TestTrace] = None
        #: The test that is set up, and since when.
        self._starting: Optional[tuple[pytest.Item, float]] = None
        self._trace = config.stash[POLICY].trace
        if self._trace != "off":
            target = config.stash[TARGET]
            if target.live:
                self.calls.observe(target.base_url, False)
            before = install(self.calls)
            config.add_cleanup(lambda: _uninstall(before))

    def add_emulator(self, emulator: AnyEmulator) -> None:
        """Record what happens on an emulator."""
        if self._source is not None:
            self._source.close()
        self._source = StepSource(emulator, fetch=self._trace != "off")
        self.calls.observe(emulator.base_url, True)

    def add_account(self, account: AccountView, name: str) -> None:
        """Note an account that a fixture has made."""
        if self._source is not None:
            self._source.names[account.id] = name

    def starts(self, item: pytest.Item) -> None:
        """Note that a test is set up."""
        self.calls.test_file = str(getattr(item, "path", "")) or None
        self._starting, self._current = (item, time.time()), None

    # --- the phases of a test

    def reported(self, item: pytest.Item, report: pytest.TestReport, call: pytest.CallInfo[None]) -> Optional[Trace]:
        """Note how a phase of a test ended.

        Returns:
            The trace so far, where the phase has failed.
        """
        with self._guarded(item):
            return self._reported(item, report, call)
        return None

    @contextmanager
    def _guarded(self, item: pytest.Item) -> Iterator[None]:
        """Make a line of the summary of whatever goes wrong: a trace must not end the run, nor fail its test."""
        try:
            yield
        except Exception as error:
            text = f"its trace could not be made: {type(error).__name__}: {error}"
            _summary.add(self._config, _summary.NOTES, item.nodeid, [text])

    def _reported(self, item: pytest.Item, report: pytest.TestReport, call: pytest.CallInfo[None]) -> Optional[Trace]:
        if report.when == "setup" or self._current is None or self._current.item is not item:
            self._current = TestTrace(item, call.start)
        current = self._current
        current.phases.append(Phase(report.when or "", report.outcome, call.start, call.duration))
        if not current.is_ours():
            return None
        if report.failed:
            self._note_failure(current, report, call)
        elif report.skipped and not current.has_failed:
            current.header.outcome = "skipped"
        if report.failed or (report.when == "call" and self._trace == "on"):
            self._gather(current)
        if not report.failed:
            return None
        if self._trace != "off":
            self._reserve(current)
            self._link(current, report)
        return self._build(current)

    def sections(self, item: pytest.Item, trace: Trace, style: str) -> list[tuple[str, str]]:
        """The section of the report with the timeline, and with the file of the trace of the test that runs.

        Args:
            style: `short` or `full`.
        """
        page = self._current.page if self._current is not None else None
        with self._guarded(item):
            return [_report.of_trace(trace, _summary.shown(str(page), self._config) if page else None, style)]
        return []

    def finished(self, item: pytest.Item) -> None:
        """Write the trace of a test that is over, if it is to be kept, and forget what was gathered."""
        current, self._current = self._current, None
        with self._guarded(item):
            if current is not None and current.item is item and current.is_ours() and self._keeps(current):
                self._reserve(current)
                self._write(current)
        self.calls.clear()
        if self._source is not None:
            self._source.clear()

    def _keeps(self, current: TestTrace) -> bool:
        has_begun = current.has_scope or current.header.outcome != "skipped"  # a marker skips before any fixture
        return (self._trace == "on" and has_begun) or (self._trace == "retain-on-failure" and current.has_failed)

    def interrupted(self) -> None:
        """Write the trace of the test that was interrupted by the keyboard, or by `pytest.exit`."""
        current, self._current = self._current, None
        item = current.item if current is not None else self._starting and self._starting[0]
        if self._trace != "off" and item:
            with self._guarded(item):
                self._interrupted(current)

    def _interrupted(self, current: Optional[TestTrace]) -> None:
        if current is None and self._starting is not None:
            current = TestTrace(*self._starting)  # in its setup
        if current is None or not current.is_ours():
            return
        phase = _PHASES[min(len(current.phases), 2)]
        began = max([current.began, *(one.began + one.duration for one in current.phases)])
        current.phases.append(Phase(phase, "running", began, 0.0))
        header = current.header
        header.outcome, header.phase, header.error_summary = "unknown", phase, "KeyboardInterrupt"
        header.notes.append("The run was interrupted during this test.")
        self._gather(current)
        self._reserve(current)
        self._write(current)

    # --- parts of a trace

    def _note_failure(self, current: TestTrace, report: pytest.TestReport, call: pytest.CallInfo[None]) -> None:
        """Note the text and the line of a failure; of the first one, where several phases fail."""
        header, summary = current.header, first_line(call)
        if current.has_failed:
            header.notes.append(f"The {report.when} failed as well: {summary}")
            return
        header.outcome = "failed" if report.when == "call" else "error"
        header.phase = report.when or ""
        header.error = report.longreprtext[:ERROR_CHARACTERS]
        header.error_summary = summary
        line = failing_line(current.item, call)
        if line is not None:
            header.error_source = source_of(*line, self._root, self.calls.redactor.redacted)

    def _gather(self, current: TestTrace) -> None:
        """Note what is known only while the test's account exists."""
        scope, header = current.item.stash.get(SCOPE, None), current.header
        if scope is None:
            return
        with self.calls.paused():
            found = scope.facts(LOG_LINES)
        header.target, header.isolation, header.log = found.target, found.isolation, found.log
        header.unused = [self._shown(one) for one in found.unused]

    def _shown(self, control: UnusedControl) -> UnusedControl:
        path, _colon, line = control.source.rpartition(":")
        return replace(control, source=f"{shown_path(path, self._root)}:{line}" if path else "")

    def _build(self, current: TestTrace) -> Trace:
        header, source = current.header, self._source
        steps = [] if source is None else source.steps(current.began)
        every, clock = assemble(header.title, self._root, steps, current.phases, self.calls)
        redact_steps(every, self.calls.redactor)
        header = redact_header(header, self.calls.redactor.redacted)
        end = max([time.time() if one.outcome == "running" else one.began + one.duration for one in current.phases])
        accounts = {step.account for step in steps}
        names = {} if source is None else source.names
        kept: dict[str, str] = current.item.stash.get(KEPT, {})
        return Trace(
            replace(
                header,
                start=round(current.began + clock, 6),
                duration_ms=round((end - current.began) * 1000, 3),
                accounts={id: name for id, name in names.items() if id in accounts},
                cost_usd=round(sum(map(cost, steps)), 6),
                unused=[described(one, every) for one in header.unused],
                kept=dict(kept),
                notes=[*header.notes, *self._notes()],
            ),
            every,
        )

    def _notes(self) -> list[str]:
        dropped = self.calls.dropped
        return [f"{dropped} further calls were not recorded."] if dropped else []

    # --- files

    def _reserve(self, current: TestTrace) -> None:
        """Make the file, so that reports can name it. A failure to do so is reported at the end of the run."""
        if current.page is not None or current.problem:
            return
        try:
            current.page = _trace_files.reserve(self._config, current.item.nodeid, current.attempt)
            current.problem = "" if current.page is not None else "pytest has no cache directory"
        except Exception as error:
            self._fail(current, error)

    def _write(self, current: TestTrace) -> None:
        if current.page is None:
            return
        from caged.emulator.trace.page import write_files  # only where a test has failed

        try:
            write_files(self._build(current), current.page)
        except Exception as error:
            # Whatever goes wrong here is not a failure of the test.
            self._fail(current, error)
            return
        header = current.header
        cause = self.calls.redactor.redacted(header.error_summary)
        _summary.add_trace(self._config, header.title, cause, str(current.page), header.outcome)

    def _fail(self, current: TestTrace, error: Exception) -> None:
        current.page, current.problem = None, str(error) or type(error).__name__
        text = f"its trace could not be written: {type(error).__name__}: {error}"
        _summary.add(self._config, _summary.NOTES, current.item.nodeid, [text])

    def _link(self, current: TestTrace, report: pytest.TestReport) -> None:
        """Name the file in the report: as a property in JUnit XML, as a link where pytest-html is used."""
        if current.page is None:
            return
        config, page = self._config, current.page
        value = (PROPERTY, relative(page, config.getoption("xmlpath", default=None), config))
        for properties in (current.item.user_properties, report.user_properties):
            properties[:] = [one for one in properties if one[0] != PROPERTY] + [value]
        if config.pluginmanager.hasplugin("html"):
            with contextlib.suppress(Exception):
                extras_of = importlib.import_module("pytest_html.extras")
                target = relative(page, config.getoption("htmlpath", default=None), config)
                extras: list[Any] = getattr(report, "extras", [])
                setattr(report, "extras", [*extras, extras_of.url(target, name="caged trace")])  # noqa: B010


def traces_of(config: pytest.Config) -> Optional[Traces]:
    """The traces of the run, once a fixture was used; None where neither a trace nor a report is wanted."""
    return config.stash.get(_TRACES, None)


def _uninstall(before: Optional[Observer]) -> None:
    install(before)
