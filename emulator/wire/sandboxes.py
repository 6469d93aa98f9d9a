"""/v1/sandboxes: wire-contract.md 3.1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field
from starlette.responses import Response

from ..cage.git import Repo
from ..platform import cost, limits
from ..platform.errors import invalid
from ..store import Sandbox
from .operation import Body, Call, Model, NoBody, Operations, json_reply, no_content
from .unused_options import unused_options

if TYPE_CHECKING:
    from pydantic import JsonValue

operations = Operations()


def _within(allowed: limits.Range) -> dict[str, Any]:
    """What a number may be, for the OpenAPI document."""
    number = {"type": "integer", "minimum": allowed.least, "maximum": allowed.most}
    return {"anyOf": [number, {"const": 0}, {"type": "null"}]}


_ALLOWLIST_NEEDS_HOSTS: dict[str, Any] = {
    "required": ["template"],
    "if": {"properties": {"network_mode": {"const": "allowlist"}}, "required": ["network_mode"]},
    "then": {"properties": {"allowlist": {"type": "array", "minItems": 1}}, "required": ["allowlist"]},
}
_TEMPLATE_NAMES: list[JsonValue] = [*limits.TEMPLATES, *limits.TEMPLATE_ALIASES]
_AGENT_NAMES: list[JsonValue] = [*limits.AGENTS, *limits.AGENT_ALIASES]


def credentials_in(url: str) -> list[str]:
    """The password or token in a repository's URL, as it stands there and decoded, alone and with the user."""
    if len(url) > limits.REPO_CHARACTERS:
        return []
    try:
        _clean, _user, secret = Repo(url).split_credentials()
    except ValueError:
        return []
    if not secret:
        return []
    both = urlsplit(url).netloc.rpartition("@")[0]
    return [secret, both, both.rpartition(":")[2]]


class CreateSandbox(Body):
    """The body of POST /sandboxes. Numbers: 0 means the default. `timeout` is in seconds of idleness."""

    model_config = ConfigDict(json_schema_extra=_ALLOWLIST_NEEDS_HOSTS)
    sizes = {
        "repo": limits.REPO_CHARACTERS,
        "repo_token": limits.REPO_CHARACTERS,
        "repo_branch": limits.REF_CHARACTERS,
        "repo_commit": limits.REF_CHARACTERS,
        "repo_subdir": limits.REF_CHARACTERS,
        "init_script": limits.SCRIPT_CHARACTERS,
        "env": limits.ENV_VARIABLES,
        "env[]": limits.ENV_BYTES,  # `_env` says it in bytes
        "secrets[]": limits.REF_CHARACTERS,
        "allowlist[]": limits.REF_CHARACTERS,
        "packages[]": limits.REF_CHARACTERS,
    }

    template: Optional[str] = Field(None, json_schema_extra={"anyOf": [{"enum": _TEMPLATE_NAMES}]})
    cpus: Optional[int] = Field(None, json_schema_extra=_within(limits.CPUS))
    memory_mb: Optional[int] = Field(None, json_schema_extra=_within(limits.MEMORY_MB))
    disk_gb: Optional[int] = Field(None, json_schema_extra=_within(limits.DISK_GB))
    network_mode: Optional[str] = Field(None, json_schema_extra={"enum": [*limits.NETWORK_MODES, "", None]})
    allowlist: Optional[list[str]] = None
    env: Optional[dict[str, str]] = Field(None, json_schema_extra={"propertyNames": {"pattern": "^[^= \\t\\n]+$"}})
    repo: Optional[str] = None
    repo_token: Optional[str] = None
    repo_branch: Optional[str] = None
    repo_commit: Optional[str] = None
    repo_subdir: Optional[str] = None
    budget: Optional[float] = Field(None, json_schema_extra={"minimum": 0})
    init_script: Optional[str] = None
    secrets: Optional[list[str]] = None
    timeout: Optional[int] = Field(None, json_schema_extra={"minimum": 0})
    packages: Optional[list[str]] = None
    agents: Optional[list[str]] = Field(None, json_schema_extra={"items": {"enum": _AGENT_NAMES}})
    persona_id: Optional[str] = None
    harness_id: Optional[str] = None

    def hidden(self) -> list[str]:
        named = [(self.env or {}).get(name, "") for name in self.secrets or ()]
        return [*named, self.repo_token or "", *credentials_in(self.repo or "")]


class ConfigOut(Model):
    """The `.caged.yaml` at the top of the sandbox's repository. `raw` is left out for one that cannot be shown."""

    source: str
    raw: Optional[str]

    def model_dump_json(self, **_options: Any) -> str:
        return super().model_dump_json(exclude_none=True)


