"""Replies of agents: used one after the other, chosen by prompt, made by a function, or printed by the real program.

An option of a reply is one field of `ScriptedReply` or `Reply`, and one parameter of the methods in `ReplyMethods` that
take it. `platform/agent_runs.py` gives the replies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Callable, Generic, Optional, TypeVar, Union, overload

from .agents import Prompt, Reply
from .current_account import ALL_ACCOUNTS
from .description import given_values, named, nested, option
from .identifiers import IdOrObject
from .patterns import Pattern, TextPattern
from .records import value
from .registry import Control, CountedInfo
from .reply_functions import Answerer
from .values import Files, Text

H = TypeVar("H")
HS = TypeVar("HS")
#: Characters of a reply's text in its description.
_SHOWN = 60


@dataclass(frozen=True)
class ReplyInfo(CountedInfo):
    """A reply as the emulator has it."""

    agent: str = value("The platform's name of the agent.", column=True)
    used: int = value("How often it was given.", column=True)


@dataclass
class ScriptedReply(Control):
    """One reply of an agent: its options, and how often it was given.

    Attributes:
        agent: The platform's name of the agent.
        reply: What the agent prints and does.
        function: Makes the reply instead of `reply`; when it returns None, the agent gives its default reply.
        used: How often it was given.
    """

    NOUN = "reply"

    agent: str
    prompt: Optional[TextPattern] = option(
        None,
        "The exact prompt, or a glob with `*`, `?` and `[`; a regular expression, searched for in it.",
        methods=("reply_to",),
        is_required=True,
    )
    reply: Reply = nested(Reply)
    times: Optional[int] = option(
        None,
        "How often it is given. Without it, replies for the same prompts are used in turn, the last one repeatedly.",
        at_least=1,
        methods=("reply", "reply_to"),
    )
    passthrough: bool = option(
        False, "The real program of the host answers what no other reply matches.", methods=("http",)
    )
    optional: bool = option(False, "Do not report it when it is never used.")
    allow_errors: bool = option(
        False,
        "An exception of the function, or a file that cannot be written, does not fail the test.",
        methods=("reply", "reply_to"),
    )
    function: Optional[Callable[[Prompt], Optional[Reply]]] = field(default=None, repr=False)
    used: int = 0

    def check(self) -> None:
        if self.passthrough and self.prompt is not None:
            raise ValueError("passthrough: applies to every prompt that no other reply matches; leave prompt out")
        super().check()
        if self.allow_errors and self.function is None and not self.reply.files:
            raise ValueError("allow_errors: applies to functions and files; this reply has none")
        self.reply.check()
        self._check_effect()

    def _check_effect(self) -> None:
        """Refuse options of a reply that is not given, because something else answers."""
        unused = [one.name for one in given_values(self.reply)]
        if unused and self.passthrough:
            raise ValueError(f"{unused[0]}: has no effect with passthrough, where the real program answers")
        if unused and self.function is not None:
            raise ValueError(
                f"{unused[0]}: has no effect beside a function; let the function return Reply(..., {unused[0]}=...)"
            )

    def info(self) -> ReplyInfo:
        return ReplyInfo(**self._info_fields(), agent=self.agent, used=self.used)

    def __str__(self) -> str:
        what = "passthrough" if self.passthrough else "a function" if self.function else repr(self.reply.whole[:_SHOWN])
        when = "" if self.prompt is None else f", prompt={self.prompt!r}"
        where = ", account='*'" if self.account == ALL_ACCOUNTS else ""
        return f"reply {self.id} of {self.agent} ({what}{when}{where})"


class ReplyMethods(Generic[H, HS]):
    """The methods that add replies of an agent, as callers see them.

    H: the class of the handles that they return. HS: that of several handles.
    """

    @named("agent.reply")
    def reply(
        self,
        text: Union[Text, Reply, Answerer] = "",
        *,
        exit_code: int = 0,
        tokens_in: int = 0,
        tokens_out: int = 0,
        cost_usd: float = 0.0,
        model: Optional[str] = None,
        files: Optional[Files] = None,
        delay: float = 0.0,
        times: Optional[int] = None,
        optional: bool = False,
        allow_errors: bool = False,
        account: Optional[IdOrObject] = None,
    ) -> H:
        """Answer every prompt that no `reply_to` matches. Several are used in turn, the last one repeatedly; one with
        `times` that often. When all are used up, a prompt is an error.

        Args:
            text: The text, or pieces that are printed one by one. Or a Reply; or a function of the prompt and the
                sandbox, which returns a Reply, a text, or None for the default reply.
            exit_code: Of the agent's command. From 0 to 255.
            tokens_in: Tokens of the session.
            tokens_out: Tokens of the session.
            cost_usd: Spent from the sandbox's budget. When that uses it up, the pause follows within a second, or at
                once with `clock.tick()`. In USD.
            model: The session's model.
            files: Path -> content, written before the text; a relative path is in the workspace.
            delay: Time before the text, or before each piece. In seconds.
            times: How often it is given. Without it, replies for the same prompts are used in turn, the last one
                repeatedly.
            optional: Do not report it when it is never used.
            allow_errors: An exception of the function, or a file that cannot be written, does not fail the test.
            account: An account or its id; `"*"`: all accounts. The default is the selected account.

        Returns:
            The handle of the reply.

        Raises:
            ValueError, TypeError: An argument is wrong.
            EmulatorError: A function is given and the emulator is in another process.
        """
        return self._add_reply(dict(locals()))

    @overload
    def reply_to(
        self,
        prompt: Pattern,
        text: Union[Text, Reply, Answerer] = "",
        *,
        exit_code: int = 0,
        tokens_in: int = 0,
        tokens_out: int = 0,
        cost_usd: float = 0.0,
        model: Optional[str] = None,
        files: Optional[Files] = None,
        delay: float = 0.0,
        times: Optional[int] = None,
        optional: bool = False,
        allow_errors: bool = False,
        account: Optional[IdOrObject] = None,
    ) -> H: ...
    @overload
    def reply_to(
        self,
        prompt: Mapping[Pattern, Union[str, Reply, Answerer]],
        *,
        exit_code: int = 0,
        tokens_in: int = 0,
        tokens_out: int = 0,
        cost_usd: float = 0.0,
        model: Optional[str] = None,
        files: Optional[Files] = None,
        delay: float = 0.0,
        times: Optional[int] = None,
        optional: bool = False,
        allow_errors: bool = False,
        account: Optional[IdOrObject] = None,
    ) -> HS: ...

    @named("agent.reply_to")
    def reply_to(
        self,
        prompt: Union[Pattern, Mapping[Pattern, Union[str, Reply, Answerer]]],
        text: Union[Text, Reply, Answerer] = "",
        *,
        exit_code: int = 0,
        tokens_in: int = 0,
        tokens_out: int = 0,
        cost_usd: float = 0.0,
        model: Optional[str] = None,
        files: Optional[Files] = None,
        delay: float = 0.0,
        times: Optional[int] = None,
        optional: bool = False,
        allow_errors: bool = False,
        account: Optional[IdOrObject] = None,
    ) -> Union[H, HS]:
        """Answer prompts that match a pattern.

        Args:
            prompt: The exact prompt, or a glob with `*`, `?` and `[`; a regular expression, searched for in it. Or a
                mapping of such patterns to replies.
            text: The text, or pieces that are printed one by one. Or a Reply; or a function, as of `reply`.
            exit_code: Of the agent's command. From 0 to 255.
            tokens_in: Tokens of the session.
            tokens_out: Tokens of the session.
            cost_usd: Spent from the sandbox's budget. When that uses it up, the pause follows within a second, or at
                once with `clock.tick()`. In USD.
            model: The session's model.
            files: Path -> content, written before the text; a relative path is in the workspace.
            delay: Time before the text, or before each piece. In seconds.
            times: How often it is given. Without it, replies for the same prompts are used in turn, the last one
                repeatedly.
            optional: Do not report it when it is never used.
            allow_errors: An exception of the function, or a file that cannot be written, does not fail the test.
            account: An account or its id; `"*"`: all accounts. The default is the selected account.

        Returns:
            The handle of the reply; of a mapping, the handles of all, which can be used together in one `with`
            statement.

        Raises:
            ValueError, TypeError: An argument is wrong.
            EmulatorError: A function is given and the emulator is in another process.
        """
        return self._add_reply_to(dict(locals()))

    @named("agent.passthrough")
    def passthrough(self, *, optional: bool = False, account: Optional[IdOrObject] = None) -> H:
        """Let the real program of this machine answer what no `reply_to` matches, in the sandbox and with its
        environment. It is searched for on the emulator's PATH; exit code 127 when it is not there, or the isolation
        level hides it.

        Args:
            optional: Do not report it when it is never used.
            account: An account or its id; `"*"`: all accounts. The default is the selected account.

        Returns:
            The handle of the reply.
        """
        return self._add_passthrough(dict(locals()))

    def _add_reply(self, arguments: dict[str, Any]) -> H:
        """Add a reply. `arguments`: the local names of `reply`, `self` and `account` among them."""
        raise NotImplementedError

    def _add_reply_to(self, arguments: dict[str, Any]) -> Union[H, HS]:
        """Add a reply to a pattern, or several. `arguments`: the local names of `reply_to`."""
        raise NotImplementedError

    def _add_passthrough(self, arguments: dict[str, Any]) -> H:
        """Add a reply by the real program. `arguments`: the local names of `passthrough`."""
        raise NotImplementedError
