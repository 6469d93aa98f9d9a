"""Options of a create that are accepted and have no effect.

The response is the same as without them, so each adds a warning to the journal and a line to the sandbox's log.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..config import EmulatorConfig
from ..platform import limits
from ..store import Sandbox
from .create_body import CreateSandbox

#: The entries that `cage.proxy.allowed` can match: a host or `*.host`, either with a port, or an address.
_HOST = re.compile(r"(\*\.)?[^\s*/:@\[\]]+(:\d+)?|\[?[0-9a-fA-F:.]+\]?(:\d+)?")


def unused_options(body: CreateSandbox, sandbox: Sandbox, config: EmulatorConfig) -> list[str]:
    """One sentence for each option of a create that has no effect, or another effect than it suggests."""
    return [
        *_network(body, sandbox),
        *_repository(body),
        *_secrets(body),
        *_numbers(body, sandbox, config),
        *(
            f"{name} has no effect: personas and harnesses are not emulated"
            for name in ("persona_id", "harness_id")
            if getattr(body, name)
        ),
    ]


def _network(body: CreateSandbox, sandbox: Sandbox) -> Iterator[str]:
    if not body.allowlist:
        return
    mode = sandbox.network_mode
    if mode != "allowlist":
        reach = "every host can be reached" if mode == "full" else "no host can be reached"
        yield f"allowlist has no effect: network_mode is {mode}, so {reach}; set network_mode to allowlist"
        return
    for entry in body.allowlist:
        if not _HOST.fullmatch(entry.strip()):
            yield (
                f"allowlist: {entry!r} matches no host; use a host name like pypi.org, *.pypi.org for all below it,"
                " or pypi.org:8443 for another port"
            )


def _repository(body: CreateSandbox) -> Iterator[str]:
    if not body.repo:
        for name in ("repo_token", "repo_branch", "repo_commit", "repo_subdir"):
            if getattr(body, name):
                yield f"{name} has no effect: there is no repo to clone"
        return
    if body.repo_token and not body.repo.lower().startswith(("http://", "https://")):
        yield "repo_token has no effect: it is sent to http and https repositories only"
    if body.repo_branch and body.repo_commit:
        yield "repo_branch does not decide what is checked out: repo_commit does"


def _secrets(body: CreateSandbox) -> Iterator[str]:
    env = body.env or {}
    for name in dict.fromkeys(body.secrets or ()):
        if name not in env:
            yield f"secrets: {name!r} has no effect: env sets no such variable"
        elif not env[name]:
            yield f"secrets: {name!r} has no effect: its value in env is empty"


def _numbers(body: CreateSandbox, sandbox: Sandbox, config: EmulatorConfig) -> Iterator[str]:
    if body.timeout and sandbox.timeout < body.timeout:
        yield f"timeout is cut to the plan's most, {sandbox.timeout} s"
    if body.budget == 0:
        yield "budget 0 means that there is no budget"
    for name in ("cpus", "memory_mb", "disk_gb", "timeout"):
        if getattr(body, name) == 0:
            yield f"{name} 0 means the default, {getattr(sandbox, name)}"
    if body.agents and body.memory_mb and body.memory_mb < limits.AGENT_MEMORY_MB:
        yield f"memory_mb is raised to {limits.AGENT_MEMORY_MB}, which agents need"
    if not config.limits:
        given = [name for name in ("cpus", "memory_mb", "disk_gb") if getattr(body, name)]
        if given:
            yield f"{', '.join(given)}: not enforced, because the emulator runs without limits"