class SandboxOut(Model):
    """A sandbox as every client reads it. Nullable keys are left out when unset."""

    id: str
    status: str
    template: str
    ip: Optional[str]
    cpus: int
    memory_mb: int
    disk_gb: int
    network_mode: str
    repo_url: Optional[str]
    budget: Optional[float]
    init_script: Optional[str]
    timeout: int
    config: Optional[ConfigOut]
    created_at: str
    started_at: Optional[str]
    stopped_at: Optional[str]
    cost: float
    llm_cost: float
    total_cost: float

    def model_dump_json(self, **_options: Any) -> str:
        return super().model_dump_json(exclude_none=True)


class LogLine(Model):
    timestamp: str
    type: str
    message: str


def shown(sandbox: Sandbox, now: float) -> SandboxOut:
    compute = round(cost.compute(sandbox, now), 6)
    llm = round(sandbox.spent_llm, 6)
    return SandboxOut(
        id=sandbox.id,
        status=sandbox.status,
        template=sandbox.template,
        ip=sandbox.ip,
        cpus=sandbox.cpus,
        memory_mb=sandbox.memory_mb,
        disk_gb=sandbox.disk_gb,
        network_mode=sandbox.network_mode,
        repo_url=sandbox.repo.split_credentials()[0] if sandbox.repo else None,
        budget=sandbox.budget,
        init_script=sandbox.init_script,
        timeout=sandbox.timeout,
        config=ConfigOut(source=sandbox.config["source"], raw=sandbox.config.get("raw")) if sandbox.config else None,
        created_at=sandbox.created_at,
        started_at=sandbox.started_at,
        stopped_at=sandbox.stopped_at,
        cost=compute,
        llm_cost=llm,
        total_cost=round(compute + llm, 6),
    )


@operations.add(
    "POST", "/v1/sandboxes", "sandboxes.create", CreateSandbox, reply=SandboxOut, status=201, errors=[404, 503]
)
async def create(call: Call[CreateSandbox]) -> Response:
    platform = call.platform
    sandbox = call.platform.lifecycle.new(call.account, **checked(call.body))
    for warning in unused_options(call.body, sandbox, platform.config):
        call.warnings.append(warning)
        platform.recorder.log(sandbox, warning, "warning")
    if sandbox.network_mode != "full" and not platform.isolation.own_network:  # the log says so later
        call.warnings.append(f"network_mode {sandbox.network_mode} is not enforced: the network is open")
    if sandbox.template in limits.OLDER_TEMPLATES:
        call.warnings.append(f"template {sandbox.template} is in older documentation only; the platform may refuse it")
    await call.platform.lifecycle.build(sandbox, lambda: call.failing("error"))
    return json_reply(shown(sandbox, call.platform.clock.time()), 201)


@operations.add("GET", "/v1/sandboxes", "sandboxes.list", reply=list[SandboxOut])
async def list_all(call: Call[NoBody]) -> Response:
    now = call.platform.clock.time()
    return json_reply([shown(sandbox, now) for sandbox in call.platform.sandboxes.of(call.account)])


@operations.add("GET", "/v1/sandboxes/{id}", "sandboxes.get", reply=SandboxOut)
async def get(call: Call[NoBody]) -> Response:
    sandbox = call.platform.sandboxes.get(call.account, call.param("id"))
    return json_reply(shown(sandbox, call.platform.clock.time()))


@operations.add("DELETE", "/v1/sandboxes/{id}", "sandboxes.destroy")
async def destroy(call: Call[NoBody]) -> Response:
    await call.platform.lifecycle.destroy(call.platform.sandboxes.get(call.account, call.param("id")))
    return no_content()


@operations.add("POST", "/v1/sandboxes/{id}/pause", "sandboxes.pause", errors=[409])
async def pause(call: Call[NoBody]) -> Response:
    await call.platform.lifecycle.pause(call.platform.sandboxes.get(call.account, call.param("id")))
    return no_content()


@operations.add("POST", "/v1/sandboxes/{id}/resume", "sandboxes.resume", errors=[409, 503])
async def resume(call: Call[NoBody]) -> Response:
    await call.platform.lifecycle.resume(call.platform.sandboxes.get(call.account, call.param("id")))
    return no_content()


