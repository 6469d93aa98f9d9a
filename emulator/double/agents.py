"""What agents answer, in a test's hands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Callable, Optional, Union

from ..control.agents import Prompt as Asked
from ..control.agents import Reply
from .added import Added
from .journal import Journal, Prompt
from .link import EmulatorError, Link, Of
from .patterns import Pattern, add, any_regex, as_text

if TYPE_CHECKING:
    from caged import Caged, ExecResult

    from ..platform.services import Services

Text = Union[str, Sequence[str]]


@dataclass(frozen=True)
class ReplyInfo:
    """`agent`: the platform's name. `options`: as it was asked for. `used`: so often."""

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
class AddedReply(Added):
    """One that was added."""

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
    """What to say of replies that were asked for and never said."""
    lines = ["a reply was never used:" if len(replies) == 1 else "replies were never used:"]
    lines += [f"  {reply.described}" for reply in replies]
    return "\n".join([*lines, "remove it, correct its prompt, or add it with optional=True"])


@dataclass(frozen=True)
class Workplace:
    """The sandbox in which an agent was asked, for the function that answers: through the SDK, as the account (so what
    it does stands in the journal, and costs nothing)."""

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
    """What to say of replies that were asked for and never said."""
    lines = ["an agent's reply was never said:" if len(replies) == 1 else "agents' replies were never said:"]
    lines += [f"  {reply.described}" for reply in replies]
    return "\n".join([*lines, "remove it, correct what it is to match, or add it with optional=True"])


class Agent:
    """One agent in the sandboxes of an account (the one that the test works with, unless `account` names another, or
    `"*"` for all). Until it is told something, it says that no model was asked."""

    def __init__(self, link: Link, name: str) -> None:
        self._link = link
        self._name = name

    def reply(
        self,
        text: Union[Text, Reply, Answerer] = "",
        *,
        files: Optional[Mapping[str, str]] = None,
        tokens_in: int = 0,
        tokens_out: int = 0,
        cost_usd: float = 0.0,
        exit_code: int = 0,
        delay: float = 0.0,
        model: Optional[str] = None,
        times: Optional[int] = None,
        optional: bool = False,
        account: Optional[Of] = None,
    ) -> AddedReply:
        """A reply to every prompt that no `reply_to` fits. Several are used in turn, the last one again and again; one
        with `times` so often. When all are used up, a prompt is an error.

        `text`: what it says, or pieces that it prints one by one, each after `delay` seconds (one text: after so many);
        or a Reply; or a function of the prompt and the sandbox it is asked in, which gives a Reply, a text, or None for
        the emulator's own. `files`: path -> content, written before the first word; a relative path is in the
        workspace. `tokens_in`, `tokens_out`, `cost_usd` (from the sandbox's budget) and `model` are its session's; when
        that uses the budget up, the pause follows in a moment, or at once by `clock.tick()`.
        `optional`: nobody minds when it is never used.

        ValueError for what makes no sense; EmulatorError for a function when the emulator is in another process.
        """
        options = dict(locals())
        for name in ("self", "text", "account"):
            del options[name]
        return self._add(text, None, options, account)

    def replies(
        self, replies: Sequence[Union[str, Reply, Answerer]], *, repeat: bool = True, account: Optional[Of] = None
    ) -> list[AddedReply]:
        """One after the other, then the last one again and again; without `repeat`, a prompt too many is an error."""
        last = len(replies) - 1
        return [
            self._add(reply, None, {"times": 1 if index < last or not repeat else None}, account)
            for index, reply in enumerate(replies)
        ]

    def reply_to(
        self,
        prompt: Union[Pattern, Mapping[Pattern, Union[str, Reply, Answerer]]],
        text: Union[Text, Reply, Answerer] = "",
        *,
        files: Optional[Mapping[str, str]] = None,
        tokens_in: int = 0,
        tokens_out: int = 0,
        cost_usd: float = 0.0,
        exit_code: int = 0,
        delay: float = 0.0,
        model: Optional[str] = None,
        times: Optional[int] = None,
        optional: bool = False,
        account: Optional[Of] = None,
    ) -> list[AddedReply]:
        """A reply to prompts that are exactly so; with * ? [ a pattern; a compiled regular expression, found somewhere
        in it. The first that fits, in the order they came, answers. Or a mapping of such to replies. The rest is as of
        `reply`."""
        options = dict(locals())
        for name in ("self", "prompt", "text", "account"):
            del options[name]
        if isinstance(prompt, Mapping):
            return [self._add(reply, pattern, options, account) for pattern, reply in prompt.items()]
        return [self._add(text, prompt, options, account)]

    def passthrough(self, *, optional: bool = False, account: Optional[Of] = None) -> AddedReply:
        """The real program of this machine answers what no `reply_to` fits, in the sandbox and with its environment. It
        is looked for on the emulator's PATH; exit code 127 where it is not, or cannot be seen from within the walls."""
        return self._add("", None, {"passthrough": True, "optional": optional}, account)

    def _add(
        self,
        said: Union[Text, Reply, Answerer],
        prompt: Optional[Pattern],
        options: Mapping[str, Any],
        account: Optional[Of],
    ) -> AddedReply:
        body = {**options, "prompt": as_text(prompt, False), "regex": any_regex([prompt])}
        function = None
        if isinstance(said, Reply):
            body.update(_described(said))
        elif callable(said):
            function = _answering(said, self._link)
        elif isinstance(said, Mapping):
            raise TypeError("a mapping of prompts to replies is for reply_to(); reply() takes one reply")
        else:
            body["text"] = said if isinstance(said, str) else list(said)
        for name in ("delay", "cost_usd"):
            if body.get(name) is not None:
                body[name] = float(body[name])
        if body.get("files") is not None:
            body["files"] = dict(body["files"])
        path = f"/agents/{self._name}/replies"
        added = add(self._link, path, body, function, "a function that answers prompts", account)
        return AddedReply(added["id"], self._link, added["agent"])

    @property
    def prompts(self) -> list[Prompt]:
        """Everything that it was asked, oldest first, with what it answered."""
        return self.prompts_of()

    def prompts_of(self, sandbox: Optional[Of] = None, *, account: Optional[Of] = None) -> list[Prompt]:
        return [
            prompt
            for prompt in Journal(self._link).prompts(sandbox, account=account)
            if self._name in (prompt.agent, prompt.program)
        ]

    def unused(self, *, account: Optional[Of] = None) -> list[ReplyInfo]:
        """Those that were never said and are not optional."""
        return [reply for reply in self.list(account=account) if not reply.used and not reply.optional]

    def list(self, *, account: Optional[Of] = None) -> list[ReplyInfo]:
        return [ReplyInfo(**told) for told in self._link.call("GET", f"/agents/{self._name}/replies", account=account)]

    def reset(self, *, account: Optional[Of] = None) -> None:
        """It answers as at the start. What it was asked stays in the journal."""
        self._link.call("DELETE", f"/agents/{self._name}/replies", account=account)


