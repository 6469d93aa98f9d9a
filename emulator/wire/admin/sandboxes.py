"""/_emulator/sandboxes: spend money in a sandbox."""

from __future__ import annotations

from starlette.responses import Response

from ...platform.errors import invalid
from ..operation import Body, Call, json_reply
from ..sandboxes import SandboxOut, serialize
from .controls import named_sandbox
from .operations import AdminOperations

operations = AdminOperations()


class Spend(Body):
    """`usd`: what is added to the sandbox's cost, in US dollars."""

    usd: float


@operations.call("POST", "/sandboxes/{id}/spend", "spend", Spend, reply=SandboxOut)
async def spend(call: Call[Spend]) -> Response:
    """Spend money in a sandbox of any account, with `account` of that account, as its agents do. Alerts, and the pause
    at the end of the budget, have happened when this is answered."""
    if call.body.usd < 0:
        raise invalid("usd: must not be negative; nothing is taken back")
    sandbox = named_sandbox(call)
    await call.platform.scheduler.spend(sandbox, call.body.usd)
    return json_reply(serialize(sandbox, call.platform.clock.now(sandbox.account_id)[0]))
