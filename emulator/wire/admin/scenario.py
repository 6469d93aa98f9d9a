"""/_emulator/scenario: make what a scenario file describes, in one call."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Callable

from starlette.responses import Response

from ...platform.errors import invalid
from ..internal_calls import InternalCaller
from ..operation import Body, Call, Model, Operation, json_reply
from .operations import AdminOperations

#: Of a scenario with the content of all its files.
MOST_BYTES = 64 * 1024**2


class LoadScenario(Body):
    """`scenario`: the content of a scenario file, as JSON. A file in a sandbox is its content; `from` is refused, as
    only the program that reads a scenario file can resolve it."""

    scenario: dict[str, Any]


class LoadedOut(Model):
    """Ids of sandboxes by their names, secrets of keys by theirs."""

    sandboxes: dict[str, str]
    keys: dict[str, str]
    added: list[str]


def operations_for(all_operations: Callable[[], Iterable[Operation]]) -> AdminOperations:
    """The operations on scenarios, which call `all_operations`, of which they are some."""
    operations = AdminOperations()

    async def handle(call: Call[LoadScenario]) -> Response:
        return await load(call, InternalCaller(call.platform, call.account, all_operations))

    handle.__doc__ = load.__doc__
    register = operations.call(
        "POST", "/scenario", "load_scenario", LoadScenario, reply=LoadedOut, status=201, most_bytes=MOST_BYTES
    )
    register(handle)
    return operations


async def load(call: Call[LoadScenario], caller: InternalCaller) -> Response:
    """Make what the scenario describes, in the account: all of it or nothing. 400 names the entry that cannot be made.
    For all accounts (`*`) it may have no sandboxes and keys."""
    from ...scenario import ScenarioError
    from ...scenario.applying import apply
    from ...scenario.reading import from_document

    try:
        loaded = await apply(call.platform, call.account, from_document(call.body.scenario), caller)
    except ScenarioError as error:
        raise invalid(str(error)) from None
    return json_reply(LoadedOut(sandboxes=loaded.sandboxes, keys=loaded.keys, added=loaded.added), 201)
