"""/_emulator/agents: replies of agents. `control/agent_replies.py` describes the options."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from ...control.agent_replies import ReplyInfo, ScriptedReply
from ...control.current_account import ALL_ACCOUNTS
from ...control.names import suggestion
from ...control.reply_registry import AgentReplies
from ...control.schema import options_model, record_model, values_in
from ...platform import limits
from ...platform.errors import ApiError
from ..operation import Body, Call, EmptyBody, Model, no_content
from .commands import FUNCTION, function_of
from .controls import (
    LIST_QUERY,
    RemovedOut,
    found,
    listed,
    named_account,
    not_found_of,
    refusing,
    removed_reply,
    reply_with,
    reply_with_all,
)
from .operations import AdminOperations

operations = AdminOperations()
AddReply = options_model(
    "AddReply",
    ScriptedReply,
    Body,
    "`prompt`: the prompts that it answers; all, when it is left out. Replies for the same prompts are used in turn,"
    " the last one repeatedly; with `times`, that often, and then a prompt is an error.",
    more=FUNCTION,
)
ReplyOut = record_model("ReplyOut", ReplyInfo, Model)


def _replies(call: Call[Any]) -> AgentReplies:
    return call.platform.agent_replies


def _agent(call: Call[Any]) -> str:
    """The platform's name of the agent that the path names by any of its names."""
    name = call.param("name")
    agent = limits.agent_name(name)
    if agent is None:
        raise ApiError(404, f"agent {name!r} does not exist{suggestion(name, limits.agent_names())}")
    return agent


@operations.call("GET", "/agents", "agents.list", reply=list[ReplyOut], query=LIST_QUERY)  # type: ignore[valid-type]
async def list_all(call: Call[EmptyBody]) -> Response:
    """The replies of all agents that apply to the account: its own first, then those of all accounts. With `account=*`:
    those of every account, and those of all, in the order in which they were added. `sandbox`: of the account whose
    sandbox it is; `unused`: those that were never used and are not optional; `last`: the last so many."""
    return reply_with_all(ReplyOut, listed(call, _replies(call).list(call.account.id)))


@operations.call("DELETE", "/agents", "agents.clear", reply=RemovedOut)
async def clear_all(call: Call[EmptyBody]) -> Response:
    """Remove the replies of all agents that were added for exactly this account; with `account=*`, those of every
    account, and those of all."""
    replies = _replies(call).cleared_by(call.account.id)
    _replies(call).clear(call.account.id)
    return removed_reply(len(replies))


@operations.call("POST", "/agents/{name}/replies", "agents.replies.add", AddReply, reply=ReplyOut, status=201)
async def add(call: Call[Body]) -> Response:
    """Add a reply of the agent."""
    agent = _agent(call)
    with refusing():
        options = values_in(ScriptedReply, call.body)
        function = function_of(call)
        reply = _replies(call).add(call.account.id, agent=agent, **options, function=function)
    return reply_with(ReplyOut, reply, 201)


@operations.call(
    "GET",
    "/agents/{name}/replies",
    "agents.replies.list",
    reply=list[ReplyOut],  # type: ignore[valid-type]
    query=LIST_QUERY,
)
async def list_replies(call: Call[EmptyBody]) -> Response:
    """List the replies of one agent, in the order of `agents.list`."""
    return reply_with_all(ReplyOut, listed(call, _replies(call).of(call.account.id, _agent(call))))


@operations.call("DELETE", "/agents/{name}/replies", "agents.replies.clear", reply=RemovedOut)
async def clear(call: Call[EmptyBody]) -> Response:
    """Remove the agent's replies, as `agents.clear` does those of all agents."""
    return removed_reply(_replies(call).clear_agent(call.account.id, _agent(call)))


def _found(call: Call[Any]) -> ScriptedReply:
    """The reply that the path names; `*` in place of the agent is any."""
    reply = found(call, _replies(call), "reply")
    if call.param("name") != "*" and reply.agent != _agent(call):
        known = [one.id for one in _replies(call).of(named_account(call) or ALL_ACCOUNTS, _agent(call))]
        raise not_found_of("reply", call.param("id"), known, named_account(call))
    return reply


@operations.call("GET", "/agents/{name}/replies/{id}", "agents.replies.get", reply=ReplyOut)
async def get(call: Call[EmptyBody]) -> Response:
    return reply_with(ReplyOut, _found(call))


@operations.call("DELETE", "/agents/{name}/replies/{id}", "agents.replies.remove")
async def remove(call: Call[EmptyBody]) -> Response:
    _replies(call).remove(_found(call))
    return no_content()