class Agents:
    """All agents of an account."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def unused(self, *, account: Optional[Of] = None) -> list[ReplyInfo]:
        """Replies that were never said and are not optional."""
        return [reply for reply in self.list(account=account) if not reply.used and not reply.optional]

    def list(self, *, account: Optional[Of] = None) -> list[ReplyInfo]:
        return [ReplyInfo(**told) for told in self._link.call("GET", "/agents", account=account)]

    def reset(self, *, account: Optional[Of] = None) -> None:
        self._link.call("DELETE", "/agents", account=account)


def _described(reply: Reply) -> dict[str, Any]:
    body = {name: value for name, value in vars(reply).items() if value is not None}
    return {**body, "text": reply.text if isinstance(reply.text, str) else list(reply.text)}


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


def _answering(function: Answerer, link: Link) -> Callable[[Asked], Optional[Reply]]:
    """The function as the emulator calls it, in a thread of its own."""
    services = link.local("a function that answers prompts")

    def answer(prompt: Asked) -> Optional[Reply]:
        from caged import Caged

        with Caged(api_key=_key(services, prompt.sandbox_id), base_url=services.base_url) as client:
            said = function(PromptText.of(prompt), Workplace(prompt.sandbox_id, prompt.cwd, client))
        if isinstance(said, str):
            return Reply(said)
        if said is None or isinstance(said, Reply):
            return said
        raise TypeError(f"it returned {type(said).__name__}, not a Reply, a str or None")

    return answer


def _key(services: Services, sandbox_id: str) -> str:
    account = services.store.accounts[services.store.sandboxes[sandbox_id].account_id]
    key = next((key.secret for key in account.keys.values() if key.scope == "full"), None)
    if key is None:
        raise EmulatorError(f"account {account.id} has no full API key left, which the function would need")
    return key
