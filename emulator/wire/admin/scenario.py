"""/_emulator/scenario: everything that a suite starts with, in one call."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.responses import Response

from ...platform.refusal import invalid
from ..operation import Body, Call, Model, json_reply
from .operations import Admin, one

operations = Admin()


class LoadScenario(Body):
    """`scenario`: what a scenario file holds, as JSON."""

    scenario: dict[str, Any]


class LoadedOut(Model):
    """Ids of sandboxes by their names, secrets of keys by theirs."""

    sandboxes: dict[str, str]
    keys: dict[str, str]


@operations.call("POST", "/scenario", "scenario", LoadScenario, reply=LoadedOut, status=201)
async def load(call: Call[LoadScenario]) -> Response:
    """Makes what the scenario says, in the account. 400 names the entry that cannot be made; what came before it
    stays."""
    from ...double.remote import RemoteEmulator
    from ...scenario import ScenarioError, apply
    from ...scenario.reading import from_document

    account, services = one(call.account), call.platform.services
    key = call.platform.accounts.full_key(account).secret

    def work() -> LoadedOut:
        with RemoteEmulator(services.base_url, services.admin_key, account=account.id) as double:
            loaded = apply(from_document(call.body.scenario), double, key)
            return LoadedOut(sandboxes=loaded.sandboxes, keys=loaded.keys)

    try:
        return json_reply(await asyncio.to_thread(work), 201)
    except ScenarioError as error:
        raise invalid(str(error)) from None
