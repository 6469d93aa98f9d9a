"""The operations of /v1/sandboxes (wire-contract.md 3.1)."""

from __future__ import annotations

from typing import Any, Optional

from starlette.responses import Response

from ..platform import cost, limits
from ..store import Sandbox
from .create_body import CreateSandbox
from .create_options import sandbox_fields
from .operation import Call, EmptyBody, Model, Operations, json_reply, no_content
from .unused_options import unused_options

operations = Operations()


class ConfigOut(Model):
    """The `.caged.yaml` at the top of the sandbox's repository. `raw` is absent when its text cannot be shown."""

    source: str
    raw: Optional[str]

    def model_dump_json(self, **_options: Any) -> str:
        return super().model_dump_json(exclude_none=True)


class SandboxOut(Model):
    """A sandbox. Nullable keys are absent when unset."""

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


def serialize(sandbox: Sandbox, now: float) -> SandboxOut:
    """The sandbox as clients read it, with its costs at a time in seconds since the epoch."""
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
    await platform.lifecycle.make_room()
    # A prepared sandbox is used under its name, in place of a template.
    prepared = platform.prepared_sandboxes.find(call.account, call.body.template)
    body = call.body if prepared is None else call.body.model_copy(update={"template": prepared.template})
    sandbox = call.platform.lifecycle.new(
        call.account, **sandbox_fields(body, lambda: platform.prepared_sandboxes.names(call.account))
    )
    if prepared is not None:
        platform.prepared_sandboxes.use(prepared, sandbox)
    for warning in unused_options(call.body, sandbox, platform.config):
        call.warnings.append(warning)
        platform.recorder.log(sandbox, warning, "warning")
    if sandbox.network_mode != "full" and not platform.isolation.own_network:  # its log gets a line later
        call.warnings.append(f"network_mode {sandbox.network_mode} is not enforced: the network is open")
    if sandbox.template in limits.OLDER_TEMPLATES:
        call.warnings.append(f"template {sandbox.template} is in older documentation only; the platform may refuse it")
    await call.platform.lifecycle.build(sandbox, lambda: call.injected_failure("error"), prepared)
    return json_reply(serialize(sandbox, call.platform.clock.time()), 201)


@operations.add("GET", "/v1/sandboxes", "sandboxes.list", reply=list[SandboxOut])
async def list_all(call: Call[EmptyBody]) -> Response:
    now = call.platform.clock.time()
    return json_reply([serialize(sandbox, now) for sandbox in call.platform.sandboxes.of(call.account)])


@operations.add("GET", "/v1/sandboxes/{id}", "sandboxes.get", reply=SandboxOut)
async def get(call: Call[EmptyBody]) -> Response:
    sandbox = call.platform.sandboxes.get(call.account, call.param("id"))
    return json_reply(serialize(sandbox, call.platform.clock.time()))


@operations.add("DELETE", "/v1/sandboxes/{id}", "sandboxes.destroy")
async def destroy(call: Call[EmptyBody]) -> Response:
    await call.platform.lifecycle.destroy(call.platform.sandboxes.get(call.account, call.param("id")))
    return no_content()


@operations.add("POST", "/v1/sandboxes/{id}/pause", "sandboxes.pause", errors=[409])
async def pause(call: Call[EmptyBody]) -> Response:
    await call.platform.lifecycle.pause(call.platform.sandboxes.get(call.account, call.param("id")))
    return no_content()


@operations.add("POST", "/v1/sandboxes/{id}/resume", "sandboxes.resume", errors=[409, 503])
async def resume(call: Call[EmptyBody]) -> Response:
    await call.platform.lifecycle.resume(call.platform.sandboxes.get(call.account, call.param("id")))
    return no_content()


@operations.add(
    "GET", "/v1/sandboxes/{id}/logs", "sandboxes.logs", reply=list[LogLine], query={"tail": int, "follow": str}
)
async def logs(call: Call[EmptyBody]) -> Response:
    sandbox = call.platform.sandboxes.get(call.account, call.param("id"))
    tail = call.query_int("tail")
    if (tail or 0) > limits.LOGS_MOST:
        call.warnings.append(f"tail is cut to {limits.LOGS_MOST}")
    if call.query("follow") not in (None, "", "false", "0"):
        call.warnings.append("follow has no effect, here and on the platform: ask again for newer lines")
    lines = call.platform.sandboxes.logs(sandbox, tail)
    return json_reply([LogLine(timestamp=x.timestamp, type=x.type, message=x.message) for x in lines])
