"""Check the options of a create, and turn them into the fields of a new sandbox."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Callable, Optional

from ..cage.git import Repo
from ..platform import limits
from ..platform.errors import invalid
from .create_body import CreateSandbox

#: Prepared sandboxes that an error text names.
_MOST_NAMED = 20
_REPO_FIELDS = ("repo", "repo_branch", "repo_commit", "repo_subdir", "repo_token")
#: Options that are passed to git, which would take a leading dash for an option of its own.
_GIT_ARGUMENTS = ("repo_branch", "repo_commit", "repo")


def sandbox_fields(body: CreateSandbox, prepared: Callable[[], Collection[str]]) -> dict[str, Any]:
    """The fields of a new sandbox, with defaults in place of what is absent.

    Args:
        body: The options.
        prepared: Returns the names of prepared sandboxes, of which the text about an unknown template lists some.

    Raises:
        ApiError: 400, naming the first option that is wrong.
    """
    _check_template(body, prepared)
    return {name: read(body) for name, read in _FIELDS.items()}


def _check_template(body: CreateSandbox, prepared: Callable[[], Collection[str]]) -> None:
    valid = f"valid templates: {_list_names(limits.TEMPLATES, limits.TEMPLATE_ALIASES)}"
    if not body.template:
        raise invalid(f"template: is required; {valid}")
    template = limits.TEMPLATE_ALIASES.get(body.template, body.template)
    if template not in limits.TEMPLATES:
        names = sorted(prepared())[:_MOST_NAMED]
        more = f"; prepared sandboxes: {', '.join(names)}" if names else ""
        raise invalid(f"template: {body.template!r} is unknown; {valid}{more}")


def _template(body: CreateSandbox) -> str:
    name = body.template or ""  # it is checked already
    return limits.TEMPLATE_ALIASES.get(name, name)


def _agents(body: CreateSandbox) -> list[str]:
    agents = {limits.AGENT_ALIASES.get(name, name): name for name in body.agents or ()}
    for agent, name in agents.items():
        if agent not in limits.AGENTS:
            valid = _list_names(limits.AGENTS, limits.AGENT_ALIASES)
            raise invalid(f"agents: {name!r} is unknown; valid agents: {valid}")
    return list(agents)


def _memory_mb(body: CreateSandbox) -> int:
    memory = _number("memory_mb", body.memory_mb, limits.MEMORY_MB)
    return max(memory, limits.AGENT_MEMORY_MB) if body.agents else memory


def _network_mode(body: CreateSandbox) -> str:
    mode = body.network_mode or "full"
    if mode not in limits.NETWORK_MODES:
        raise invalid(f"network_mode: {mode!r} is unknown; use one of {', '.join(limits.NETWORK_MODES)}")
    return mode


def _allowlist(body: CreateSandbox) -> list[str]:
    if body.network_mode == "allowlist" and not body.allowlist:
        raise invalid("allowlist: must name at least one host when network_mode is allowlist")
    return list(body.allowlist or ())


def _timeout(body: CreateSandbox) -> int:
    if (body.timeout or 0) < 0:
        raise invalid("timeout cannot be negative")
    return body.timeout or limits.IDLE_SECONDS


def _budget(body: CreateSandbox) -> Optional[float]:
    if (body.budget or 0) < 0:
        raise invalid("budget cannot be negative")
    return body.budget or None


def _init_script(body: CreateSandbox) -> Optional[str]:
    _reject_nul("init_script", body.init_script)
    return body.init_script or None


def _env(body: CreateSandbox) -> dict[str, str]:
    env = dict(body.env or {})
    for name, value in env.items():
        if not name or any(character in name for character in "= \t\n\0"):
            raise invalid(f"env: {name[:100]!r} is not a variable name (no `=`, space, tab or newline, not empty)")
        if "\0" in value:
            raise invalid(f"env: the value of {name!r} must not contain a NUL character")
    # Each variable is `name=value` and a NUL byte in the environment of a process.
    size = sum(len(f"{name}={value}\0".encode("utf-8", "replace")) for name, value in env.items())
    if size > limits.ENV_BYTES:
        raise invalid(f"env: has {size:,} bytes; at most {limits.ENV_BYTES:,} are allowed")
    return env


def _packages(body: CreateSandbox) -> list[str]:
    for name in body.packages or ():
        if not name.strip() or name.startswith("-") or "\0" in name:
            raise invalid(f"packages: {name!r} is not a package name")
    return list(body.packages or ())


def _repo(body: CreateSandbox) -> Optional[Repo]:
    for name in _REPO_FIELDS:
        _reject_nul(name, getattr(body, name))
    if not body.repo:
        return None
    for name in _GIT_ARGUMENTS:
        if (getattr(body, name) or "").startswith("-"):
            raise invalid(f"{name}: must not begin with a dash")
    subdir = (body.repo_subdir or "").strip("/")
    if ".." in subdir.split("/"):
        raise invalid("repo_subdir: must not contain `..`")
    if "::" in body.repo.split("/")[0]:
        raise invalid("repo: use an https, ssh or file URL, or a local path")
    repo = Repo(body.repo, body.repo_token or None, body.repo_branch or None, body.repo_commit or None, subdir or None)
    try:
        repo.split_credentials()
    except ValueError:
        raise invalid("repo: is not a URL that can be read; use an https, ssh or file URL, or a local path") from None
    return repo


#: How each field is read from a body. The first that fails decides the error.
_FIELDS: Mapping[str, Callable[[CreateSandbox], Any]] = {
    "agents": _agents,
    "memory_mb": _memory_mb,
    "network_mode": _network_mode,
    "allowlist": _allowlist,
    "timeout": _timeout,
    "budget": _budget,
    "init_script": _init_script,
    "template": _template,
    "cpus": lambda body: _number("cpus", body.cpus, limits.CPUS),
    "disk_gb": lambda body: _number("disk_gb", body.disk_gb, limits.DISK_GB),
    "env": _env,
    "secrets": lambda body: list(body.secrets or ()),
    "packages": _packages,
    "repo": _repo,
}


def _number(name: str, value: Optional[int], allowed: limits.Range) -> int:
    if not value:
        return allowed.default
    if not allowed.least <= value <= allowed.most:
        raise invalid(f"{name}: must be between {allowed.least} and {allowed.most}, or 0 for the default")
    return value


def _reject_nul(name: str, text: Optional[str]) -> None:
    if "\0" in (text or ""):
        raise invalid(f"{name}: must not contain a NUL character")


def _list_names(names: Iterable[str], aliases: Mapping[str, str]) -> str:
    return f"{', '.join(names)} (aliases: {', '.join(aliases)})"
