"""The tab of how a sandbox was created: template, limits, variables, isolation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Optional

from ...trace.html import Child, Html, element
from ...trace.text import money
from ..components import code, empty, live, moment
from ..page import PageRequest, Tab

#: The newest requests for sandboxes, among which that of this one is looked for.
_REQUESTS = 500
_HIDDEN = "••••••"


async def render(request: PageRequest, sandbox: Mapping[str, Any]) -> Sequence[Html]:
    if sandbox["status"] == "destroyed":
        nothing = empty("A sandbox that was destroyed has no settings any more.")
        return [live("settings", nothing, class_="content")]
    isolation = (await request.api.get("/_emulator/status"))["isolation"]
    created = await _request(request, sandbox["id"])
    parts = [
        _group("Machine", _machine(sandbox, str(isolation))),
        _group("Content", _content(sandbox, created)),
        _group("Variables", _variables(created)),
        _group("Times", [(name, moment(sandbox.get(key))) for name, key in _TIMES if sandbox.get(key)]),
    ]
    same = element(
        "section", element("h2", "The same in Python"), code(_python(sandbox, created)), class_="facts-group"
    )
    return [live("settings", *parts, same, class_="content facts")]


_LISTS = (("Agents", "agents"), ("Packages", "packages"), ("Secrets", "secrets"))
#: Arguments of the SDK's call, and where a sandbox has them.
_ARGUMENTS = (
    ("template", "template"),
    ("cpus", "cpus"),
    ("memory_mb", "memory_mb"),
    ("disk_gb", "disk_gb"),
    ("network_mode", "network_mode"),
    ("timeout", "timeout"),
    ("budget", "budget"),
    ("repo", "repo_url"),
    ("init_script", "init_script"),
)
_TIMES = (("Created", "created_at"), ("Started", "started_at"), ("Stopped", "stopped_at"))


async def _request(request: PageRequest, id: str) -> Mapping[str, Any]:
    """The body of the request that has created the sandbox; an empty one where the journal does not have it."""
    found = await request.api.get(
        "/_emulator/journal/requests", operation="sandboxes.create", status=201, last=_REQUESTS
    )
    for one in reversed(found):
        if _parsed(one["response"]).get("id") == id:
            return _parsed(one["request"])
    return {}


def _parsed(text: Any) -> Mapping[str, Any]:
    """An object of JSON; an empty one for a text that was cut."""
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _machine(sandbox: Mapping[str, Any], isolation: str) -> list[tuple[str, Child]]:
    budget = sandbox.get("budget")
    return [
        ("Template", sandbox["template"]),
        ("Cores", str(sandbox["cpus"])),
        ("Memory", f"{sandbox['memory_mb']:,} MB"),
        ("Disk", f"{sandbox['disk_gb']:,} GB"),
        ("Network", sandbox["network_mode"]),
        ("Isolation", isolation),
        ("Paused when idle for", f"{sandbox['timeout']:,} s"),
        ("Budget", money(budget) if budget else "none"),
        ("Address", sandbox.get("ip")),
    ]


def _content(sandbox: Mapping[str, Any], created: Mapping[str, Any]) -> list[tuple[str, Child]]:
    config = sandbox.get("config") or {}
    listed = [(name, _words(created.get(key))) for name, key in _LISTS]
    return [
        ("Repository", sandbox.get("repo_url")),
        *listed,
        ("Init script", _block(sandbox.get("init_script"))),
        ("Configuration", _block(config.get("raw")) or config.get("source")),
    ]


def _words(value: Any) -> Optional[str]:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return None if value is None else str(value)


def _block(text: Any) -> Optional[Html]:
    return element("pre", str(text), class_="code", tabindex="0") if text else None


def _variables(created: Mapping[str, Any]) -> list[tuple[str, Child]]:
    """The names of variables, without their values."""
    return [(name, element("code", _HIDDEN, title="Values are not shown.")) for name in _names(created)]


def _names(created: Mapping[str, Any]) -> list[str]:
    env = created.get("env")
    return list(env) if isinstance(env, dict) else []


def _group(title: str, facts: Sequence[tuple[str, Child]]) -> Optional[Html]:
    rows = [element("div", element("dt", name), element("dd", value)) for name, value in facts if value]
    return element("section", element("h2", title), element("dl", *rows), class_="facts-group") if rows else None


def _python(sandbox: Mapping[str, Any], created: Mapping[str, Any]) -> str:
    """The call that creates such a sandbox."""
    given = {name: sandbox[key] for name, key in _ARGUMENTS if sandbox.get(key) is not None}
    given.update({key: created[key] for _name, key in _LISTS if created.get(key)})
    lines = [f"    {name}={value!r}," for name, value in given.items()]
    names = [f"{name!r}: ..." for name in _names(created)]
    if names:
        lines.append(f"    env={{{', '.join(names)}}},")
    return "\n".join(["caged.sandboxes.create(", *lines, ")"])


TAB = Tab("settings", "Settings", render)
