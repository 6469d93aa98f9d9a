"""/_emulator/faults: faults that are injected into requests. `control/faults.py` describes the options."""

from __future__ import annotations

from starlette.responses import Response

from ...control.faults import Fault, FaultInfo
from ...control.schema import options_model, record_model, values_in
from ..operation import Body, Call, Model
from .controls import add_operations, refusing, reply_with
from .names import check_sandbox
from .operations import AdminOperations

operations = AdminOperations()
AddFault = options_model(
    "AddFault",
    Fault,
    Body,
    "Which requests: all of `operation`, `method`, `path` and `sandbox` that are given have to match. When: `after`,"
    " `times` and `probability`. Effect: at most one of the others, after `delay` seconds.",
)
FaultOut = record_model("FaultOut", FaultInfo, Model)


@operations.call("POST", "/faults", "faults.add", AddFault, reply=FaultOut, status=201)
async def add(call: Call[Body]) -> Response:
    """Inject a fault into matching requests. Each request takes at most one: the first whose turn it is."""
    with refusing():
        options = values_in(Fault, call.body)
        check_sandbox(call, options["sandbox"])
        fault = call.platform.faults.add(call.account.id, **options)
    return reply_with(FaultOut, fault, 201)


add_operations(operations, "faults", "fault", FaultOut, lambda platform: platform.faults)
