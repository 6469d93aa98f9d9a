"""The replies of the agents of an emulator: which reply is given to a prompt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

from .agent_replies import ScriptedReply
from .current_account import ALL_ACCOUNTS
from .patterns import TextPattern
from .randomness import Randomness
from .registry import Registry


class NoReplyLeft(Exception):
    """Every reply of an agent was used as often as it may be."""


class AgentReplies(Registry[ScriptedReply]):
    """All replies of agents."""

    def __init__(self, randomness: Randomness) -> None:
        super().__init__(ScriptedReply, "replies", randomness)

    def of(self, account: str, agent: str) -> Sequence[ScriptedReply]:
        """Return the replies of one agent that apply to an account, in the order of `list`."""
        return [reply for reply in self.list(account) if reply.agent == agent]

    def clear_agent(self, account: str, agent: str) -> int:
        """Remove those of one agent that `cleared_by` names. Returns how many."""
        replies = [reply for reply in self.cleared_by(account) if reply.agent == agent]
        for reply in replies:
            self.remove(reply)
        return len(replies)

    def passthrough(self, account: str, agent: str) -> Optional[ScriptedReply]:
        """The reply that makes the host's program answer, if there is one."""
        return next((reply for reply in self.of(account, agent) if reply.passthrough), None)

    def take(self, account: str, agent: str, prompt: str) -> Optional[ScriptedReply]:
        """Choose the reply to a prompt, which counts as used. None when no reply applies.

        The account's own replies come before those of every account. Of each: first those whose `prompt` matches,
        grouped by it, then passthrough, then those for all prompts.

        Raises:
            NoReplyLeft: All that apply are used up.
        """
        usable = self.of(account, agent)
        accounts = dict.fromkeys((account, ALL_ACCOUNTS))
        queues = [
            queue for each in accounts for queue in _queues([one for one in usable if one.account == each], prompt)
        ]
        for queue in queues:
            taken = _next(queue)
            if taken is not None:
                taken.used += 1
                return taken
        if any(queues):
            count = sum(map(len, queues))
            raise NoReplyLeft(f"no reply is left for this prompt: {count} that match it are used up")
        return None


def _queues(replies: Sequence[ScriptedReply], prompt: str) -> list[list[ScriptedReply]]:
    groups: dict[TextPattern, list[ScriptedReply]] = {}
    for reply in replies:
        if reply.prompt is not None and reply.prompt.matches(prompt):
            groups.setdefault(reply.prompt, []).append(reply)
    passing = [reply for reply in replies if reply.passthrough][:1]
    rest = [reply for reply in replies if reply.prompt is None and not reply.passthrough]
    return [*groups.values(), passing, rest]


def _next(queue: Sequence[ScriptedReply]) -> Optional[ScriptedReply]:
    for reply in queue:
        if reply.used < (reply.times or 1) or (reply is queue[-1] and reply.times is None):
            return reply
    return None
