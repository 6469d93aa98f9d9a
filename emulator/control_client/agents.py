"""Replies of agents."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Callable, Optional, Union, overload

from ..control.agents import Prompt as Asked
from ..control.agents import Reply, check_files
from ..control.names import suggestion
from ..platform import limits
from .admin_client import AdminClient
from .checking import amount, check_int, check_pattern, check_str, check_text
from .handle import Handle, Handles
from .journal import Journal, Prompt
from .patterns import Pattern, add, as_json
from .transport import EmulatorError, IdOrObject

if TYPE_CHECKING:
    from caged import Caged, ExecResult

    from ..platform.platform import Platform

Text = Union[str, Sequence[str]]


@dataclass(frozen=True)
class ReplyInfo:
    """A reply as the emulator has it.

    Attributes:
        account: Id of the account to which it applies, or `*`.
        agent: The platform's name of the agent.
        options: Its options that are not the defaults.
        used: How often it was given.
        described: The reply in one line.
    """

    id: str
    account: str
    agent: str
    options: dict[str, Any]
    optional: bool
    used: int
    described: str

    def __str__(self) -> str:
        return f"{self.described}: used {self.used} times"


@dataclass(frozen=True)
class ReplyHandle(Handle):
    """The handle of a reply that was added: see `Added` for its use in a `with` statement.

    Attributes:
        agent: The platform's name of the agent.
    """

    agent: str

    @property
    def _path(self) -> str:
        return f"/agents/{self.agent}/replies/{self.id}"

    @property
    def info(self) -> ReplyInfo:
        return ReplyInfo(**self._link.call("GET", self._path, account="*"))

    @property
    def used(self) -> int:
        """How many prompts it has answered so far."""
        return self.info.used

    def _complaint(self) -> str:
        info = self.info
        return "" if info.used or info.optional else unused([info])


def unused(replies: Sequence[ReplyInfo]) -> str:
    """The message about replies that were never used."""
    lines = ["a reply was never used:" if len(replies) == 1 else "replies were never used:"]
    lines += [f"  {reply.described}" for reply in replies]
    return "\n".join([*lines, "remove it, correct its prompt, or add it with optional=True"])


@dataclass(frozen=True)
class Workplace:
    """The sandbox of a prompt, for the function that answers it: through the SDK, as the account, so that the journal
    shows what it does."""

    id: str
    cwd: str
    client: Caged = field(repr=False)

    def read(self, path: str) -> str:
        return self.client.files.read(self.id, path)

    def write(self, path: str, content: str) -> None:
        self.client.files.write(self.id, path, content)

    def exec(self, command: str) -> ExecResult:
        return self.client.sandboxes.exec(self.id, command)


#: A function that answers: None leaves it to the emulator's own reply.
Answerer = Callable[["PromptText", Workplace], Union[Reply, str, None]]


def unsaid(replies: Sequence[ReplyInfo]) -> str:
    """The message about replies that were never used."""
    lines = ["an agent's reply was never said:" if len(replies) == 1 else "agents' replies were never said:"]
    lines += [f"  {reply.described}" for reply in replies]
    return "\n".join([*lines, "remove it, correct its pattern, or add it with optional=True"])


class Agent:
    """One agent in the sandboxes of an account: the selected one, unless `account` names another. `account="*"` applies
    to every account. Without any reply the agent prints that no model was asked.

    A prompt is answered by the replies of its own account first, then by those of every account; within these by the
    first `reply_to` whose pattern matches, then by `passthrough`, then by `reply`.

    Args:
        name: The platform's name, its other name or the command: `claude-code`, `claude`, `continue`, `cn`.

    Raises:
        ValueError: There is no such agent.
    """

    def __init__(self, link: AdminClient, name: str) -> None:
        self._link = link
        agent = limits.agent_name(name) if isinstance(name, str) else None
        if agent is None:
            hint = suggestion(str(name), limits.agent_names())
            raise ValueError(f"agent {name!r} does not exist{hint}")
        self._name = agent

    def reply(
        self,
        text: Union[Text, Reply, Answerer] = "",
        *,
        files: Optional[Mapping[str, Union[str, bytes]]] = None,
        tokens_in: int = 0,
        tokens_out: int = 0,
        cost_usd: float = 0.0,
        exit_code: int = 0,
        delay: float = 0.0,
        model: Optional[str] = None,
        times: Optional[int] = None,
        optional: bool = False,
        allow_errors: bool = False,
        account: Optional[IdOrObject] = None,
    ) -> ReplyHandle:
        """Answer every prompt that no `reply_to` matches. Several are used in turn, the last one repeatedly; one with
        `times` that often. When all are used up, a prompt is an error.

        Args:
            text: The text, or pieces that are printed one by one; or a Reply; or a function of the prompt and the
                sandbox, which returns a Reply, a text, or None for the default reply.
            files: Path -> content, written before the text; a relative path is in the workspace.
            tokens_in: Tokens of the session.
            tokens_out: Tokens of the session.
            cost_usd: Spent from the sandbox's budget. When that uses it up, the pause follows within a second, or at
                once with `clock.tick()`.
            exit_code: Of the agent's command, from 0 to 255.
            delay: Seconds before the text, or before each piece.
            model: The session's model.
            times: How often it is given.
            optional: Do not report it when it is never used.
            allow_errors: An exception of the function, or a file that cannot be written, does not fail the test.

        Raises:
            ValueError, TypeError: An argument is wrong.
            EmulatorError: A function is given and the emulator is in another process.
        """
        options = dict(locals())
        for name in ("self", "text", "account"):
            del options[name]
        return self._add(text, None, options, account)

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

        Returns:
            Their handles, which can be used together in one `with` statement.
        """
        if isinstance(replies, (str, Reply)) or not isinstance(replies, Sequence):
            raise TypeError(f"replies: must be a list of replies, not {replies!r}; one reply is for reply()")
        if not replies:
            raise ValueError("replies: is empty")
        for index, one in enumerate(replies):
            _check_said(f"replies[{index}]", one)
        last = len(replies) - 1
        return Handles(
            self._add(reply, None, {"times": 1 if index < last or not repeat else None}, account)
            for index, reply in enumerate(replies)
        )

    @overload
    def reply_to(
        self,
        prompt: Pattern,
        text: Union[Text, Reply, Answerer] = "",
        *,
        files: Optional[Mapping[str, Union[str, bytes]]] = None,
        tokens_in: int = 0,
        tokens_out: int = 0,
        cost_usd: float = 0.0,
        exit_code: int = 0,
        delay: float = 0.0,
        model: Optional[str] = None,
        times: Optional[int] = None,
        optional: bool = False,
        allow_errors: bool = False,
        account: Optional[IdOrObject] = None,
    ) -> ReplyHandle: ...
    @overload
    def reply_to(
        self,
        prompt: Mapping[Pattern, Union[str, Reply, Answerer]],
        *,
        files: Optional[Mapping[str, Union[str, bytes]]] = None,
        tokens_in: int = 0,
        tokens_out: int = 0,
        cost_usd: float = 0.0,
        exit_code: int = 0,
        delay: float = 0.0,
        model: Optional[str] = None,
        times: Optional[int] = None,
        optional: bool = False,
        allow_errors: bool = False,
        account: Optional[IdOrObject] = None,
    ) -> Handles[ReplyHandle]: ...

    def reply_to(
        self,
        prompt: Union[Pattern, Mapping[Pattern, Union[str, Reply, Answerer]]],
        text: Union[Text, Reply, Answerer] = "",
        *,
        files: Optional[Mapping[str, Union[str, bytes]]] = None,
        tokens_in: int = 0,
        tokens_out: int = 0,
        cost_usd: float = 0.0,
        exit_code: int = 0,
        delay: float = 0.0,
        model: Optional[str] = None,
        times: Optional[int] = None,
        optional: bool = False,
        allow_errors: bool = False,
        account: Optional[IdOrObject] = None,
    ) -> Union[ReplyHandle, Handles[ReplyHandle]]:
        """Answer prompts that match a pattern.

        Args:
            prompt: The exact prompt, or a glob with `*`, `?` and `[`; a compiled regular expression, searched for in
                it; or a mapping of such patterns to replies.

        The other arguments and the exceptions are those of `reply`.

        Returns:
            The handle of the reply; of a mapping, the handles of all, which can be used together in one `with`
            statement.
        """
        options = dict(locals())
        for name in ("self", "prompt", "text", "account"):
            del options[name]
        if not isinstance(prompt, Mapping):
            check_pattern("prompt", prompt)
            return self._add(text, prompt, options, account)
        if not prompt:
            raise ValueError("prompt: the mapping is empty")
        if text:
            raise TypeError("text: the replies to a mapping of prompts are its values")
        for pattern, reply in prompt.items():
            check_pattern("prompt", pattern)
            _check_said(f"reply to {pattern!r}", reply)
        return Handles(self._add(reply, pattern, options, account) for pattern, reply in prompt.items())

    def passthrough(self, *, optional: bool = False, account: Optional[IdOrObject] = None) -> ReplyHandle:
        """Let the real program of this machine answer what no `reply_to` matches, in the sandbox and with its
        environment. It is searched for on the emulator's PATH; exit code 127 when it is not there, or the isolation
        level hides it."""
        return self._add("", None, {"passthrough": True, "optional": optional}, account)

    def _add(
        self,
        said: Union[Text, Reply, Answerer],
        prompt: Optional[Pattern],
        options: Mapping[str, Any],
        account: Optional[IdOrObject],
    ) -> ReplyHandle:
        body = {**options, "prompt": as_json("prompt", prompt)}
        _check_said("text", said)
        function = None
        if isinstance(said, Reply):
            said.check()
            _check_beside_reply(body)
            body.update(_described(said))
        elif callable(said):
            function = _answering(said, self._link)
        else:
            body["text"] = said if isinstance(said, str) else list(said)
        body["allow_errors"] = body.get("allow_errors") or None
        for name in ("delay", "cost_usd"):
            if body.get(name) is not None:
                body[name] = amount(name, body[name])
        for name in ("tokens_in", "tokens_out", "exit_code", "times"):
            if body.get(name) is not None:
                check_int(name, body[name])
        if body.get("model") is not None:
            check_str("model", body["model"])
        if body.get("files") is not None:
            check_files(body["files"])
            body["files"] = {path: _encoded(content) for path, content in body["files"].items()}
        path = f"/agents/{self._name}/replies"
        added = add(self._link, path, body, function, "a function that answers prompts", account)
        return ReplyHandle(added["id"], self._link, added["agent"])

    @property
    def prompts(self) -> list[Prompt]:
        """Its prompts, oldest first, with the replies."""
        return self.prompts_of()

    def prompts_of(self, sandbox: Optional[IdOrObject] = None, *, account: Optional[IdOrObject] = None) -> list[Prompt]:
        """Its prompts, those of one sandbox if one is given."""
        return Journal(self._link).prompts(sandbox, agent=self._name, account=account)

    def unused(self, *, account: Optional[IdOrObject] = None) -> list[ReplyInfo]:
        """Those of `list` that were never used and are not optional."""
        return [reply for reply in self.list(account=account) if not reply.used and not reply.optional]

    def list(self, *, account: Optional[IdOrObject] = None) -> list[ReplyInfo]:
        """All replies that apply to the account: its own, then those of every account, each in the order in which they
        were added."""
        return [ReplyInfo(**told) for told in self._link.call("GET", f"/agents/{self._name}/replies", account=account)]

    def reset(self, *, account: Optional[IdOrObject] = None) -> None:
        """Remove its replies that were added for exactly this account, or for `*`. Its prompts stay in the journal."""
        self._link.call("DELETE", f"/agents/{self._name}/replies", account=account)


