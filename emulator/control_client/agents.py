"""Replies of agents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, Optional, Union

from ..control.agent_replies import ReplyInfo, ReplyMethods, ScriptedReply
from ..control.agents import Prompt, Reply, check_files
from ..control.description import options_of, values_of
from ..control.identifiers import IdOrObject
from ..control.names import suggestion
from ..control.patterns import TextPattern, nearest_lines
from ..control.records import PromptRecord
from ..control.reply_functions import Answerer, PromptSandbox, PromptText
from ..control.values import check_text
from ..platform import limits
from .admin_client import AdminClient
from .collection import Collection
from .handle import Handle, Handles
from .journal import Journal
from .transport import EmulatorError

if TYPE_CHECKING:
    from ..platform.platform import Platform

#: What a reply's text may also be, for error texts.
_ALSO = ", a Reply or a function"


@dataclass(frozen=True)
class ReplyHandle(Handle):
    """The handle of a reply that was added: see `Handle` for its use in a `with` statement.

    Attributes:
        agent: The platform's name of the agent.
    """

    agent: str

    @property
    def _path(self) -> str:
        return f"/agents/{self.agent}/replies/{self.id}"

    @property
    def info(self) -> ReplyInfo:
        """The reply as the emulator has it now."""
        return ReplyInfo(**self._admin.call("GET", self._path, account="*"))

    @property
    def used(self) -> int:
        """How many prompts it has answered so far."""
        return self.info.used

    def _complaint(self) -> str:
        info = self.info
        return unused_replies([info]) if info.is_unused else ""


def unused_replies(replies: Sequence[ReplyInfo]) -> str:
    """The message about replies that were never used."""
    lines = ["a reply was never used:" if len(replies) == 1 else "replies were never used:"]
    lines += [f"  {reply.described}" for reply in replies]
    return "\n".join([*lines, "remove it, correct its prompt, or add it with optional=True"])


def nearest_to_reply(reply: ReplyInfo, prompts: Sequence[str]) -> list[str]:
    """The prompts that came nearest to a reply."""
    prompt = reply.options.get("prompt")
    wanted = str(prompt.get("regex") if isinstance(prompt, dict) else prompt or "")
    return [line.strip() for line in nearest_lines(wanted, prompts)] or ["no prompt came"]


class Agent(Collection[ReplyInfo], ReplyMethods[ReplyHandle, Handles[ReplyHandle]]):
    """One agent in the sandboxes of an account: the selected one, unless `account` names another. `account="*"` applies
    to every account. Without any reply the agent prints that no model was called.

    A prompt is answered by the replies of its own account first, then by those of every account; within these by the
    first `reply_to` whose pattern matches, then by `passthrough`, then by `reply`.

    Args:
        name: The platform's name, its other name or the command: `claude-code`, `claude`, `continue`, `cn`.

    Raises:
        ValueError: There is no such agent.
    """

    _info = ReplyInfo

    def __init__(self, admin: AdminClient, name: str) -> None:
        super().__init__(admin)
        agent = limits.agent_name(name) if isinstance(name, str) else None
        if agent is None:
            hint = suggestion(name if isinstance(name, str) else "", limits.agent_names())
            raise ValueError(f"agent {name!r} does not exist{hint}")
        self._name = agent

    @property
    def _path(self) -> str:
        return f"/agents/{self._name}/replies"

    def replies(
        self,
        replies: Sequence[Union[str, Reply, Answerer]],
        *,
        repeat: bool = True,
        account: Optional[IdOrObject] = None,
    ) -> Handles[ReplyHandle]:
        """Add replies that are used one after the other.

        Args:
            replies: Each as `text` of `reply`.
            repeat: Use the last one repeatedly; without it, a further prompt is an error.
            account: An account or its id; `"*"`: all accounts. The default is the selected account.

        Returns:
            Their handles, which can be used together in one `with` statement.

        Raises:
            ValueError, TypeError: An argument is wrong.
        """
        if isinstance(replies, (str, Reply)) or not isinstance(replies, Sequence):
            raise TypeError(f"replies: must be a list of replies, not {replies!r}; one reply is for reply()")
        if not replies:
            raise ValueError("replies: is empty")
        for index, one in enumerate(replies):
            _check_text(f"replies[{index}]", one)
        last = len(replies) - 1
        return Handles(
            self.reply(reply, times=1 if index < last or not repeat else None, account=account)
            for index, reply in enumerate(replies)
        )

    @property
    def prompts(self) -> list[PromptRecord]:
        """Its prompts with their replies, oldest first.

        This is `journal.prompts` for the agent that this object names already. It is a property, for assertions about
        one agent in one account; `journal.prompts` selects by sandbox and account, and limits the number.
        """
        return Journal(self._admin).prompts(agent=self._name)

    def _add_reply(self, arguments: dict[str, Any]) -> ReplyHandle:
        return self._added(arguments)

    def _add_passthrough(self, arguments: dict[str, Any]) -> ReplyHandle:
        return self._added({**arguments, "text": "", "passthrough": True})

    def _add_reply_to(self, arguments: dict[str, Any]) -> Union[ReplyHandle, Handles[ReplyHandle]]:
        prompts = arguments["prompt"]
        if not isinstance(prompts, Mapping):
            TextPattern.of_python("prompt", prompts)
            return self._added(arguments)
        if not prompts:
            raise ValueError("prompt: the mapping is empty")
        if arguments["text"]:
            raise TypeError("text: the replies to a mapping of prompts are its values")
        for pattern, reply in prompts.items():
            TextPattern.of_python("prompt", pattern)
            _check_text(f"reply to {pattern!r}", reply)
        return Handles(
            self._added({**arguments, "prompt": pattern, "text": reply}) for pattern, reply in prompts.items()
        )

    def _added(self, arguments: dict[str, Any]) -> ReplyHandle:
        reply = arguments["text"]
        _check_text("text", reply)
        function = None
        if isinstance(reply, Reply):
            reply.check()
            _check_beside_reply(arguments)
            arguments = {**arguments, **{one.name: value for one, value in values_of(reply).items()}}
        elif callable(reply):
            function = _answering(reply, self._admin)
            arguments = {**arguments, "text": ""}
        if arguments.get("files") is not None:
            check_files(arguments["files"])
        added = self._add(ScriptedReply, arguments, arguments["account"], function, _ALSO)
        return ReplyHandle(added["id"], self._admin, added["agent"])


class Agents(Collection[ReplyInfo]):
    """The replies of all agents of an account. `agent(name)` of the emulator adds them."""

    _info = ReplyInfo

    @property
    def _path(self) -> str:
        return "/agents"

    @property
    def _item_path(self) -> str:
        return "/agents/*/replies"


def _check_text(name: str, text: object) -> None:
    """Check that an argument is a text, a Reply or a function."""
    if isinstance(text, Mapping):
        raise TypeError("a mapping of prompts to replies is for reply_to(); reply() takes one reply")
    if not callable(text) and not isinstance(text, Reply):
        check_text(name, text, _ALSO)


def _check_beside_reply(arguments: Mapping[str, Any]) -> None:
    """Check that no option is given that a Reply has, too: the Reply's would replace it."""
    for one in options_of(Reply):
        given = arguments.get(one.name)
        if one.name != "text" and one.is_given(given):
            raise ValueError(f"{one.name}: has no effect beside a Reply; write Reply(..., {one.name}={given!r})")


def _answering(function: Answerer, admin: AdminClient) -> Callable[[Prompt], Optional[Reply]]:
    """The function as the emulator calls it, in a thread of its own."""
    platform = admin.local("a function that answers prompts")

    def answer(prompt: Prompt) -> Optional[Reply]:
        from caged import Caged

        with Caged(api_key=_key(platform, prompt.sandbox_id), base_url=platform.base_url) as client:
            result = function(PromptText.of(prompt), PromptSandbox(prompt.sandbox_id, prompt.cwd, client))
        if isinstance(result, str):
            return Reply(result)
        if result is None or isinstance(result, Reply):
            return result
        raise TypeError(f"the function returned {result!r}, not a Reply, a str or None")

    return answer


def _key(platform: Platform, sandbox_id: str) -> str:
    account = platform.store.accounts[platform.store.sandboxes[sandbox_id].account_id]
    key = next((key.secret for key in account.keys.values() if key.scope == "full"), None)
    if key is None:
        raise EmulatorError(f"account {account.id} has no full API key left, which the function would need")
    return key
