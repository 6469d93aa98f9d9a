"""Events of sandboxes, as the emulator sees them or a client reports them (docs/contract/wire-contract.md 3.7)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Optional

from ..control.clock import Clock, rfc3339
from ..control.journal import Journal
from ..control.randomness import Randomness
from ..control.records import NAMED_EVENT_TYPES, OTHER_EVENT_TYPE
from ..control.step import Step, StepKind
from ..control.steps import Steps
from ..history import Event, EventLimiter, History
from ..pace import LongWorkLock, Pace
from ..store import AccountRecord, AgentSession, Sandbox, Store
from . import cost
from .errors import invalid
from .event_redaction import EventRedactor
from .redaction import secret_values
from .signals import Signals

BATCH = 1000
#: Entries of an event's `meta`.
META_MOST = 1000


@dataclass(frozen=True)
class EventReport:
    """An event that is not recorded yet. `at`: epoch seconds."""

    type: str
    at: float
    duration_ms: float = 0.0
    payload: Optional[dict[str, Any]] = None
    id: str = ""
    sandbox_id: str = ""
    session_id: str = ""
    process_id: str = ""
    meta: dict[str, str] = field(default_factory=dict)


#: The keys of an event's data that name what it is about; the first that is there is in the title of its step.
_NAMING = ("operation", "tool", "name", "host", "command", "path", "message")
#: The keys of a model call's payload that are counted.
_COUNTED = ("cost_usd", "tokens_in", "tokens_out")


def _is_amount(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1e12


def _without_effect(report: EventReport, sandbox: Optional[Sandbox]) -> list[str]:
    """Return a sentence for each key of a reported model call that is not counted, and for a payload without any."""
    given = {name: value for name, value in (report.payload or {}).items() if name in _COUNTED and value is not None}
    bad = [name for name, value in given.items() if not _is_amount(value)]
    wanted = "it must be a number from 0 up"
    sentences = [f"payload.{name} is not counted: {wanted}, not {repr(given[name])[:60]}" for name in bad]
    if report.payload and not given:
        sentences.append(f"payload is not counted: it has none of {', '.join(_COUNTED)}")
    if sandbox is None and given.get("cost_usd") and "cost_usd" not in bad:
        sentences.append("payload.cost_usd is not counted: the event names no sandbox, itself or by its session")
    return sentences


def _spend(sandbox: Sandbox, session: Optional[AgentSession], payload: dict[str, Any]) -> None:
    """Count a model call that a client has reported: towards the sandbox's `llm_cost` and budget, and towards the
    session where there is one. The names are those of a session's keys, because no source says how the platform
    spells them. Anything but a finite number from 0 up is ignored."""

    def number(name: str) -> float:
        value = payload.get(name)
        return value if _is_amount(value) else 0  # type: ignore[return-value]

    if session is None:
        sandbox.spent_llm += float(number("cost_usd"))
        return
    if isinstance(payload.get("model"), str):
        session.model = payload["model"][:200].encode("utf-8", "replace").decode("utf-8")
    cost.spend(sandbox, session, int(number("tokens_in")), int(number("tokens_out")), float(number("cost_usd")))


class EventSandboxError(Exception):
    """An event names a sandbox that the account does not have, or one that is not its session's."""


