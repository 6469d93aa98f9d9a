"""/_emulator/clock: the time of an account."""

from __future__ import annotations

from typing import Any, Optional, Union

from starlette.responses import Response

from ...control.clock import Advance, Tick, from_rfc3339, rfc3339
from ...control.schema import options_model, values_in
from ...platform.errors import invalid
from ..operation import Body, Call, EmptyBody, Model, json_reply
from .operations import AdminOperations

operations = AdminOperations()
_LONGEST = 100 * 366 * 86400.0
_LATEST = from_rfc3339("9000-01-01T00:00:00Z")


class Time(Model):
    """`now`: RFC 3339. `epoch`: the same in seconds. `frozen`: it moves only by `advance` and `tick`."""

    now: str
    epoch: float
    frozen: bool


class Freeze(Body):
    """`at`: RFC 3339, or seconds since the epoch; now when it is left out."""

    at: Optional[Union[float, str]] = None


AdvanceIn = options_model("Advance", Advance, Body, "How far, all parts added up.")
TickIn = options_model("Tick", Tick, Body, "How far.")


def _clock_reply(call: Call[Any]) -> Response:
    now, frozen = call.platform.clock.now(call.account.id)
    return json_reply(Time(now=rfc3339(now), epoch=now, frozen=frozen))


@operations.call("GET", "/clock", "clock.get", reply=Time)
async def get(call: Call[EmptyBody]) -> Response:
    return _clock_reply(call)


@operations.call("POST", "/clock/freeze", "clock.freeze", Freeze, reply=Time)
async def freeze(call: Call[Freeze]) -> Response:
    """Stop the time. Setting it costs nothing: no sandbox has been running or idle for longer by it."""
    at = call.body.at
    if isinstance(at, str):
        try:
            at = from_rfc3339(at)
        except ValueError as error:
            raise invalid(f"at: {error}") from None
    if at is not None and not 0 <= at <= _LATEST:
        raise invalid("at: must be between 1970-01-01T00:00:00Z and 9000-01-01T00:00:00Z")
    call.platform.scheduler.freeze(call.account.id, at)
    return _clock_reply(call)


@operations.call("POST", "/clock/unfreeze", "clock.unfreeze", reply=Time)
async def unfreeze(call: Call[EmptyBody]) -> Response:
    """Let the time go on from where it stands."""
    call.platform.clock.unfreeze(call.account.id)
    return _clock_reply(call)


@operations.call("POST", "/clock/advance", "clock.advance", AdvanceIn, reply=Time)
async def advance(call: Call[Body]) -> Response:
    """Move the time on, frozen or not. What becomes due on the way (sleep, budgets, alerts) has happened when this is
    answered."""
    if not call.body.model_fields_set:
        raise invalid(f"say how far: give one of {', '.join(AdvanceIn.model_fields)}")
    return await _advance(call, Advance(**values_in(Advance, call.body)).total)


@operations.call("POST", "/clock/tick", "clock.tick", TickIn, reply=Time)
async def tick(call: Call[Body]) -> Response:
    """Move the time on by a second, or by as many as given."""
    return await _advance(call, Tick(**values_in(Tick, call.body)).seconds)


@operations.call("DELETE", "/clock", "clock.reset", reply=Time)
async def reset(call: Call[EmptyBody]) -> Response:
    """Return to the emulator's own time."""
    call.platform.scheduler.reset(call.account.id)
    return _clock_reply(call)


async def _advance(call: Call[Any], seconds: float) -> Response:
    if not 0 <= seconds <= _LONGEST:
        raise invalid(f"the clock advances by 0 seconds to a hundred years, not by {seconds:g} seconds")
    if call.platform.clock.latest(call.account.id) + seconds > _LATEST:
        raise invalid(f"the clock cannot advance by {seconds:g} seconds: the latest time is 9000-01-01T00:00:00Z")
    await call.platform.scheduler.advance(call.account.id, seconds)
    return _clock_reply(call)
