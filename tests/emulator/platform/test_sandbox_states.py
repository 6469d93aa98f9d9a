"""The table of a sandbox's states, as a table: every state with every change."""

from __future__ import annotations

from typing import get_args

import pytest
from cases import each

from caged.emulator.platform import sandbox_states
from caged.emulator.platform.errors import ApiError
from caged.emulator.platform.sandbox_states import STATES, TRANSITIONS, Change
from caged.emulator.store import Sandbox

CHANGES = get_args(Change)
#: The state after each change, `-` where it is not possible. Written out, so that a change of the table is a decision.
EXPECTED = """
             pending    running    paused     stopped    error      destroyed
    ready    running    -          -          -          -          -
    fail     error      -          -          -          -          -
    pause    -          paused     -          -          -          -
    resume   -          -          running    running    -          -
    stop     -          stopped    stopped    -          -          -
    lose     error      error      error      -          -          -
    destroy  destroyed  destroyed  destroyed  destroyed  destroyed  destroyed
"""
_HEAD, *_ROWS = (line.split() for line in EXPECTED.strip().splitlines())
CASES = [(state, row[0], after) for row in _ROWS for state, after in zip(_HEAD, row[1:])]


def sandbox(status: str) -> Sandbox:
    return Sandbox("cage_1", "acct_1", "minimal", 1, 128, 1, "full", 60, "2026-01-01T00:00:00Z", status=status)


def test_the_expected_table_has_every_state_and_every_change():
    assert sorted(_HEAD) == sorted(STATES)
    assert sorted(row[0] for row in _ROWS) == sorted(CHANGES) == sorted(TRANSITIONS)


@each(("state", "change", "after"), CASES)
def test_a_change_leads_to_the_state_of_the_table_or_is_impossible(state, change, after):
    box = sandbox(state)
    assert sandbox_states.can(box, change) is (after != "-")
    if after == "-":
        with pytest.raises(sandbox_states.InvalidTransition, match=f"cage_1 is {state}; '{change}'"):
            sandbox_states.apply(box, change)
        assert box.status == state
    else:
        sandbox_states.apply(box, change)
        assert box.status == after


def test_every_state_is_reached_from_pending():
    reached, before = {"pending"}, set()
    while reached != before:
        before = set(reached)
        reached |= {after for table in TRANSITIONS.values() for state, after in table.items() if state in before}
    assert reached == set(STATES)


def test_error_can_only_become_destroyed_and_destroyed_is_final():
    out = {(state, after) for table in TRANSITIONS.values() for state, after in table.items() if state != after}
    assert [after for state, after in out if state == "error"] == ["destroyed"]
    assert [after for state, after in out if state == "destroyed"] == []


@pytest.mark.parametrize(("change", "needed"), [("pause", "running"), ("resume", "paused")])
@pytest.mark.parametrize("state", STATES)
def test_a_call_in_another_state_is_a_409_that_names_both_states_and_a_404_when_destroyed(state, change, needed):
    box = sandbox(state)
    if sandbox_states.can(box, change):
        sandbox_states.require(box, change)
        return
    with pytest.raises(ApiError) as raised:
        sandbox_states.require(box, change)
    if state == "destroyed":
        assert (raised.value.status, raised.value.detail) == (404, "sandbox not found: cage_1")
    else:
        detail = f"sandbox cage_1 is {state}; {change} needs a {needed} one"
        assert (raised.value.status, raised.value.code, raised.value.detail) == (409, "invalid_state", detail)


def test_a_change_that_was_begun_in_one_state_needs_that_state_after_each_wait():
    sandbox_states.require(sandbox("paused"), "resume", "paused")
    for state in ("stopped", "running"):
        with pytest.raises(ApiError, match=f"is {state}; resume needs a paused one"):
            sandbox_states.require(sandbox(state), "resume", "paused")
