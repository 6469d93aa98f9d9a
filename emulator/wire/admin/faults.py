"""/_emulator/faults: faults that are injected into requests. `control_client/faults.py` describes the options."""

from __future__ import annotations

from typing import Any, Literal, Optional

from pydantic import Field
from starlette.responses import Response

from ...control.faults import Fault
from ...platform.errors import invalid, not_found
from ..operation import Body, Call, Model, NoBody, json_reply, no_content
from .names import check_sandbox
from .operations import Admin, applies

operations = Admin()


class AddFault(Body):
    """Which requests: all of `operation` (a glob such as `snapshots.*`), `method`, `path` (a glob) and `sandbox` that
    are given have to match. When: after `after` such requests, `times` times (always, when it is left out), with
    `probability`. Effect: one of the others, after `delay` seconds. `optional`: it is not reported as unused."""

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
    """`seen`: requests that matched; `fired`: those on which it had its effect. `described`: one line for people."""

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
        check_sandbox(call, call.body.sandbox)
        fault = call.platform.faults.add(call.account.id, **options)
    except ValueError as error:
        raise invalid(str(error)) from None
    return json_reply(_shown(fault), 201)


@operations.call("GET", "/faults", "faults.list", reply=list[FaultOut])
async def listed(call: Call[NoBody]) -> Response:
    """All that apply to the account, in the order in which they are tried: its own first, then those of `*`."""
    return json_reply([_shown(fault) for fault in call.platform.faults.of(call.account.id)])


def _found(call: Call[Any]) -> Fault:
    fault = call.platform.faults.get(call.param("id"))
    if fault is None or not applies(call, fault.account):
        raise not_found("fault", call.param("id"))
    return fault


@operations.call("GET", "/faults/{id}", "faults.get", reply=FaultOut)
async def get(call: Call[NoBody]) -> Response:
    return json_reply(_shown(_found(call)))


@operations.call("DELETE", "/faults/{id}", "faults.remove")
async def remove(call: Call[NoBody]) -> Response:
    """Requests that hang by it end, without an answer."""
    call.platform.faults.remove(_found(call))
    return no_content()


@operations.call("DELETE", "/faults", "faults.clear")
async def clear(call: Call[NoBody]) -> Response:
    """All that were added for exactly this account, or for `*`."""
    call.platform.faults.clear(call.account.id)
    return no_content()
