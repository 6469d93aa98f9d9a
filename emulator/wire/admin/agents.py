"""/_emulator/agents: replies of agents. `control_client/agents.py` describes the options."""

from __future__ import annotations

import base64
from typing import Any, Optional, Union

from pydantic import ConfigDict
from starlette.responses import Response

from ...control.agent_replies import AgentReply
from ...control.agents import Reply
from ...control.names import suggestion
from ...platform import limits
from ...platform.errors import ApiError, invalid, not_found
from ..operation import Body, Call, Model, NoBody, json_reply, no_content
from .commands import PatternIn, function_of, pattern
from .operations import Admin, applies

operations = Admin()


class Base64(Model):
    """The content of a file that is not UTF-8 text."""

    base64: str

    model_config = ConfigDict(strict=True, extra="forbid", defer_build=True)


class AddReply(Body):
    """`prompt`: a pattern of the prompts that it answers; all, when it is left out. Replies for the same prompts are
    used in turn, the last one repeatedly; with `times`, that often, and then a prompt is an error.

    `text`: or pieces, each printed `delay` seconds after the one before. `files`: path -> content, written before it.
    `cost_usd`: from the sandbox's budget. `passthrough`: the host's real program answers. `optional`: it is not
    reported as unused. `function` and `allow_errors` work in the emulator's own process only."""

    prompt: Optional[PatternIn] = None
    text: Union[str, list[str]] = ""
    files: dict[str, Union[str, Base64]] = {}
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
    allow_errors: bool = False


class ReplyOut(Model):
    """`agent`: the platform's name. `used`: how often it was given. `described`: one line for people."""

    id: str
    account: str
    agent: str
    options: dict[str, Any]
    optional: bool
    used: int
    described: str


def _shown(script: AgentReply) -> ReplyOut:
    reply = script.reply
    options = {
        "prompt": script.prompt and script.prompt.json,
        "text": reply.text or None,
        "files": {path: _encoded(content) for path, content in reply.files.items()} or None,
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
    """By any of its names."""
    name = call.param("name")
    agent = limits.agent_name(name)
    if agent is None:
        raise ApiError(404, f"agent {name!r} does not exist{suggestion(name, limits.agent_names())}")
    return agent


def _encoded(content: Union[str, bytes]) -> Union[str, dict[str, str]]:
    return content if isinstance(content, str) else {"base64": base64.b64encode(content).decode()}


def _files(given: dict[str, Union[str, Base64]]) -> dict[str, Union[str, bytes]]:
    files: dict[str, Union[str, bytes]] = {}
    for path, content in given.items():
        if isinstance(content, str):
            files[path] = content
            continue
        try:
            files[path] = base64.b64decode(content.base64, validate=True)
        except ValueError as error:
            raise ValueError(f"files[{path!r}]: is not base64: {error}") from None
    return files


@operations.call("GET", "/agents", "agents.list", reply=list[ReplyOut])
async def listed(call: Call[NoBody]) -> Response:
    """The replies of all agents that apply to the account: its own first, then those of `*`."""
    return json_reply([_shown(script) for script in call.platform.agent_replies.of(call.account.id)])


@operations.call("DELETE", "/agents", "agents.reset")
async def reset(call: Call[NoBody]) -> Response:
    """Remove the replies of all agents that were added for exactly this account, or for `*`."""
    call.platform.agent_replies.clear(call.account.id)
    return no_content()


@operations.call("POST", "/agents/{name}/replies", "agents.reply", AddReply, reply=ReplyOut, status=201)
async def add(call: Call[AddReply]) -> Response:
    body = call.body
    fields = ("text", "exit_code", "tokens_in", "tokens_out", "cost_usd", "model", "delay")
    agent = _agent(call)
    try:
        script = call.platform.agent_replies.add(
            call.account.id,
            agent,
            prompt=pattern("prompt", body.prompt),
            reply=Reply(**{name: getattr(body, name) for name in fields}, files=_files(body.files)),
            function=function_of(call, body.function),
            passthrough=body.passthrough,
            times=body.times,
            optional=body.optional,
            allow_errors=body.allow_errors,
        )
    except ValueError as error:
        raise invalid(str(error)) from None
    return json_reply(_shown(script), 201)


@operations.call("GET", "/agents/{name}/replies", "agents.replies", reply=list[ReplyOut])
async def replies(call: Call[NoBody]) -> Response:
    return json_reply([_shown(script) for script in call.platform.agent_replies.of(call.account.id, _agent(call))])


@operations.call("DELETE", "/agents/{name}/replies", "agents.clear")
async def clear(call: Call[NoBody]) -> Response:
    """Remove the agent's replies that were added for exactly this account, or for `*`."""
    call.platform.agent_replies.clear(call.account.id, _agent(call))
    return no_content()


def _found(call: Call[Any]) -> AgentReply:
    script = call.platform.agent_replies.get(call.param("id"))
    if script is None or script.agent != _agent(call) or not applies(call, script.account):
        raise not_found("reply", call.param("id"))
    return script


@operations.call("GET", "/agents/{name}/replies/{id}", "agents.get", reply=ReplyOut)
async def get(call: Call[NoBody]) -> Response:
    return json_reply(_shown(_found(call)))


@operations.call("DELETE", "/agents/{name}/replies/{id}", "agents.remove")
async def remove(call: Call[NoBody]) -> Response:
    call.platform.agent_replies.remove(_found(call))
    return no_content()