class Agents:
    """All agents of an account."""

    def __init__(self, link: AdminClient) -> None:
        self._link = link

    def unused(self, *, account: Optional[IdOrObject] = None) -> list[ReplyInfo]:
        """Those of `list` that were never used and are not optional."""
        return [reply for reply in self.list(account=account) if not reply.used and not reply.optional]

    def list(self, *, account: Optional[IdOrObject] = None) -> list[ReplyInfo]:
        """All replies that apply to the account: its own, then those of every account, each in the order in which they
        were added."""
        return [ReplyInfo(**told) for told in self._link.call("GET", "/agents", account=account)]

    def reset(self, *, account: Optional[IdOrObject] = None) -> None:
        """Remove the replies that were added for exactly this account, or for `*`."""
        self._link.call("DELETE", "/agents", account=account)


def _described(reply: Reply) -> dict[str, Any]:
    body = {name: value for name, value in vars(reply).items() if value is not None}
    return {**body, "text": reply.text if isinstance(reply.text, str) else list(reply.text)}


def _check_beside_reply(options: Mapping[str, Any]) -> None:
    """Check that no option is given that a Reply has, too: the Reply's would replace it."""
    for each in fields(Reply):
        given = options.get(each.name)
        if given is not None and given != (each.default if each.name != "files" else {}):
            raise ValueError(f"{each.name}: has no effect beside a Reply; write Reply(..., {each.name}={given!r})")


