"""What is kept has a bound in bytes: the oldest goes first, and what stays says so. (The numbers: docs/limits.md.)"""

from __future__ import annotations

import asyncio
import gc
import json
import tracemalloc
from collections.abc import Callable

import pytest

from caged.emulator.control import capacity, journal, steps
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
    """Characters of all texts in the entries of a journal."""
    return sum(capacity.size_of(vars(one)) for one in kept)  # type: ignore[attr-defined]


FILL: dict[str, Callable[[Journal, int], None]] = {
    "commands": lambda pages, n: pages.add_command(command(f"{n} " + "c" * 60_000, "o" * 16_000)),
    "commands without output": lambda pages, n: pages.add_command(command(f"{n} " + "c" * 65_000, "")),
    "prompts": lambda pages, n: pages.add_prompt(prompt(f"{n} " + "p" * 100_000, "r" * 100_000)),
    "events": lambda pages, n: pages.add_event(event({"n": n, "x": "e" * 200_000}, n), 200_000),
}


@pytest.mark.parametrize("kind", FILL)
def test_a_kind_of_the_journal_has_a_bound_and_every_record_stays(kind: str):
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
def test_a_kind_of_the_journal_has_a_number_of_records(kind: str):
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
        ("/", "", ["w"] * 100_000, b""),
        ("/", "", [], b"x" * 10_000_000),
    ],
)
def test_requests_have_a_bound_whatever_is_long_in_them(path: str, query: str, warnings: list[str], body: bytes):
    pages = Journal()
    for _ in range(1200):
        entry = pages.add(RequestRecord("", "PUT", path, "x", query=query, warnings=list(warnings)))
        pages.finish(entry, body, body)
    assert len(pages.of("").requests) == 1200
    size = sum(capacity.size_of(vars(entry)) for entry in pages.of("").requests)
    assert size < journal.KEEP_BYTES + 1200 * 1000
    assert len(pages.of("").requests[-1].warnings) <= journal.WARNINGS + 1


# --- events


def test_one_history_has_a_bound():
    history = History()
    for number in range(600):
        history.append(event("x" * 100_000, number), 0.0, 100_000)
    assert sum(weight for _event, weight in history.kept) <= MOST_BYTES
    assert history.count == 600


def test_all_histories_of_an_account_have_a_bound_and_the_oldest_events_go_first():
    limiter, histories = EventLimiter(), [History() for _ in range(40)]
    for number in range(120):
        for history in histories:
            history.append(event(f"{number} " + "x" * 50_000, number), 0.0, 50_000, limiter)
    kept = [len(history.kept) for history in histories]
    assert sum(weight for history in histories for _event, weight in history.kept) <= ACCOUNT_BYTES
    assert max(kept) - min(kept) <= 1, "in whichever history they are"
    assert all(history.kept[-1][0].sequence == 119 for history in histories)


def test_a_history_that_is_gone_makes_room_and_is_not_kept_by_its_account():
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


def test_a_restored_history_counts_too():
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
    "many numbers": lambda: list(range(1_000_000)),
    "many empty lists": lambda: [[] for _ in range(300_000)],
    "many keys": lambda: {str(number): 1 for number in range(300_000)},
    "long keys": lambda: {"k" * 100_000 + str(number): 1 for number in range(50)},
    "a deep list": deep_list,
}


@pytest.mark.parametrize("name", VALUES)
def test_one_event_has_a_bound_whatever_it_holds(name: str):
    value = VALUES[name]()
    redactor = EventRedactor(())
    data = redactor.redact({"value": value})
    assert capacity.size_of(data) <= EVENT + TEXT + 1000
    assert redactor.weight <= EVENT + TEXT + 1000
    assert "dropped" in str(data) or "more characters" in str(data)


def test_a_page_of_events_has_a_bound_and_the_next_one_goes_on():
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
def test_stubs_of_an_account_have_room_for_so_much_text(text: object):
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
def test_there_is_a_number_of_controls(kind: str, monkeypatch):
    async def check() -> None:  # a fault has an asyncio.Event, which Python 3.9 makes on a loop alone
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


