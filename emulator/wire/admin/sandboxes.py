"""/_emulator/sandboxes: what can be done to a sandbox that its user cannot."""

from __future__ import annotations

from starlette.responses import Response

from ...platform.errors import invalid
from ..operation import Body, Call, json_reply
from ..sandboxes import SandboxOut, serialize
from .operations import Admin

operations = Admin()


class Spend(Body):
    """USD that its agents have spent, from now on."""

    usd: float


@operations.call("POST", "/sandboxes/{id}/spend", "spend", Spend, reply=SandboxOut)
async def spend(call: Call[Spend]) -> Response:
    """Counts against its budget: alerts, and the pause at its end, have happened when this is answered."""
    if call.body.usd < 0:
        raise invalid("usd: must not be negative; nothing is taken back")
    sandbox = call.platform.sandboxes.of_any(call.param("id"))
    await call.platform.scheduler.spend(sandbox, call.body.usd)
    return json_reply(serialize(sandbox, call.platform.clock.now(sandbox.account_id)[0]))
