"""/_emulator/clock: the time that an account has."""

from __future__ import annotations

from typing import Any, Optional, Union

from starlette.responses import Response

from ...control.clock import from_rfc3339, rfc3339
from ...platform.errors import invalid
from ..operation import Body, Call, Model, NoBody, json_reply
from .operations import Admin

operations = Admin()
_LONGEST = 100 * 366 * 86400.0
_LATEST = from_rfc3339("9000-01-01T00:00:00Z")


class Time(Model):
    """`now`: RFC 3339. `epoch`: the same in seconds. `frozen`: it moves only when it is told to."""

    now: str
    epoch: float
    frozen: bool


class Freeze(Body):
    """`at`: RFC 3339, or seconds since the epoch; now when it is left out."""

    at: Optional[Union[float, str]] = None


class Advance(Body):
    """How far, all parts added up."""

    seconds: float = 0
    minutes: float = 0
    hours: float = 0
    days: float = 0


class Tick(Body):
    seconds: float = 1


def _shown(call: Call[Any]) -> Response:
    now, frozen = call.platform.clock.now(call.account.id)
    return json_reply(Time(now=rfc3339(now), epoch=now, frozen=frozen))


@operations.call("GET", "/clock", "clock.get", reply=Time)
async def get(call: Call[NoBody]) -> Response:
    return _shown(call)


@operations.call("POST", "/clock/freeze", "clock.freeze", Freeze, reply=Time)
async def freeze(call: Call[Freeze]) -> Response:
    """Time stands from here on. Setting it costs nothing: no sandbox has been running or idle for longer by it."""
    at = call.body.at
    if isinstance(at, str):
        try:
            at = from_rfc3339(at)
        except ValueError as error:
            raise invalid(f"at: {error}") from None
    if at is not None and not 0 <= at <= _LATEST:
        raise invalid("at: must be between 1970-01-01T00:00:00Z and 9000-01-01T00:00:00Z")
    call.platform.scheduler.freeze(call.account.id, at)
    return _shown(call)


@operations.call("POST", "/clock/unfreeze", "clock.unfreeze", reply=Time)
async def unfreeze(call: Call[NoBody]) -> Response:
    """Time goes on from where it stands."""
    call.platform.clock.unfreeze(call.account.id)
    return _shown(call)


@operations.call("POST", "/clock/advance", "clock.advance", Advance, reply=Time)
async def advance(call: Call[Advance]) -> Response:
    """Moves time on, frozen or not. What becomes due on the way (sleep, budgets, alerts) has happened when this is
    answered."""
    body = call.body
    if not body.model_fields_set:
        raise invalid(f"say how far: give one of {', '.join(Advance.model_fields)}")
    return await _advance(call, body.seconds + 60 * body.minutes + 3600 * body.hours + 86400 * body.days)


@operations.call("POST", "/clock/tick", "clock.tick", Tick, reply=Time)
async def tick(call: Call[Tick]) -> Response:
    """A second more, or as many as it says."""
    return await _advance(call, call.body.seconds)


@operations.call("DELETE", "/clock", "clock.reset", reply=Time)
async def reset(call: Call[NoBody]) -> Response:
    """The emulator's own time again."""
    call.platform.scheduler.reset(call.account.id)
    return _shown(call)


async def _advance(call: Call[Any], seconds: float) -> Response:
    if not 0 <= seconds <= _LONGEST:
        raise invalid("time goes forward only, and by a hundred years at the most")
    if call.platform.clock.latest(call.account.id) + seconds > _LATEST:
        raise invalid("time ends with the year 9000")
    await call.platform.scheduler.advance(call.account.id, seconds)
    return _shown(call)