def _encoded(content: Union[str, bytes]) -> Union[str, dict[str, str]]:
    """A file's content as the admin API takes it."""
    if isinstance(content, str):
        return content
    return {"base64": base64.b64encode(content).decode()}


def _check_said(name: str, said: object) -> None:
    if isinstance(said, Mapping):
        raise TypeError("a mapping of prompts to replies is for reply_to(); reply() takes one reply")
    if not callable(said) and not isinstance(said, Reply):
        check_text(name, said, ", a Reply or a function")


class PromptText(str):
    """The prompt's text, with where it was asked: `agent`, `program`, `sandbox_id`, `session_id`, `cwd`, `arguments`;
    `text` is the same as itself."""

    agent: str
    program: str
    sandbox_id: str
    session_id: str
    cwd: str
    arguments: Sequence[str]
    text: str

    @classmethod
    def of(cls, prompt: Asked) -> PromptText:
        made = cls(prompt.text)
        vars(made).update(vars(prompt))
        return made


def _answering(function: Answerer, link: AdminClient) -> Callable[[Asked], Optional[Reply]]:
    """The function as the emulator calls it, in a thread of its own."""
    platform = link.local("a function that answers prompts")

    def answer(prompt: Asked) -> Optional[Reply]:
        from caged import Caged

        with Caged(api_key=_key(platform, prompt.sandbox_id), base_url=platform.base_url) as client:
            said = function(PromptText.of(prompt), Workplace(prompt.sandbox_id, prompt.cwd, client))
        if isinstance(said, str):
            return Reply(said)
        if said is None or isinstance(said, Reply):
            return said
        raise TypeError(f"the function returned {said!r}, not a Reply, a str or None")

    return answer


def _key(platform: Platform, sandbox_id: str) -> str:
    account = platform.store.accounts[platform.store.sandboxes[sandbox_id].account_id]
    key = next((key.secret for key in account.keys.values() if key.scope == "full"), None)
    if key is None:
        raise EmulatorError(f"account {account.id} has no full API key left, which the function would need")
    return key
