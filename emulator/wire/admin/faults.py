"""/_emulator/faults: what is to go wrong. The options are those of `control/faults.py`."""

from __future__ import annotations

from typing import Any, Literal, Optional

from pydantic import Field
from starlette.responses import Response

from ...control.faults import Fault
from ...control.scope import EVERYBODY
from ...platform.refusal import invalid, not_found
from ..operation import Body, Call, Model, NoBody, json_reply, no_content
from .operations import Admin

operations = Admin()


class AddFault(Body):
    """Which calls: `operation` (a pattern such as `snapshots.*`), `method`, `path` (a pattern), `sandbox`; all that are
    given have to fit. When: after `after` such calls, `times` times (all, when it is left out), with `probability`.
    What: one of the others, each after `delay` seconds. `optional`: nobody minds when it never fires."""

    operation: Optional[str] = None
    method: Optional[str] = None
    path: Optional[str] = None
    sandbox: Optional[str] = None
    status: Optional[int] = Field(None, json_schema_extra={"minimum": 400, "maximum": 599})
    reason: Optional[str] = None
    detail: Optional[str] = None
    body: Optional[str] = None
    retry_after: Optional[int] = None
    times: Optional[int] = None
    after: int = 0
    probability: float = 1.0
    delay: float = 0.0
    drop: Optional[Literal["before", "after", "mid-body"]] = None
    truncate: Optional[int] = None
    hang: bool = False
    close_socket: Optional[int] = None
    unreachable: bool = False
    rate_limit: Optional[int] = None
    outcome: Optional[Literal["error", "failed", "dies"]] = None
    optional: bool = False


class FaultOut(Model):
    """`seen`: calls that fitted; `fired`: those that met it. `described`: one line for people."""

    id: str
    account: str
    options: dict[str, Any]
    optional: bool
    seen: int
    fired: int
    described: str


def _shown(fault: Fault) -> FaultOut:
    options = {name: getattr(fault, name) for name in AddFault.model_fields}
    return FaultOut(
        id=fault.id,
        account=fault.account,
        options={name: value for name, value in options.items() if value != AddFault.model_fields[name].default},
        optional=fault.optional,
        seen=fault.seen,
        fired=fault.fired,
        described=str(fault),
    )


@operations.call("POST", "/faults", "faults.add", AddFault, reply=FaultOut, status=201)
async def add(call: Call[AddFault]) -> Response:
    options = call.body.model_dump()
    try:
        fault = call.platform.services.faults.add(call.account.id, **options)
    except ValueError as error:
        raise invalid(str(error)) from None
    return json_reply(_shown(fault), 201)


@operations.call("GET", "/faults", "faults.list", reply=list[FaultOut])
async def listed(call: Call[NoBody]) -> Response:
    """In the order in which they are tried."""
    return json_reply([_shown(fault) for fault in call.platform.services.faults.of(call.account.id)])


def _found(call: Call[Any]) -> Fault:
    fault = call.platform.services.faults.get(call.param("id"))
    if fault is None or (call.query("account") and call.account.id not in (fault.account, EVERYBODY)):
        raise not_found("fault", call.param("id"))
    return fault


@operations.call("GET", "/faults/{id}", "faults.get", reply=FaultOut)
async def get(call: Call[NoBody]) -> Response:
    return json_reply(_shown(_found(call)))


@operations.call("DELETE", "/faults/{id}", "faults.remove")
async def remove(call: Call[NoBody]) -> Response:
    """Calls that hang by it end, without an answer."""
    call.platform.services.faults.remove(_found(call))
    return no_content()


@operations.call("DELETE", "/faults", "faults.clear")
async def clear(call: Call[NoBody]) -> Response:
    call.platform.services.faults.clear(call.account.id)
    return no_content()
