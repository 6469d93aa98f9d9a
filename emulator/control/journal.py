"""What was asked of the emulator and what happened in its sandboxes, per account: requests with their answers,
commands, prompts, events. The newest of each; the oldest are forgotten first."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Callable, Generic, Optional, TypeVar
from urllib.parse import unquote_plus

from ..history import Event
from .credentials import LONGEST_CREDENTIAL, credentials_masked
from .current_account import ALL_ACCOUNTS
from .redaction import LONGEST, Redactor, without_end

T = TypeVar("T")

#: Kept of each account: entries of each kind, and bytes of each kind.
KEEP = 10_000
KEEP_BYTES = 32 * 1024**2
#: What an entry takes besides its texts, about.
ENTRY_BYTES = 500
#: Of one text: a command, a prompt, a reply, an argument. What is longer is cut, with a mark.
TEXT_CHARACTERS = 64 * 1024
#: Of a path or a query; how many warnings of one request, and of each.
URL_CHARACTERS = 4096
WARNINGS, WARNING_CHARACTERS = 30, 1000
#: Of a text whose entry has lost the rest, because the account had more than KEEP_BYTES.
REST_CHARACTERS = 200
#: Ids of sandboxes that are known of each account, beyond what is kept of them.
KEEP_SANDBOXES = 100_000
#: Of one body; what is longer is cut.
BODY_BYTES = 64 * 1024


@dataclass
class RequestRecord:
    """One request. `operation` is the resource and call, e.g. `sandboxes.exec`. `status` 0: not answered (yet).
    `warnings`: what was accepted though a client should not rely on it, such as an unknown key. `fault`: the id of the
    one that fired. `duration_ms`: of real time. Bodies are cut after BODY_BYTES, secrets masked; empty for streams and
    previews."""

    at: str
    method: str
    path: str
    operation: str
    account: Optional[str] = None
    status: int = 0
    warnings: list[str] = field(default_factory=list)
    query: str = ""
    sandbox: str = ""
    fault: str = ""
    duration_ms: float = 0.0
    request: bytes = b""
    response: bytes = b""


@dataclass(frozen=True)
class CommandRecord:
    """One command. `source`: exec, stream, terminal, mcp or build. `exit_code` None: it has none (killed, or typed in a
    terminal). `output` is known of exec alone. `stub`: the id of the stub that answered in its place. `truncated`: the
    answer of the exec did not hold all of the output."""

    at: str
    account: str
    sandbox: str
    command: str
    exit_code: Optional[int]
    source: str
    duration_ms: float
    output: Optional[str] = None
    stub: str = ""
    truncated: bool = False


@dataclass(frozen=True)
class PromptRecord:
    """One prompt of an agent program, with what was answered. Money in USD."""

    at: str
    account: str
    sandbox: str
    session: str
    agent: str
    program: str
    prompt: str
    arguments: tuple[str, ...]
    cwd: str
    reply: str
    exit_code: int
    tokens_in: int
    tokens_out: int
    cost_usd: float


def _rest(text: str) -> str:
    """What stays of a text when the account has too much."""
    more = len(text) - REST_CHARACTERS
    return text if more <= 0 else f"{text[:REST_CHARACTERS]} … ({more} more characters, dropped: {_TOO_MUCH})"


_TOO_MUCH = f"the journal of the account had more than {KEEP_BYTES // 1024**2} MiB"
DROPPED = f"[dropped: {_TOO_MUCH}]"


def _shrink_command(ran: CommandRecord) -> CommandRecord:
    output = None if ran.output is None else DROPPED
    return replace(ran, command=_rest(ran.command), output=output, truncated=ran.output is not None)


def _shrink_prompt(asked: PromptRecord) -> PromptRecord:
    return replace(asked, prompt=_rest(asked.prompt), arguments=(), cwd=_rest(asked.cwd), reply=DROPPED)


def _shrink_event(event: Event) -> Event:
    return replace(event, data={"dropped": _TOO_MUCH}, meta={})


class Kept(Generic[T]):
    """The newest KEEP entries. When they have more than KEEP_BYTES, the oldest lose their texts, with a mark."""

    def __init__(self, shrink: Callable[[T], T]) -> None:
        self._shrink = shrink
        self._shrunk: deque[T] = deque()
        self._whole: deque[tuple[T, int]] = deque()
        self._bytes = 0

    def append(self, entry: T, weight: int) -> None:
        weight += ENTRY_BYTES
        self._whole.append((entry, weight))
        self._bytes += weight
        while self._bytes > KEEP_BYTES and len(self._whole) > 1:
            old, weight = self._whole.popleft()
            self._bytes -= weight
            self._shrunk.append(self._shrink(old))
        while len(self) > KEEP:
            if self._shrunk:
                self._shrunk.popleft()
            else:
                self._bytes -= self._whole.popleft()[1]

    def __len__(self) -> int:
        return len(self._shrunk) + len(self._whole)

    def __iter__(self) -> Iterator[T]:
        yield from self._shrunk
        for entry, _weight in self._whole:
            yield entry


class Pages:
    """Of one account."""

    def __init__(self) -> None:
        self.requests: deque[RequestRecord] = deque(maxlen=KEEP)
        self.commands: Kept[CommandRecord] = Kept(_shrink_command)
        self.prompts: Kept[PromptRecord] = Kept(_shrink_prompt)
        self.events: Kept[Event] = Kept(_shrink_event)
        #: Those of the requests that have bodies, with their bytes, and how many bytes these are in all.
        self._with_bodies: deque[tuple[RequestRecord, int]] = deque()
        self._bytes = 0
        #: Values that nobody may see, as they stand in bodies.
        self.hidden = Redactor()
        #: Ids of all sandboxes that there were, oldest first; a query about any other is a mistake.
        self.sandboxes: dict[str, None] = {}

    def weigh(self, entry: RequestRecord) -> None:
        """Forgets the oldest bodies when there are too many bytes of them, and what else is long."""
        weight = len(entry.request) + len(entry.response) + len(entry.path) + len(entry.query)
        weight += sum(map(len, entry.warnings)) + ENTRY_BYTES
        self._with_bodies.append((entry, weight))
        self._bytes += weight
        while self._bytes > KEEP_BYTES or len(self._with_bodies) > KEEP:
            old, weight = self._with_bodies.popleft()
            self._bytes -= weight
            old.request = old.response = b""
            old.path, old.query = _rest(old.path), _rest(old.query)
            old.warnings = list(map(_rest, old.warnings[:1]))


class Journal:
    def __init__(self) -> None:
        self._pages: dict[str, Pages] = {}

    def of(self, account: Optional[str]) -> Pages:
        """Of an account; of nobody, for requests that did not say who they are."""
        pages = self._pages.get(account or "")
        if pages is None:
            pages = self._pages[account or ""] = Pages()
        return pages

    def known(self, account: Optional[str]) -> Iterable[Pages]:
        """The pages of one account, or, None, of everybody."""
        return list(self._pages.values()) if account is None else [self._pages.get(account, Pages())]

    def add(self, entry: RequestRecord) -> RequestRecord:
        """Of nobody, until `belongs` says whose it is."""
        self.of(entry.account).requests.append(entry)
        return entry

    def belongs(self, entry: RequestRecord, account: str, at: str) -> None:
        """Whose it is, and when it came by that account's time. To be said before anything else is added."""
        nobody = self.of(entry.account).requests
        if nobody and nobody[-1] is entry:
            nobody.pop()
        entry.account, entry.at = account, at
        self.of(account).requests.append(entry)

    def finish(self, entry: RequestRecord, request: bytes, response: bytes) -> None:
        """The entry's bodies; from now on it says nothing that is hidden."""
        pages = self._pages.get(entry.account or "") or Pages()  # none: its account is gone
        entry.request = _kept(request, pages.hidden)
        entry.response = _kept(response, pages.hidden)
        if "=" in entry.query or entry.path.startswith("/billing/"):
            entry.path = credentials_masked(entry.path.encode()).decode()
            entry.query = credentials_masked(entry.query.encode()).decode()
        if pages.hidden:
            entry.path, entry.query = _shown(entry.path, pages.hidden), _shown(entry.query, pages.hidden)
        more = len(entry.warnings) - WARNINGS
        warnings = entry.warnings[:WARNINGS] + ([f"… and {more} more warnings"] if more > 0 else [])
        entry.warnings[:] = [_hidden_and_cut(text, WARNING_CHARACTERS, pages.hidden) for text in warnings]
        entry.path = cut(entry.path, URL_CHARACTERS)
        entry.query = cut(entry.query, URL_CHARACTERS)
        pages.weigh(entry)

    def hide(self, account: str, values: Iterable[str]) -> None:
        """From now on these stand as *** in bodies, also as JSON writes them."""
        self.of(account).hidden.add(values)

    def ran(self, command: CommandRecord) -> None:
        self.of(command.account).commands.append(command, len(command.command) + len(command.output or ""))

    def asked(self, prompt: PromptRecord) -> None:
        texts = (prompt.prompt, prompt.reply, prompt.cwd, *prompt.arguments)
        self.of(prompt.account).prompts.append(prompt, sum(map(len, texts)))

    def happened(self, event: Event, weight: int) -> None:
        """`weight`: bytes of the event's data, about."""
        pages = self.of(event.account_id)
        pages.events.append(event, weight)
        if event.sandbox_id:
            self._knows(pages, event.sandbox_id)

    @staticmethod
    def _knows(pages: Pages, sandbox: str) -> None:
        pages.sandboxes.setdefault(sandbox, None)
        if len(pages.sandboxes) > KEEP_SANDBOXES:
            del pages.sandboxes[next(iter(pages.sandboxes))]

    def has_sandbox(self, account: str, sandbox: str) -> bool:
        """Whether the account (any, for `*`) has, had or asked for such a sandbox, as far as the journal knows."""
        return any(
            sandbox in pages.sandboxes or any(entry.sandbox == sandbox for entry in pages.requests)
            for pages in self.known(None if account == ALL_ACCOUNTS else account)
        )

    def entries(self) -> tuple[RequestRecord, ...]:
        """Every account's requests that are kept, oldest first."""
        every = [entry for pages in self._pages.values() for entry in pages.requests]
        return tuple(sorted(every, key=lambda entry: entry.at))

    def forget(self, account: Optional[str] = None) -> None:
        """Everything of one account, or of all. What is hidden stays so, and which sandboxes there were stays known."""
        for name in list(self._pages) if account is None else [account]:
            old = self._pages.pop(name, None)
            if old is not None and (old.hidden or old.sandboxes):
                self.of(name).hidden, self.of(name).sandboxes = old.hidden, old.sandboxes

    def drop(self, account: str) -> None:
        """The account is gone."""
        self._pages.pop(account, None)


def _kept(body: bytes, hidden: Redactor) -> bytes:
    if not body:
        return b""
    spare = max(LONGEST_CREDENTIAL, LONGEST)
    piece = credentials_masked(hidden.masked(body[: BODY_BYTES + spare]))
    # What was at the end of a cut body may be part of something hidden, which was not found therefore.
    return (piece if len(body) <= BODY_BYTES + spare else without_end(piece, spare, b"***"))[:BODY_BYTES]


def cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]} … ({len(text) - most} more characters)"


def _hidden_and_cut(text: str, most: int, hidden: Redactor) -> str:
    if hidden:
        piece = hidden.masked(text[: most + LONGEST].encode("utf-8", "replace"))
        if len(text) > most + LONGEST:
            piece = without_end(piece, LONGEST, b"***")
        text = piece.decode("utf-8", "replace")
    return cut(text, most)


def _shown(url: str, hidden: Redactor) -> str:
    """Part of a URL, decoded where something in it is hidden."""
    plain = unquote_plus(url, errors="replace").encode()
    masked = hidden.masked(plain)
    return url if masked == plain else masked.decode("utf-8", "replace")
