"""/_emulator/agents: what agents answer. The options are those of `control/scripts.py`."""

from __future__ import annotations

from typing import Any, Optional, Union

from starlette.responses import Response

from ...control.agents import Reply
from ...control.scope import EVERYBODY
from ...control.scripts import Script
from ...platform import limits
from ...platform.refusal import Refusal, invalid, not_found
from ..operation import Body, Call, Model, NoBody, json_reply, no_content
from .commands import function_of
from .operations import Admin

operations = Admin()


class AddReply(Body):
    """`prompt`: for prompts that are exactly so, or fit a pattern with * ? [, or, with `regex`, have the regular
    expression somewhere in them; for all, when it is left out. Replies for the same prompts are used in turn, the last
    one again and again; with `times`, so often, and then it is an error.

    `text`: or pieces, each printed `delay` seconds after the one before. `files`: path -> content, written before it.
    `cost_usd`: from the sandbox's budget. `passthrough`: the host's real program answers. `optional`: nobody minds when
    it is never used. `function`: of an emulator in the same process, never from elsewhere."""

    prompt: Optional[str] = None
    regex: bool = False
    text: Union[str, list[str]] = ""
    files: dict[str, str] = {}
    tokens_in: int = 0
    tokens_out: int = 0
    cost_usd: float = 0.0
    exit_code: int = 0
    delay: float = 0.0
    model: Optional[str] = None
    times: Optional[int] = None
    optional: bool = False
    passthrough: bool = False
    function: Optional[str] = None


class ReplyOut(Model):
    """`agent`: the platform's name. `used`: so often. `described`: one line for people."""

    id: str
    account: str
    agent: str
    options: dict[str, Any]
    optional: bool
    used: int
    described: str


def _shown(script: Script) -> ReplyOut:
    reply = script.reply
    options = {
        "prompt": script.prompt,
        "regex": script.regex or None,
        "text": reply.text or None,
        "files": dict(reply.files) or None,
        "tokens_in": reply.tokens_in or None,
        "tokens_out": reply.tokens_out or None,
        "cost_usd": reply.cost_usd or None,
        "exit_code": reply.exit_code or None,
        "delay": reply.delay or None,
        "model": reply.model,
        "times": script.times,
        "passthrough": script.passthrough or None,
    }
    return ReplyOut(
        id=script.id,
        account=script.account,
        agent=script.agent,
        options={name: value for name, value in options.items() if value is not None},
        optional=script.optional,
        used=script.used,
        described=str(script),
    )


def _agent(call: Call[Any]) -> str:
    """By the platform's name, the other one it has, or its command."""
    name = call.param("name")
    by_command = {command: agent for agent, command in limits.AGENTS.items()}
    agent = limits.AGENT_ALIASES.get(name) or by_command.get(name) or name
    if agent not in limits.AGENTS:
        raise Refusal(404, f"there is no agent {name}; known are {', '.join(limits.AGENTS)}")
    return agent


@operations.call("GET", "/agents", "agents.list", reply=list[ReplyOut])
async def listed(call: Call[NoBody]) -> Response:
    """The replies of all agents, in the order they came."""
    return json_reply([_shown(script) for script in call.platform.services.scripts.of(call.account.id)])


@operations.call("DELETE", "/agents", "agents.reset")
async def reset(call: Call[NoBody]) -> Response:
    """All agents answer as at the start."""
    call.platform.services.scripts.clear(call.account.id)
    return no_content()


@operations.call("POST", "/agents/{name}/replies", "agents.reply", AddReply, reply=ReplyOut, status=201)
async def add(call: Call[AddReply]) -> Response:
    body = call.body
    fields = ("text", "exit_code", "tokens_in", "tokens_out", "cost_usd", "model", "files", "delay")
    try:
        script = call.platform.services.scripts.add(
            call.account.id,
            _agent(call),
            prompt=body.prompt,
            regex=body.regex,
            reply=Reply(**{name: getattr(body, name) for name in fields}),
            function=function_of(call, body.function),
            passthrough=body.passthrough,
            times=body.times,
            optional=body.optional,
        )
    except ValueError as error:
        raise invalid(str(error)) from None
    return json_reply(_shown(script), 201)


@operations.call("GET", "/agents/{name}/replies", "agents.replies", reply=list[ReplyOut])
async def replies(call: Call[NoBody]) -> Response:
    return json_reply([_shown(script) for script in call.platform.services.scripts.of(call.account.id, _agent(call))])


@operations.call("DELETE", "/agents/{name}/replies", "agents.clear")
async def clear(call: Call[NoBody]) -> Response:
    """The agent answers as at the start."""
    call.platform.services.scripts.clear(call.account.id, _agent(call))
    return no_content()


def _found(call: Call[Any]) -> Script:
    script = call.platform.services.scripts.get(call.param("id"))
    elsewhere = script is None or script.agent != _agent(call)
    if script is None or elsewhere or (call.query("account") and call.account.id not in (script.account, EVERYBODY)):
        raise not_found("reply", call.param("id"))
    return script


@operations.call("GET", "/agents/{name}/replies/{id}", "agents.get", reply=ReplyOut)
async def get(call: Call[NoBody]) -> Response:
    return json_reply(_shown(_found(call)))


@operations.call("DELETE", "/agents/{name}/replies/{id}", "agents.remove")
async def remove(call: Call[NoBody]) -> Response:
    call.platform.services.scripts.remove(_found(call))
    return no_content()