class Events:
    def __init__(
        self,
        store: Store,
        clock: Clock,
        randomness: Randomness,
        journal: Journal,
        steps: Steps,
        long_work: LongWorkLock,
        signals: Signals,
    ) -> None:
        self._store = store
        self._clock = clock
        self._randomness = randomness
        self._journal = journal
        self._steps = steps
        self._long_work = long_work
        self._signals = signals
        #: By sandbox: its newest session that has ended, and when, moved along when the account's clock is set.
        self._ended: dict[str, tuple[str, float]] = {}
        #: By account: the order of its events in all histories.
        self._limiters: dict[str, EventLimiter] = {}
        self._signals.connect("session_ended", self._session_ended)
        self._signals.connect("clock_set", self._clock_set)

    def forget(self, account: AccountRecord) -> None:
        """Forget the order of the account's events: its histories are emptied."""
        self._limiters.pop(account.id, None)

    def _session_ended(self, sandbox: Sandbox, session: AgentSession) -> None:
        self._ended[sandbox.id] = (session.id, session.ended_at or 0.0)

    def _clock_set(self, account_id: str, seconds: float) -> None:
        sandboxes = self._store.sandboxes
        for place, (session_id, at) in list(self._ended.items()):
            if place not in sandboxes:
                del self._ended[place]
            elif sandboxes[place].account_id == account_id:
                self._ended[place] = (session_id, at + seconds)

    def _session_during(self, sandbox: Sandbox, began: float) -> Optional[AgentSession]:
        """Return the sandbox's session that was active at `began` or later: an event that took time belongs to it, that
        of the agent's own command included."""
        session = sandbox.agent_session
        if session is None or session.ended_at is None:
            return session
        known, ended = self._ended.get(sandbox.id, ("", 0.0))
        return session if (ended if known == session.id else session.ended_at) >= began else None

    def record(
        self, sandbox: Sandbox, kind: str, data: dict[str, Any], duration_ms: float = 0.0, has_step: bool = False
    ) -> Optional[Step]:
        """Record an event of the emulator's own that is just over.

        Args:
            has_step: Another step shows it.

        Returns:
            The step that was added for it.
        """
        now = self._clock.time()
        session = self._session_during(sandbox, now - duration_ms / 1000)
        report = EventReport(kind, now, duration_ms, data)
        return self._add(sandbox.account_id, sandbox, session, sandbox.history, report, has_step)

    async def ingest(
        self, account: AccountRecord, batch: Sequence[EventReport], warnings: list[str]
    ) -> tuple[int, int]:
        """Record events that a client reports.

        An event that names a sandbox that is not the account's, or a sandbox that is not its session's, is an error;
        those around it are recorded all the same. A session id that the account does not have is accepted: clients
        may choose one. The event then keeps that id and belongs to its sandbox, or to the account.

        Args:
            warnings: Receives a sentence for each event that is an error or whose session is unknown, and for each
                cost or number of tokens that is not counted.

        Returns:
            The numbers of accepted events and of errors.
        """
        if len(batch) > BATCH:
            raise invalid(f"events: {len(batch)} in one batch; send at most {BATCH}")
        accepted = 0
        async with Pace(self._long_work) as pace:
            for number, report in enumerate(batch):
                await pace()
                try:
                    sandbox, session = self._subject_of(account, report)
                except EventSandboxError as error:
                    warnings.append(f"events.{number} is not recorded: {error}")
                    continue
                if report.session_id and session is None:
                    warnings.append(
                        f"events.{number}: the account has no session {report.session_id!r}; the event is recorded"
                        " under that id, but makes no session (an agent does)"
                    )
                history = account.history
                if session is not None:
                    history = session.history
                elif sandbox is not None:
                    history = sandbox.history
                self._add(account.id, sandbox, session, history, report)
                if report.type == "llm_call":
                    warnings.extend(f"events.{number}: {sentence}" for sentence in _without_effect(report, sandbox))
                    if sandbox is not None:
                        _spend(sandbox, session, report.payload or {})
                accepted += 1
        return accepted, len(batch) - accepted

    def _subject_of(
        self, account: AccountRecord, report: EventReport
    ) -> tuple[Optional[Sandbox], Optional[AgentSession]]:
        """The sandbox and the session that an event belongs to.

        The sandbox is None when the event names none, or when its session has outlived it. The session is None when
        the account has none of that id. Another account's session counts as unknown, so that no answer reveals it.
        """
        store = self._store
        session = store.sessions.get(report.session_id)
        if session is not None and session.account_id != account.id:
            session = None
        sandbox_id = report.sandbox_id or (session.sandbox_id if session is not None else "")
        if session is not None and session.sandbox_id != sandbox_id:
            raise EventSandboxError(f"session {session.id} is not one of sandbox {sandbox_id!r}")
        sandbox = store.sandboxes.get(sandbox_id)
        if report.sandbox_id and session is None and (sandbox is None or sandbox.account_id != account.id):
            raise EventSandboxError(f"the account has no sandbox {report.sandbox_id!r}")
        if not report.session_id and sandbox is not None:
            session = self._session_during(sandbox, self._clock.time())
        return sandbox, session

    def _add(
        self,
        account_id: str,
        sandbox: Optional[Sandbox],
        session: Optional[AgentSession],
        history: History,
        report: EventReport,
        has_step: bool = False,
    ) -> Optional[Step]:
        redactor = EventRedactor(secret_values(sandbox) if sandbox is not None else ())
        data = redactor.redact(report.payload)
        counted = session.history if session is not None else history
        event = Event(
            id=redactor.text(report.id) or self._randomness.identifier("evt"),
            account_id=account_id,
            sandbox_id=session.sandbox_id if session is not None else (sandbox.id if sandbox is not None else ""),
            session_id=session.id if session is not None else redactor.text(report.session_id),
            sequence=counted.count + 1,
            type=report.type if report.type in NAMED_EVENT_TYPES else OTHER_EVENT_TYPE,
            timestamp=rfc3339(report.at),
            duration_ms=round(report.duration_ms, 3),
            data=data,
            process_id=redactor.text(report.process_id),
            meta={redactor.text(name): redactor.text(value) for name, value in islice(report.meta.items(), META_MOST)},
        )
        limiter = self._limiters.get(account_id)
        if limiter is None:
            limiter = self._limiters[account_id] = EventLimiter()
        counted.append(event, report.at, redactor.weight, limiter)
        if session is not None and sandbox is not None:
            sandbox.history.append(event, report.at, redactor.weight, limiter)
        self._journal.add_event(event, redactor.weight)
        step = None if has_step else self._add_step(event)
        self._signals.send("event", sandbox=sandbox, event=event)
        return step

    def _add_step(self, event: Event) -> Step:
        kind, title = step_of(event)
        return self._steps.add(
            kind,
            title,
            outcome="error" if event.type == "error" else "ok",
            duration_ms=event.duration_ms,
            account=event.account_id,
            sandbox=event.sandbox_id,
            event=event.type,
            session=event.session_id,
            data=event.data,
        )


def step_of(event: Event) -> tuple[StepKind, str]:
    """The kind and the title of the step that shows an event."""
    data = event.data if isinstance(event.data, dict) else {}
    if event.type == "file_op":
        return "file", f"{data.get('operation', 'file')} {data.get('path', '')}"
    if event.type == "lifecycle":
        return "sandbox", str(data.get("message") or data.get("action") or "lifecycle")
    if event.type == "error":
        return "error", str(data.get("message") or "error")
    known = next((data[name] for name in _NAMING if isinstance(data.get(name), str)), "")
    return "event", f"{event.type} {known}".rstrip()
