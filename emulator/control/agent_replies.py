"""Replies of agents: in turn, by prompt, by a function, or from the host's real program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Callable, Optional

from .agents import Prompt, Reply
from .capacity import Capacity
from .current_account import ALL_ACCOUNTS, in_order
from .patterns import TextPattern
from .randomness import Randomness

_EMPTY = Reply("")


class NoReplyLeft(Exception):
    """Every reply of an agent was used as often as it may be."""


@dataclass
class AgentReply:
    """One reply of an agent (the platform's name).

    Attributes:
        prompt: Pattern of the prompts that it answers; None: all.
        function: Makes the reply instead of `reply`; when it returns None, the agent gives its default reply.
        passthrough: The host's program answers.
        times: How often it is used. Without it, replies for the same prompts are used in turn, the last one repeatedly.
        optional: Not reported when it is never used.
        allow_errors: An exception of `function`, or a file that cannot be written, does not fail the test.
    """

    id: str
    account: str
    agent: str
    prompt: Optional[TextPattern] = None
    reply: Reply = field(default_factory=lambda: Reply(""))
    function: Optional[Callable[[Prompt], Optional[Reply]]] = field(default=None, repr=False)
    passthrough: bool = False
    times: Optional[int] = None
    optional: bool = False
    allow_errors: bool = False
    used: int = 0

    def check(self) -> None:
        """Check the options.

        Raises:
            ValueError: An option is wrong; the text starts with its name.
        """
        if self.passthrough and self.prompt is not None:
            raise ValueError("passthrough: applies to every prompt that no other reply matches; leave prompt out")
        if self.times is not None and self.times < 1:
            raise ValueError("times: must be at least 1")
        if self.allow_errors and self.function is None and not self.reply.files:
            raise ValueError("allow_errors: applies to functions and files; this reply has none")
        self.reply.check()
        self._check_effect()

    def _check_effect(self) -> None:
        """Nothing of `reply` is used where something else answers."""
        if not self.passthrough and self.function is None:
            return
        unused = [one.name for one in fields(Reply) if getattr(self.reply, one.name) != getattr(_EMPTY, one.name)]
        if not unused:
            return
        if self.passthrough:
            raise ValueError(f"{unused[0]}: has no effect with passthrough, where the real program answers")
        raise ValueError(
            f"{unused[0]}: has no effect beside a function; let the function return Reply(..., {unused[0]}=...)"
        )

    def __str__(self) -> str:
        what = "passthrough" if self.passthrough else "a function" if self.function else repr(self.reply.whole[:60])
        when = "" if self.prompt is None else f", prompt={self.prompt!r}"
        where = ", account='*'" if self.account == ALL_ACCOUNTS else ""
        return f"reply {self.id} of {self.agent} ({what}{when}{where})"


class AgentReplies:
    def __init__(self, randomness: Randomness) -> None:
        self._randomness = randomness
        self._scripts: dict[str, AgentReply] = {}
        self._room = Capacity("replies")

    def add(self, account: str, agent: str, **options: object) -> AgentReply:
        """ValueError for options that make no sense."""
        script = AgentReply(self._randomness.identifier("reply", self._scripts), account, agent, **options)  # type: ignore[arg-type]
        script.check()
        self._room.take(script, self._scripts)
        self._scripts[script.id] = script
        return script

    def of(self, account: str, agent: Optional[str] = None) -> list[AgentReply]:
        """All that apply to an account (those of every account alone for `*`), its own first, in the order in which
        they were added."""
        return [script for script in in_order(self._scripts.values(), account) if agent in (None, script.agent)]

    def get(self, script_id: str) -> Optional[AgentReply]:
        return self._scripts.get(script_id)

    def remove(self, script: AgentReply) -> None:
        self._scripts.pop(script.id, None)

    def clear(self, account: str, agent: Optional[str] = None) -> None:
        """Remove those that were added for exactly this account, or for `*`."""
        for script in self.of(account, agent):
            if script.account == account:
                self.remove(script)

    def passes(self, account: str, agent: str) -> Optional[AgentReply]:
        """The reply that makes the host's program answer, if there is one."""
        return next((script for script in self.of(account, agent) if script.passthrough), None)

    def take(self, account: str, agent: str, prompt: str) -> Optional[AgentReply]:
        """The reply to a prompt, which counts as used. None when no reply applies.

        The account's own replies come before those of every account. Of each: first those whose `prompt` matches,
        grouped by it, then passthrough, then those for all prompts.

        Raises:
            NoReplyLeft: All that apply are used up.
        """
        usable = self.of(account, agent)
        own = [script for script in usable if script.account == account]
        queues = _queues(own, prompt)
        if account != ALL_ACCOUNTS:
            queues += _queues([script for script in usable if script.account == ALL_ACCOUNTS], prompt)
        for queue in queues:
            taken = _next(queue)
            if taken is not None:
                taken.used += 1
                return taken
        if any(queues):
            count = sum(map(len, queues))
            raise NoReplyLeft(f"no reply is left for this prompt: {count} that match it are used up")
        return None


def _queues(scripts: Sequence[AgentReply], prompt: str) -> list[list[AgentReply]]:
    groups: dict[TextPattern, list[AgentReply]] = {}
    for script in scripts:
        if script.prompt is not None and script.prompt.matches(prompt):
            groups.setdefault(script.prompt, []).append(script)
    passing = [script for script in scripts if script.passthrough][:1]
    rest = [script for script in scripts if script.prompt is None and not script.passthrough]
    return [*groups.values(), passing, rest]


def _next(queue: Sequence[AgentReply]) -> Optional[AgentReply]:
    for script in queue:
        if script.used < (script.times or 1) or (script is queue[-1] and script.times is None):
            return script
    return None
