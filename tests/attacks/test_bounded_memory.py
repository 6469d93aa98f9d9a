"""Everything that the emulator keeps has a limit in bytes: the oldest is dropped first, and a marker says so.

The numbers are in docs/limits.md.
"""

from __future__ import annotations

import asyncio
import gc
import json
import tracemalloc
from collections.abc import Callable

import pytest
from internals import call_on_loop, platform_of

from caged.emulator.control import capacity, journal, step_log
from caged.emulator.control.callbacks import TRACEBACK_CHARACTERS, CallbackErrors
from caged.emulator.control.clock import Clock
from caged.emulator.control.fault_registry import Faults
from caged.emulator.control.journal import Journal
from caged.emulator.control.patterns import TextPattern
from caged.emulator.control.randomness import Randomness
from caged.emulator.control.records import CommandRecord, PromptRecord, RequestRecord
from caged.emulator.control.reply_registry import AgentReplies
from caged.emulator.control.steps import Steps
from caged.emulator.control.stub_registry import PENDING_CHARACTERS, Stubs
from caged.emulator.control.stubs import Output
from caged.emulator.history import ACCOUNT_BYTES, MOST_BYTES, PAGE_BYTES, Event, EventLimiter, History
from caged.emulator.platform.event_redaction import EVENT, TEXT, EventRedactor
from caged.emulator.wire.all_operations import platform_routes

MIB = 1024**2


def command(text: str, output: str) -> CommandRecord:
    return CommandRecord("", "acct", "cage", text, 0, "exec", 1.0, output)


def prompt(text: str, reply: str) -> PromptRecord:
    return PromptRecord("", "acct", "cage", "sess", "claude", "claude", text, [text], "/", reply, 0, 0, 0, 0.0)


def event(data: object, number: int = 1) -> Event:
    return Event(f"evt_{number}", "acct", "cage", "", number, "command", "", 0.0, data)


def texts_of(kept: object) -> int:
    """Count the characters of all texts in the entries of a journal."""
    return sum(capacity.size_of(vars(one)) for one in kept)  # type: ignore[attr-defined]


FILL: dict[str, Callable[[Journal, int], None]] = {
    "commands": lambda pages, n: pages.add_command(command(f"{n} " + "c" * 60_000, "o" * 16_000)),
    "commands without output": lambda pages, n: pages.add_command(command(f"{n} " + "c" * 65_000, "")),
    "prompts": lambda pages, n: pages.add_prompt(prompt(f"{n} " + "p" * 100_000, "r" * 100_000)),
    "events": lambda pages, n: pages.add_event(event({"n": n, "x": "e" * 200_000}, n), 200_000),
}


@pytest.mark.parametrize("kind", FILL)
def test_journal_over_its_byte_limit_drops_texts_but_no_records(kind: str):
    pages = Journal()
    for number in range(1000):
        FILL[kind](pages, number)
    kept = getattr(pages.of("acct"), kind.partition(" ")[0])
    assert len(kept) == 1000, "records stay"
    assert texts_of(kept) < journal.KEEP_BYTES + 1000 * 1000
    oldest, newest = next(iter(kept)), list(kept)[-1]
    assert "dropped" in str(oldest)
    assert "dropped" not in str(newest)
    if kind == "commands":
        assert oldest.command.startswith("0 cccc")
        assert oldest.output == journal.DROPPED
        assert oldest.truncated
    if kind == "commands without output":
        assert len(oldest.command) < 400


@pytest.mark.parametrize("kind", FILL)
def test_journal_keeps_limited_number_of_records(kind: str):
    pages = Journal()
    add = {
        "commands": lambda n: pages.add_command(command(str(n), "")),
        "prompts": lambda n: pages.add_prompt(prompt(str(n), "")),
        "events": lambda n: pages.add_event(event(n, n), 1),
    }[kind.partition(" ")[0]]
    for number in range(journal.KEEP + 50):
        add(number)
    assert len(getattr(pages.of("acct"), kind.partition(" ")[0])) == journal.KEEP