def test_answers_that_no_shell_fetches_have_a_bound():
    stubs = Stubs(Randomness(1))
    for number in range(100):
        stubs.add_pending(str(number), "cage", Output("x" * MIB))
    left = [number for number in range(100) if stubs.take_pending(str(number), "cage") is not None]
    assert left == list(range(100 - PENDING_CHARACTERS // MIB, 100))
    stubs.add_pending("after", "cage", Output("x"))
    assert stubs.take_pending("after", "cage") is not None


def test_the_message_of_a_callback_error_has_a_bound():
    errors = CallbackErrors(Randomness(1))
    made = errors.add(
        at="", account="a", sandbox="b", control="c", described="d", error=ValueError("x" * 5_000_000), allowed=False
    )
    assert len(made.error) + len(made.traceback) < 2 * TRACEBACK_CHARACTERS + 200


# --- over the wire


def test_commands_of_megabytes_keep_the_journal_small(api):
    box = api.sandbox()
    for number in range(5):
        answer = api.post(f"/sandboxes/{box}/exec", json={"command": f"true {number} # " + "x" * 5_000_000})
        assert answer.json()["exit_code"] == 0
    ran = api.emulator.journal.commands(box, account=api.account_id)
    assert [one.command.split()[1] for one in ran] == [str(number) for number in range(5)]
    assert all(len(one.command) < journal.TEXT_CHARACTERS + 100 for one in ran)
    assert "more characters" in ran[0].command
    events = api.emulator.journal.events(box, type="command", account=api.account_id)
    assert all(len(one.data["command"]) < TEXT + 100 for one in events)
    assert all(len(line["message"]) < 1000 for line in api.logs(box))


def test_a_long_line_of_a_log_is_cut(api):
    box = api.sandbox()
    platform = api.emulator._running().platform

    async def note() -> None:
        platform.recorder.log(platform.store.sandboxes[box], "x" * 1_000_000)

    api.emulator._call(note())
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
def test_details_of_steps_have_a_bound_in_memory_and_every_step_stays(detail: dict[str, object]):
    kept = Steps(Clock())
    tracemalloc.start()
    try:
        for number in range(3000):
            fill_steps(kept, 1, **json.loads(json.dumps({**detail, "error": f"{number}"})))
        gc.collect()
        used = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    log = list(kept.of("acct"))
    assert len(log) == 3000, "steps stay"
    assert used < steps.KEEP_BYTES + 3000 * 2 * steps.STEP_BYTES
    assert "dropped" in log[0].detail
    assert "dropped" not in log[-1].detail


def test_steps_have_a_bound_and_the_oldest_go_first():
    kept = Steps(Clock())
    fill_steps(kept, steps.KEEP + 500)
    log = kept.of("acct")
    assert (len(log), log.dropped) == (steps.KEEP, 500)
    assert next(iter(log)).title == "$ 500"


def test_a_step_takes_about_what_is_counted_for_it():
    kept = Steps(Clock())
    tracemalloc.start()
    try:
        fill_steps(kept, 2000)
        used = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert used / 2000 < 2 * steps.STEP_BYTES


def test_step_that_ends_after_it_was_removed_does_not_come_back():
    kept = Steps(Clock())
    long = kept.begin("command", "$ long", account="acct", command="long", source="exec")
    fill_steps(kept, steps.KEEP)
    kept.finish(long, "ok", exit_code=0)
    assert long.id not in [step.id for step in kept.of("acct")]
    assert len(kept.of("acct")) == steps.KEEP


def test_step_of_an_account_that_was_deleted_makes_no_log():
    kept = Steps(Clock())
    late = kept.begin("command", "$ late", account="acct", command="late", source="exec")
    kept.drop("acct")
    kept.finish(late, "ok")
    assert kept.known(None) == []


def test_running_commands_of_sandboxes_are_forgotten_when_they_end():
    kept = Steps(Clock())
    fill_steps(kept, 100)
    assert kept._running == {}
