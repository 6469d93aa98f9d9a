"""/_emulator/status, /_emulator/log and /_emulator/shared-controls: what is about the emulator itself."""

from __future__ import annotations

from typing import Optional

from starlette.responses import Response

from caged import __version__

from ...cage.probe import describe
from ...control.queries import SharedControlQuery
from ...control.records import SharedControl
from ...platform.errors import invalid
from ...platform.shared_controls import shared_controls
from ..operation import Call, EmptyBody, Model, json_reply
from .operations import AdminOperations
from .record_lists import record_list

operations = AdminOperations()


class Status(Model):
    """`tier`: the plan with which the emulator was started; null: the limits of plans do not apply."""

    version: str
    isolation: str
    isolation_refused: list[str]
    accounts: int
    sandboxes: int
    snapshots: int
    tier: Optional[str]


class LogOut(Model):
    lines: list[str]


@operations.call("GET", "/status", "status", reply=Status)
async def status(call: Call[EmptyBody]) -> Response:
    platform = call.platform
    return json_reply(
        Status(
            version=__version__,
            isolation=platform.isolation.level,
            isolation_refused=[describe(verdict) for verdict in platform.probe_results if not verdict.works],
            accounts=len(platform.store.accounts),
            sandboxes=len(platform.store.sandboxes),
            snapshots=len(platform.store.snapshots),
            tier=platform.config.tier,
        )
    )


@operations.call("GET", "/log", "log", reply=LogOut, query={"last": int})
async def log(call: Call[EmptyBody]) -> Response:
    """The newest lines of the emulator's own log, oldest first: 20, or as many as `last` says. Lines about other
    accounts are left out, unless `account` is `*`."""
    last = call.query_int("last")
    if last is not None and last < 1:
        raise invalid(f"last: must be at least 1, not {last}; leave it out for 20")
    return json_reply(LogOut(lines=call.platform.log_tail(last or 20, call.account.id)))


@record_list(
    operations, "/shared-controls", "shared_controls.list", SharedControl, "SharedControlOut", query=SharedControlQuery
)
async def list_shared_controls(call: Call[EmptyBody]) -> list[SharedControl]:
    """The faults, stubs and agents' replies that apply to all accounts, and the time if it was changed for all; `last`:
    the last so many. A request names the owner of what it adds by the header `Caged-Owner`."""
    return shared_controls(call.platform)
