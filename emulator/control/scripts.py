"""What a test has agents answer: replies in turn, by prompt, by a function, or the host's real program."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Callable, Optional

from .agents import Prompt, Reply
from .chance import Chance
from .scope import EVERYBODY
from .stubs import check_regex, fits


class NoReplyLeft(Exception):
    """Every reply of an agent was used as often as it may be."""


@dataclass
class Script:
    """One reply of an agent (the platform's name). `prompt`: which prompts it is for, exact, or a pattern with * ? [,
    or, with `regex`, a regular expression found somewhere in them; None: all. `function` makes the reply in place of
    `reply`; None from it is the emulator's own reply. `passthrough`: the host's program answers.

    Replies for the same prompts are used in turn, the last one again and again; with `times`, so often.
    `optional`: nobody minds when it is never used.
    """

    id: str
    account: str
    agent: str
    prompt: Optional[str] = None
    regex: bool = False
    reply: Reply = field(default_factory=lambda: Reply(""))
    function: Optional[Callable[[Prompt], Optional[Reply]]] = field(default=None, repr=False)
    passthrough: bool = False
    times: Optional[int] = None
    optional: bool = False
    used: int = 0

    def check(self) -> None:
        """ValueError, naming the option, for what makes no sense."""
        reply = self.reply
        if self.passthrough and self.prompt is not None:
            raise ValueError("passthrough: is for every prompt that no other reply fits; leave prompt out")
        if self.times is not None and self.times < 1:
            raise ValueError("times: must be at least 1")
        if reply.delay < 0 or reply.cost_usd < 0 or reply.tokens_in < 0 or reply.tokens_out < 0:
            raise ValueError("delay, cost_usd, tokens_in and tokens_out: must not be negative")
        if not 0 <= reply.exit_code <= 255:
            raise ValueError("exit_code: must be from 0 to 255")
        if self.regex:
            check_regex(self.prompt)

    def __str__(self) -> str:
        what = "passthrough" if self.passthrough else "a function" if self.function else repr(self.reply.whole[:60])
        when = "" if self.prompt is None else f", {'regex ' if self.regex else ''}prompt={self.prompt!r}"
        return f"reply {self.id} of {self.agent} ({what}{when})"


class Scripts:
    def __init__(self, chance: Chance) -> None:
        self._chance = chance
        self._scripts: dict[str, Script] = {}

    def add(self, account: str, agent: str, **options: object) -> Script:
        """ValueError for options that make no sense."""
        script = Script(self._chance.identifier("reply", self._scripts), account, agent, **options)  # type: ignore[arg-type]
        script.check()
        self._scripts[script.id] = script
        return script

    def of(self, account: str, agent: Optional[str] = None) -> list[Script]:
        """In the order they came."""
        return [
            script
            for script in self._scripts.values()
            if account in (script.account, EVERYBODY) and agent in (None, script.agent)
        ]

    def get(self, script_id: str) -> Optional[Script]:
        return self._scripts.get(script_id)

    def remove(self, script: Script) -> None:
        self._scripts.pop(script.id, None)

    def clear(self, account: str, agent: Optional[str] = None) -> None:
        """An account's own; everybody's with `*`."""
        for script in self.of(account, agent):
            if account in (script.account, EVERYBODY):
                self.remove(script)

    def passes(self, account: str, agent: str) -> Optional[Script]:
        """What says that the host's program answers what no prompt's reply fits."""
        return next((script for script in self._usable(account, agent) if script.passthrough), None)

    def take(self, account: str, agent: str, prompt: str) -> Optional[Script]:
        """The reply to a prompt, which counts as used: the first group of those whose `prompt` fits, then passthrough,
        then those for all prompts. None when there is none at all; NoReplyLeft when all are used up."""
        groups: dict[tuple[str, bool], list[Script]] = {}
        for script in self._usable(account, agent):
            if script.prompt is not None and fits(script.prompt, prompt, script.regex):
                groups.setdefault((script.prompt, script.regex), []).append(script)
        passing = self.passes(account, agent)
        rest = [script for script in self._usable(account, agent) if script.prompt is None and not script.passthrough]
        queues = [*groups.values(), [passing] if passing else [], rest]
        for queue in queues:
            taken = _next(queue)
            if taken is not None:
                taken.used += 1
                return taken
        if any(queues):
            count = sum(map(len, queues))
            raise NoReplyLeft(f"no reply is left for this prompt: {count} that fit it are used up")
        return None

    def _usable(self, account: str, agent: str) -> Iterable[Script]:
        """An account's own come first."""
        mine = [script for script in self._scripts.values() if script.agent == agent and script.account == account]
        return mine + [
            script for script in self._scripts.values() if script.agent == agent and script.account == EVERYBODY
        ]


def _next(queue: list[Script]) -> Optional[Script]:
    for script in queue:
        if script.used < (script.times or 1) or (script is queue[-1] and script.times is None):
            return script
    return None
