"""Hooks of schemathesis for this API. Loaded by schemathesis itself, see tests/tools/fuzz.py.

Requests must not contact other machines, nor revoke the key that is in use. The hooks often replace an id that
schemathesis made up by one that exists, because a 404 tests little of a call; such an object must not be destroyed.
"""

from __future__ import annotations

import os
import random
from typing import Any
from urllib.parse import unquote

import schemathesis
from fuzz_hooks_shared import meant_to_be_good, whole

KEY_ID = os.environ["CAGED_FUZZ_KEY"]
#: A separate generator: hypothesis seeds the module's again before every example.
CHANCE = random.Random(os.environ["CAGED_FUZZ_SEED"])
#: By prefix of the path: the id of an object that exists for the whole run.
RESIDENTS = {
    "/v1/sandboxes/{id}": os.environ["CAGED_FUZZ_SANDBOX"],
    "/v1/trust/sandboxes/{id}": os.environ["CAGED_FUZZ_SANDBOX"],
    "/v1/snapshots/{id}": os.environ["CAGED_FUZZ_SNAPSHOT"],
    "/v1/sessions/{id}": os.environ["CAGED_FUZZ_SESSION"],
}
PORT = int(os.environ["CAGED_FUZZ_PORT"])
#: Fields of a create that make the sandbox contact an index or a remote.
REACHING_OUT = ("packages", "repo")


@schemathesis.hook
def before_call(_context: Any, case: Any, _kwargs: Any) -> None:
    if isinstance(case.body, (dict, list)):
        case.body = whole(case.body)
    name = case.operation.definition.raw.get("operationId")
    if name == "sandboxes.create" and isinstance(case.body, dict):
        for field in REACHING_OUT:
            if case.body.get(field):
                case.body[field] = type(case.body[field])()
    identifier = unquote(str((case.path_parameters or {}).get("id")))
    if case.method == "DELETE" and identifier in (KEY_ID, *RESIDENTS.values()):
        case.path_parameters["id"] = "another"
    top = "/".join(case.operation.path.split("/")[: 5 if "/trust/" in case.operation.path else 4])
    if top in RESIDENTS and case.method != "DELETE" and _is_made_up(case) and CHANCE.random() < 0.7:
        case.path_parameters["id"] = RESIDENTS[top]
        if "port" in case.path_parameters:
            case.path_parameters["port"] = PORT


def _is_made_up(case: Any) -> bool:
    """Return whether schemathesis made up the id of a valid request, so that it may not exist. False for the ids of
    a stateful test."""
    return "id" in (case.path_parameters or {}) and meant_to_be_good(case, "path")
