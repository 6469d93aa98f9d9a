"""What the tests of events, sessions and trust scores share."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from emulator_testing import Api, eventually
from internals import platform_of

from caged.emulator import PromptSandbox, PromptText, Reply
from caged.emulator.control.agents import Prompt
from caged.emulator.platform import limits


def recorded(api: Api, sandbox: str, kind: str = "") -> list[Any]:
    """The events of a sandbox as the emulator keeps them, whether there was a session or not."""
    events = platform_of(api.emulator).store.sandboxes[sandbox].history.events()
    return [event for event in events if not kind or event.type == kind]


def sessions(api: Api, sandbox: str) -> list[dict[str, Any]]:
    answer = api.get(f"/sandboxes/{sandbox}/sessions")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()
    return found


def session(api: Api, sandbox: str) -> dict[str, Any]:
    """The only one."""
    (found,) = sessions(api, sandbox)
    return found


def replay(api: Api, session_id: str, **query: Any) -> dict[str, Any]:
    answer = api.get(f"/sessions/{session_id}/replay", params=query)
    assert answer.status_code == 200, answer.text
    page: dict[str, Any] = answer.json()
    return page


def ingest(api: Api, *events: dict[str, Any]) -> dict[str, int]:
    answer = api.post("/events/ingest", json={"events": [{"timestamp": "2026-01-31T12:00:00Z", **e} for e in events]})
    assert answer.status_code == 200, answer.text
    counts: dict[str, int] = answer.json()
    return counts


def script(api: Api, *replies: Reply) -> list[Prompt]:
    """Let all agents of the account give these replies in turn, the last one repeatedly. Return what they receive."""
    prompts: list[Prompt] = []

    def reply(prompt: PromptText, _box: PromptSandbox) -> Reply:
        prompts.append(Prompt(**vars(prompt)))
        return replies[min(len(prompts), len(replies)) - 1]

    answer_all(api, reply)
    return prompts


def answer_all(api: Api, function: Callable[[PromptText, PromptSandbox], Reply]) -> None:
    """Let a function answer all prompts of the account, in place of one that did so before."""
    controls = api.emulator.for_account(api.account_id)
    controls.agents.clear()
    for agent in limits.AGENTS:
        controls.agent(agent).reply(function, optional=True, allow_errors=True)


@contextmanager
def at_work(api: Api, sandbox: str, reply: Sequence[Any] = ("done\n",)) -> Iterator[str]:
    """The id of a session that is active as long as the block; its agent answers `Reply(*reply)` then."""
    go = threading.Event()

    def slow(_prompt: PromptText, _box: PromptSandbox) -> Reply:
        assert go.wait(60)
        return Reply(*reply)

    answer_all(api, slow)
    before = {found["id"] for found in sessions(api, sandbox)}
    asking = threading.Thread(target=lambda: api.run(sandbox, "claude -p work"))
    asking.start()
    try:
        new = eventually(lambda: [s for s in sessions(api, sandbox) if s["id"] not in before], "the session to begin")
        yield str(new[0]["id"])
    finally:
        go.set()
        asking.join(60)
        api.emulator.for_account(api.account_id).agents.clear()
