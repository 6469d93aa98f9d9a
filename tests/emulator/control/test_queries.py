"""Every list takes `last` and an account, and `sandbox` where its entries may be about one."""

from __future__ import annotations

import pytest

LISTS = {
    "requests": lambda e, **query: e.journal.requests(**query),
    "commands": lambda e, **query: e.journal.commands(**query),
    "prompts": lambda e, **query: e.journal.prompts(**query),
    "events": lambda e, **query: e.journal.events(**query),
    "faults": lambda e, **query: e.faults.list(**query),
    "stubs": lambda e, **query: e.commands.list(**query),
    "replies": lambda e, **query: e.agents.list(**query),
    "replies of one": lambda e, **query: e.agent("claude").list(**query),
    "snapshots": lambda e, **query: e.inventory.snapshots(**query),
    "sandboxes": lambda e, **query: e.inventory.sandboxes(**query),
}


@pytest.fixture
def filled(either, client):
    """Two sandboxes, with an entry of each kind for each of them."""
    boxes = [client.sandboxes.create(template="minimal", agents=["claude"]).id for _ in range(2)]
    for box in boxes:
        client.sandboxes.exec(box, "echo hello")
        client.sandboxes.exec(box, "claude -p hello")
        client.snapshots.create(box, "one")
        either.faults.add("sandboxes.exec", status=503, sandbox=box, optional=True)
        either.commands.stub("no such command", sandbox=box, optional=True)
        either.agent("claude").reply("x", optional=True)
    return either, boxes


def test_every_list_takes_last_and_account_and_sandbox(filled, emulator):
    either, (box, other) = filled
    empty = emulator.create_account("empty")
    for name, listed in LISTS.items():
        (newest,) = listed(either, last=1)
        every = listed(either)
        assert len(every) >= 2, name
        assert newest in every[1:], name
        assert listed(either, account=empty.id) == [], name
        with pytest.raises(ValueError, match="last: must be at least 1"):
            listed(either, last=0)
        if name == "sandboxes":
            continue
        of_one = listed(either, sandbox=box)
        assert of_one, name
        if name.startswith("replies"):
            assert of_one == every, "a reply applies in every sandbox"
            continue
        sandboxes = {getattr(one, "sandbox", None) or one.options.get("sandbox") for one in of_one}
        assert sandboxes == {box}, name
        assert other not in sandboxes
    emulator.remove_account(empty.id)


def test_get_remove_and_clear_are_the_same_for_each_kind_of_control(filled):
    either, _boxes = filled
    for controls in (either.faults, either.commands, either.agents):
        first, second = controls.list()
        assert controls.get(first.id) == first
        controls.remove(first.id)
        assert controls.list() == [second]
        assert controls.list(unused=True) == controls.unused() == [], "optional ones are not reported"
        controls.clear()
        assert controls.list() == []


WRONG_VALUES = [
    ("/faults", {"unused": "maybe"}, "unused: must be true or false, not 'maybe'"),
    ("/faults", {"last": "1.5"}, "last: must be a whole number, not '1.5'"),
    ("/faults", {"last": "0"}, "last: must be at least 1, not 0; leave it out for all"),
    ("/faults", {"last": f"{'9' * 100}x"}, f"last: must be a whole number, not '{'9' * 99}…"),
    ("/log", {"last": "-3"}, "last: must be at least 1, not -3; leave it out for 20"),
    ("/journal/requests", {"status": "ok"}, "status: 'ok' is not a whole number"),
    ("/journal/steps", {"after": "x"}, "after: must be a whole number, not 'x'"),
    ("/journal/steps", {"after": "-1"}, "after: must be at least 0, not -1; leave it out for all"),
    ("/sockets", {"wait": "soon"}, "wait: must be seconds from 0 to 5, not 'soon'"),
]


def test_wrong_value_of_query_is_refused_with_what_was_given_and_what_is_allowed(admin):
    for path, query, detail in WRONG_VALUES:
        refused = admin.get(f"/_emulator{path}", params=query)
        assert (refused.status_code, refused.json()["detail"]) == (400, detail), path