@pytest.mark.parametrize(
    ("path", "query", "warnings", "body"),
    [
        ("/" + "p" * 60_000, "", [], b""),
        ("/", "q=" + "q" * 60_000, [], b""),
        ("/", "", ["w" * 100_000] * 3, b""),
        ("/", "", ["w"] * 10_000, b""),
        ("/", "", [], b"x" * 1_000_000),
    ],
)
def test_requests_with_any_long_field_are_bounded(path: str, query: str, warnings: list[str], body: bytes, monkeypatch):
    # A quarter of the limit, and of the requests: what is counted of a request, and what it takes, are the same.
    monkeypatch.setattr(journal, "KEEP_BYTES", limit := journal.KEEP_BYTES // 4)
    pages = Journal()
    for _ in range(300):
        entry = pages.add(RequestRecord("", "PUT", path, "x", query=query, warnings=list(warnings)))
        pages.finish(entry, body, body)
    assert len(pages.of("").requests) == 300
    size = sum(capacity.size_of(vars(entry)) for entry in pages.of("").requests)
    assert size < limit + 300 * 1000
    assert len(pages.of("").requests[-1].warnings) <= journal.WARNINGS + 1


# --- events


def test_event_history_is_bounded():
    history = History()
    for number in range(600):
        history.append(event("x" * 100_000, number), 0.0, 100_000)
    assert sum(weight for _event, weight in history.kept) <= MOST_BYTES
    assert history.count == 600


def test_event_histories_of_account_are_bounded_together():
    limiter, histories = EventLimiter(), [History() for _ in range(40)]
    for number in range(120):
        for history in histories:
            history.append(event(f"{number} " + "x" * 50_000, number), 0.0, 50_000, limiter)
    kept = [len(history.kept) for history in histories]
    assert sum(weight for history in histories for _event, weight in history.kept) <= ACCOUNT_BYTES
    assert max(kept) - min(kept) <= 1, "in whichever history they are"
    assert all(history.kept[-1][0].sequence == 119 for history in histories)


def test_deleted_event_history_frees_its_share():
    limiter = EventLimiter()
    for _ in range(10):
        history = History()
        for number in range(300):
            history.append(event("x" * 100_000, number), 0.0, 100_000, limiter)
    del history
    gc.collect()
    last = History()
    for number in range(300):
        last.append(event("x" * 100_000, number), 0.0, 100_000, limiter)
    assert len(last.kept) == 300


def test_restored_event_history_counts_towards_limit():
    limiter, old, new = EventLimiter(), History(), History()
    old.restore([(event("x", n), 30 * MIB // 300) for n in range(300)], {"command": 300}, 0.0, 1.0)
    old.append(event("x", 301), 0.0, 100, limiter)
    for number in range(5):
        for _ in range(6):
            new = History()
            new.append(event("y", number), 0.0, 20 * MIB, limiter)
    assert len(old.kept) == 0
    assert old.count == 301


def deep_list() -> object:
    value: object = None
    for _ in range(500):
        value = [value]
    return value


VALUES: dict[str, Callable[[], object]] = {
    "a long text": lambda: "x" * 5_000_000,
    "many texts": lambda: ["x" * 30_000] * 300,
    "many numbers": lambda: list(range(200_000)),
    "many empty lists": lambda: [[] for _ in range(60_000)],
    "many keys": lambda: {str(number): 1 for number in range(60_000)},
    "long keys": lambda: {"k" * 100_000 + str(number): 1 for number in range(50)},
    "a deep list": deep_list,
}


@pytest.mark.parametrize("name", VALUES)
def test_event_with_any_content_is_bounded(name: str):
    value = VALUES[name]()
    redactor = EventRedactor(())
    data = redactor.redact({"value": value})
    assert capacity.size_of(data) <= EVENT + TEXT + 1000
    assert redactor.weight <= EVENT + TEXT + 1000
    assert "dropped" in str(data) or "more characters" in str(data)


def test_page_of_events_is_bounded_and_next_page_continues():
    history = History()
    for number in range(1, 101):
        history.append(event("x" * 200_000, number), 0.0, 200_000)
    seen, after = [], 0
    while True:
        page = history.page(after, 1000)
        assert 1 <= len(page.events) <= PAGE_BYTES // 200_000 + 1
        seen += [one.sequence for one in page.events]
        after = page.next_sequence
        if not page.more:
            break
    assert seen == list(range(1, 101))


# --- controls


@pytest.mark.parametrize("text", ["x" * MIB, ["x" * 1024] * 1024], ids=["one text", "pieces"])
def test_text_of_stubs_is_limited_per_account(text: object):
    stubs = Stubs(Randomness(1))

    def add_many() -> None:
        for _ in range(100):
            stubs.add("acct", match=TextPattern("x"), output=text)  # type: ignore[arg-type]

    with pytest.raises(ValueError, match="the texts of all stubs would have more than 67,108,864 characters"):
        add_many()
    assert capacity.CHARACTERS // MIB - 1 <= len(stubs.list("acct")) <= capacity.CHARACTERS // MIB
    stubs.add("other", match=TextPattern("x"), output=text)  # type: ignore[arg-type]
    stubs.remove(stubs.list("acct")[0])
    stubs.add("acct", match=TextPattern("x"), output="small")


@pytest.mark.parametrize("kind", ["stubs", "replies", "faults"])
def test_number_of_controls_is_limited_per_account(kind: str, monkeypatch):
    async def check() -> None:  # a fault has an asyncio.Event, which needs a loop on Python 3.9
        _check_number_of_controls(kind, monkeypatch)

    asyncio.run(check())


def _check_number_of_controls(kind: str, monkeypatch) -> None:
    monkeypatch.setattr(capacity, "MOST", 20)
    randomness = Randomness(1)
    held = (
        Faults(randomness, platform_routes)
        if kind == "faults"
        else {"stubs": Stubs, "replies": AgentReplies}[kind](randomness)
    )

    def add(account: str) -> None:
        if kind == "stubs":
            held.add(account, match=TextPattern("x"), output="y")
        elif kind == "replies":
            held.add(account, agent="claude-code")
        else:
            held.add(account, operation="sandboxes.get", status=500)

    for _ in range(20):
        add("acct")
    with pytest.raises(ValueError, match=f"there are 20 {kind} already, which is the most; remove some, or reset"):
        add("acct")
    add("other")


def test_pending_stub_output_is_bounded():
    stubs = Stubs(Randomness(1))
    for number in range(100):
        stubs.add_pending(str(number), "cage", Output("x" * MIB))
    left = [number for number in range(100) if stubs.take_pending(str(number), "cage") is not None]
    assert left == list(range(100 - PENDING_CHARACTERS // MIB, 100))
    stubs.add_pending("after", "cage", Output("x"))
    assert stubs.take_pending("after", "cage") is not None


def test_message_of_callback_error_is_bounded():
    errors = CallbackErrors(Randomness(1))
    made = errors.add(
        at="", account="a", sandbox="b", control="c", described="d", error=ValueError("x" * 5_000_000), allowed=False
    )
    assert len(made.error) + len(made.traceback) < 2 * TRACEBACK_CHARACTERS + 200


# --- over the wire


def test_journal_stays_small_after_large_commands(api):
    box = api.sandbox()
    for number in range(5):
        answer = api.post(f"/sandboxes/{box}/exec", json={"command": f"true {number} # " + "x" * 500_000})
        assert answer.json()["exit_code"] == 0
    ran = api.emulator.journal.commands(box, account=api.account_id)
    assert [one.command.split()[1] for one in ran] == [str(number) for number in range(5)]
    assert all(len(one.command) < journal.TEXT_CHARACTERS + 100 for one in ran)
    assert "more characters" in ran[0].command
    events = api.emulator.journal.events(box, type="command", account=api.account_id)
    assert all(len(one.data["command"]) < TEXT + 100 for one in events)
    assert all(len(line["message"]) < 1000 for line in api.logs(box))


def test_long_log_line_is_truncated(api):
    box = api.sandbox()
    platform = platform_of(api.emulator)

    async def note() -> None:
        platform.recorder.log(platform.store.sandboxes[box], "x" * 1_000_000)

    call_on_loop(api.emulator, note())
    assert len(api.logs(box)[-1]["message"]) < 9000


# --- steps


def fill_steps(steps: Steps, count: int, **detail: object) -> None:
    for number in range(count):
        step = steps.begin("command", f"$ {number}", account="acct", sandbox="cage", command=f"{number}", source="exec")
        steps.finish(step, "ok", **detail)


@pytest.mark.parametrize(
    "detail",
    [
        {"output": [[0.1, "x" * 60_000]]},
        {"output": [[0.1, "\U0001f600" * 15_000]]},
        {"output": [[0.1, "xy"] for _ in range(100)]},
        {"changes": [{"path": f"/workspace/{number}", "change": "added", "after": "x" * 100} for number in range(40)]},
    ],
    ids=["a long text", "wide characters", "short pieces", "changes"],
)
def test_steps_over_byte_limit_lose_details_but_stay(detail: dict[str, object], monkeypatch):
    # An eighth of the limit, and of the steps: what is counted of a step, and what it takes, are the same.
    monkeypatch.setattr(step_log, "KEEP_BYTES", limit := step_log.KEEP_BYTES // 8)
    kept, text = Steps(Clock()), json.dumps(detail)
    tracemalloc.start()
    try:
        for number in range(375):
            fill_steps(kept, 1, **json.loads(text), error=f"{number}")
        gc.collect()
        used = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    log = list(kept.of("acct"))
    assert len(log) == 375, "steps stay"
    assert used < limit + 375 * 2 * step_log.STEP_BYTES
    assert "dropped" in log[0].detail
    assert "dropped" not in log[-1].detail


def test_steps_over_limit_drop_oldest_first():
    kept = Steps(Clock())
    fill_steps(kept, step_log.KEEP + 500)
    log = kept.of("acct")
    assert (len(log), log.dropped) == (step_log.KEEP, 500)
    assert next(iter(log)).title == "$ 500"


def test_counted_size_of_step_is_about_its_memory():
    kept = Steps(Clock())
    tracemalloc.start()
    try:
        fill_steps(kept, 2000)
        used = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert used / 2000 < 2 * step_log.STEP_BYTES


def test_step_that_ends_after_removal_stays_removed():
    kept = Steps(Clock())
    long = kept.begin("command", "$ long", account="acct", command="long", source="exec")
    fill_steps(kept, step_log.KEEP)
    kept.finish(long, "ok", exit_code=0)
    assert long.id not in [step.id for step in kept.of("acct")]
    assert len(kept.of("acct")) == step_log.KEEP


def test_step_of_deleted_account_creates_no_log():
    kept = Steps(Clock())
    late = kept.begin("command", "$ late", account="acct", command="late", source="exec")
    kept.drop("acct")
    kept.finish(late, "ok")
    assert kept.known(None) == []


def test_running_commands_of_sandboxes_are_forgotten_when_they_end():
    kept = Steps(Clock())
    fill_steps(kept, 100)
    assert kept._running == {}
