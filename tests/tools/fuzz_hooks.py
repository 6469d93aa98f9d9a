"""What schemathesis is told about this API. Loaded by schemathesis itself, see tests/tools/fuzz.py.

It must not contact other machines, nor revoke the key that it works with. And where it thought of an id that nothing
has, it often gets one that something does have, which must not be destroyed then: a 404 says little about the call
behind it.
"""

from __future__ import annotations

import os
import random
from typing import Any
from urllib.parse import unquote

import schemathesis

KEY_ID = os.environ["CAGED_FUZZ_KEY"]
#: Of its own: the module's is put back to its beginning by hypothesis before every example.
CHANCE = random.Random(os.environ["CAGED_FUZZ_SEED"])
#: By the beginning of the path: the id of something that is there for the whole run.
RESIDENTS = {
    "/v1/sandboxes/{id}": os.environ["CAGED_FUZZ_SANDBOX"],
    "/v1/trust/sandboxes/{id}": os.environ["CAGED_FUZZ_SANDBOX"],
    "/v1/snapshots/{id}": os.environ["CAGED_FUZZ_SNAPSHOT"],
    "/v1/sessions/{id}": os.environ["CAGED_FUZZ_SESSION"],
}
PORT = int(os.environ["CAGED_FUZZ_PORT"])
#: Fields of a create that make the sandbox ask an index or a remote for something.
REACHING_OUT = ("packages", "repo")


def _whole(value: Any) -> Any:
    """With 33.0 as 33: the same number to JSON Schema, but not to the platform, which takes no fraction for a count."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {name: _whole(item) for name, item in value.items()}
    return [_whole(item) for item in value] if isinstance(value, list) else value


@schemathesis.hook
def before_call(_context: Any, case: Any, _kwargs: Any) -> None:
    if isinstance(case.body, (dict, list)):
        case.body = _whole(case.body)
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
    """Whether the id is one that schemathesis thought of and meant to be good, or of something that may have gone
    since. What a stateful test follows up is left alone."""
    if case.meta is None or case.meta.phase.name.value == "stateful" or "id" not in (case.path_parameters or {}):
        return False
    places = {getattr(place, "value", place): info.mode for place, info in case.meta.components.items()}
    return "path" in places and bool(places["path"].is_positive)
