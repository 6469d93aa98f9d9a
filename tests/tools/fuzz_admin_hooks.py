"""Hooks of schemathesis for the emulator's own calls. Loaded by schemathesis itself, see fuzz_admin.py.

The hooks often replace an id that schemathesis made up by one that exists. The object is not deleted.
"""

from __future__ import annotations

import gzip
import json
import os
import random
from typing import Any

import schemathesis
from fuzz_hooks_shared import meant_to_be_good, whole

#: A separate generator: hypothesis seeds the module's again before every example.
CHANCE = random.Random(os.environ["CAGED_FUZZ_SEED"])
ACCOUNT, SPARE = os.environ["CAGED_FUZZ_ACCOUNT"], os.environ["CAGED_FUZZ_SPARE_ACCOUNT"]
#: By path: the id of an object that exists for the whole run. It is not deleted.
RESIDENTS = {
    "/_emulator/sandboxes/{id}/spend": os.environ["CAGED_FUZZ_SANDBOX"],
    "/_emulator/faults/{id}": os.environ["CAGED_FUZZ_FAULT"],
}
#: Operations that delete or reset, which are sent for the other account.
EMPTYING = ("emulator.reset", "emulator.faults.clear")


@schemathesis.hook
def before_call(_context: Any, case: Any, _kwargs: Any) -> None:
    if isinstance(case.body, (dict, list)):
        case.body = whole(case.body)
    if meant_to_be_good(case, "query") and case.query and "account" in case.query:
        case.query["account"] = CHANCE.choice([ACCOUNT, SPARE, "*"])
    if case.operation.definition.raw.get("operationId") in EMPTYING:
        case.query = {**(case.query or {}), "account": SPARE}
    resident = RESIDENTS.get(case.operation.path)
    if resident and case.method != "DELETE" and meant_to_be_good(case, "path"):
        case.path_parameters["id"] = resident


@schemathesis.serializer("application/gzip")
def archive(_context: Any, value: Any) -> bytes:
    """A body of /_emulator/import: as it is, packed, or packed and cut off."""
    content = value if isinstance(value, bytes) else json.dumps(value, default=str).encode("utf-8", "surrogatepass")
    packed = gzip.compress(content)
    return CHANCE.choice([content, packed, packed[: len(packed) // 2]])