@operations.add(
    "GET", "/v1/sandboxes/{id}/logs", "sandboxes.logs", reply=list[LogLine], query={"tail": int, "follow": str}
)
async def logs(call: Call[NoBody]) -> Response:
    sandbox = call.platform.sandboxes.get(call.account, call.param("id"))
    tail = call.query_int("tail")
    if (tail or 0) > limits.LOGS_MOST:
        call.warnings.append(f"tail is cut to {limits.LOGS_MOST}")
    if call.query("follow") not in (None, "", "false", "0"):
        call.warnings.append("follow has no effect, here and on the platform: ask again for newer lines")
    lines = call.platform.sandboxes.logs(sandbox, tail)
    return json_reply([LogLine(timestamp=x.timestamp, type=x.type, message=x.message) for x in lines])


# --- what a create may say


def checked(body: CreateSandbox) -> dict[str, Any]:
    """The fields of a new sandbox, defaults filled in. 400 naming the field otherwise."""
    agents = list(dict.fromkeys(_agent(name) for name in body.agents or ()))
    memory = _number("memory_mb", body.memory_mb, limits.MEMORY_MB)
    network_mode = body.network_mode or "full"
    if network_mode not in limits.NETWORK_MODES:
        raise invalid(f"network_mode: {network_mode!r} is unknown; use one of {', '.join(limits.NETWORK_MODES)}")
    if network_mode == "allowlist" and not body.allowlist:
        raise invalid("allowlist: must name at least one host when network_mode is allowlist")
    if (body.timeout or 0) < 0:
        raise invalid("timeout cannot be negative")
    if (body.budget or 0) < 0:
        raise invalid("budget cannot be negative")
    for name in ("repo", "repo_branch", "repo_commit", "repo_subdir", "repo_token", "init_script"):
        if "\0" in (getattr(body, name) or ""):
            raise invalid(f"{name}: must not contain a NUL character")
    return {
        "template": _template(body.template),
        "cpus": _number("cpus", body.cpus, limits.CPUS),
        "memory_mb": max(memory, limits.AGENT_MEMORY_MB) if agents else memory,
        "disk_gb": _number("disk_gb", body.disk_gb, limits.DISK_GB),
        "network_mode": network_mode,
        "allowlist": list(body.allowlist or ()),
        "env": _env(body.env or {}),
        "secrets": list(body.secrets or ()),
        "packages": _packages(body.packages or ()),
        "agents": agents,
        "repo": _repo(body),
        "budget": body.budget or None,
        "init_script": body.init_script or None,
        "timeout": body.timeout or limits.IDLE_SECONDS,
    }


def _template(name: Optional[str]) -> str:
    resolved = limits.TEMPLATE_ALIASES.get(name or "", name or "")
    if not name:
        raise invalid(f"template: is required; valid templates: {_names(limits.TEMPLATES, limits.TEMPLATE_ALIASES)}")
    if resolved not in limits.TEMPLATES:
        raise invalid(
            f"template: {name!r} is unknown; valid templates: {_names(limits.TEMPLATES, limits.TEMPLATE_ALIASES)}"
        )
    return resolved


def _agent(name: str) -> str:
    resolved = limits.AGENT_ALIASES.get(name, name)
    if resolved not in limits.AGENTS:
        raise invalid(f"agents: {name!r} is unknown; valid agents: {_names(limits.AGENTS, limits.AGENT_ALIASES)}")
    return resolved


def _names(names: Any, aliases: dict[str, str]) -> str:
    return f"{', '.join(names)} (aliases: {', '.join(aliases)})"


def _number(name: str, value: Optional[int], allowed: limits.Range) -> int:
    if not value:
        return allowed.default
    if not allowed.least <= value <= allowed.most:
        raise invalid(f"{name}: must be between {allowed.least} and {allowed.most}, or 0 for the default")
    return value


def _env(env: dict[str, str]) -> dict[str, str]:
    total = 0
    for name, value in env.items():
        if not name or any(character in name for character in "= \t\n\0"):
            raise invalid(f"env: {name[:100]!r} is not a variable name (no `=`, space, tab or newline, not empty)")
        if "\0" in value:
            raise invalid(f"env: the value of {name!r} must not contain a NUL character")
        total += len(name.encode("utf-8", "replace")) + len(value.encode("utf-8", "replace")) + 2
    if total > limits.ENV_BYTES:
        raise invalid(f"env: has {total:,} bytes; at most {limits.ENV_BYTES:,} are allowed")
    return dict(env)


def _packages(names: Any) -> list[str]:
    for name in names:
        if not name.strip() or name.startswith("-") or "\0" in name:
            raise invalid(f"packages: {name!r} is not a package name")
    return list(names)


def _repo(body: CreateSandbox) -> Optional[Repo]:
    if not body.repo:
        return None
    for name in ("repo_branch", "repo_commit", "repo"):
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
