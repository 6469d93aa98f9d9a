"""The request that creates a sandbox."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Callable

from .. import _arguments as arguments
from .._call import Call, ExpectedContent
from .._constants import CREATE_TIMEOUT
from .._errors import CagedError
from .._models.sandboxes import Sandbox

#: What a create may send besides the template, and how each value is checked.
CREATE_FIELDS: dict[str, Callable[[str, Any], Any]] = {
    "cpus": arguments.integer,
    "memory_mb": arguments.integer,
    "disk_gb": arguments.integer,
    "network_mode": arguments.text,
    "allowlist": arguments.texts,
    "env": arguments.text_mapping,
    "repo": arguments.text,
    "repo_token": arguments.text,
    "repo_branch": arguments.text,
    "repo_commit": arguments.text,
    "repo_subdir": arguments.text,
    "budget": arguments.number,
    "init_script": arguments.text,
    "secrets": arguments.texts,
    "timeout": arguments.integer,
    "packages": arguments.texts,
    "agents": arguments.texts,
    "persona_id": arguments.text,
    "harness_id": arguments.text,
}


def create(template: Any, fields: Mapping[str, Any]) -> Call[Sandbox]:
    if not template:
        raise CagedError("template is empty; name one, such as 'minimal' or 'python-312'")
    body: dict[str, Any] = {"template": arguments.text("template", template)}
    for name, value in fields.items():
        if value is None:
            continue
        checked = CREATE_FIELDS[name](name, value)
        if checked not in ([], {}):
            body[name] = checked
    return Call("POST", "/sandboxes", ExpectedContent.OBJECT, Sandbox.from_api, body=body, timeout=CREATE_TIMEOUT)
