"""The journal of each account: requests with their answers, commands, prompts to agents, events. The newest of each are
kept, and the oldest are dropped first."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Callable, Generic, Optional, TypeVar
from urllib.parse import unquote_plus

from ..history import Event
from .credentials import LONGEST_CREDENTIAL, credentials_masked
from .current_account import ALL_ACCOUNTS
from .records import CommandRecord, PromptRecord, RequestRecord
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


def _rest(text: str) -> str:
    """The part of a text that is kept when the journal of the account is too large."""
    more = len(text) - REST_CHARACTERS
    return text if more <= 0 else f"{text[:REST_CHARACTERS]} … ({more} more characters, dropped: {_TOO_MUCH})"


_TOO_MUCH = f"the journal of the account had more than {KEEP_BYTES // 1024**2} MiB"
DROPPED = f"[dropped: {_TOO_MUCH}]"


def _shrink_command(record: CommandRecord) -> CommandRecord:
    output = None if record.output is None else DROPPED
    return replace(record, command=_rest(record.command), output=output, truncated=record.output is not None)


def _shrink_prompt(record: PromptRecord) -> PromptRecord:
    return replace(record, prompt=_rest(record.prompt), arguments=[], cwd=_rest(record.cwd), reply=DROPPED)


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
    """The journal of one account."""

    def __init__(self) -> None:
        self.requests: deque[RequestRecord] = deque(maxlen=KEEP)
        self.commands: Kept[CommandRecord] = Kept(_shrink_command)
        self.prompts: Kept[PromptRecord] = Kept(_shrink_prompt)
        self.events: Kept[Event] = Kept(_shrink_event)
        #: Those of the requests that have bodies, with their bytes, and how many bytes these are in all.
        self._with_bodies: deque[tuple[RequestRecord, int]] = deque()
        self._bytes = 0
        #: Secret values, which are redacted in bodies and URLs.
        self.hidden = Redactor()
        #: Ids of all sandboxes that there were, oldest first; a query about another one is refused.
        self.sandboxes: dict[str, None] = {}

    def weigh(self, entry: RequestRecord) -> None:
        """Count an entry's bytes. When there are too many, the oldest entries lose their bodies and long texts."""
        weight = len(entry.request) + len(entry.response) + len(entry.path) + len(entry.query)
        weight += sum(map(len, entry.warnings)) + ENTRY_BYTES
        self._with_bodies.append((entry, weight))
        self._bytes += weight
        while self._bytes > KEEP_BYTES or len(self._with_bodies) > KEEP:
            old, weight = self._with_bodies.popleft()
            self._bytes -= weight
            old.request = old.response = ""
            old.path, old.query = _rest(old.path), _rest(old.query)
            old.warnings = list(map(_rest, old.warnings[:1]))


class Journal:
    """The journals of all accounts."""

    def __init__(self) -> None:
        self._pages: dict[str, Pages] = {}

    def of(self, account: str) -> Pages:
        """The journal of an account; of none (an empty id) for requests that were not authenticated."""
        pages = self._pages.get(account)
        if pages is None:
            pages = self._pages[account] = Pages()
        return pages

    def known(self, account: Optional[str]) -> Iterable[Pages]:
        """The journal of one account, or, with None, of each account."""
        return list(self._pages.values()) if account is None else [self._pages.get(account, Pages())]

    def add(self, entry: RequestRecord) -> RequestRecord:
        """Add a request, for no account until `assign` names one."""
        self.of(entry.account).requests.append(entry)
        return entry

    def assign(self, entry: RequestRecord, account: str, at: str) -> None:
        """Assign a request to an account, before anything else is added. `at`: the account's time."""
        unassigned = self.of(entry.account).requests
        if unassigned and unassigned[-1] is entry:
            unassigned.pop()
        entry.account, entry.at = account, at
        self.of(account).requests.append(entry)

    def finish(self, entry: RequestRecord, request: bytes, response: bytes) -> None:
        """Add the bodies to an entry, and redact all of it."""
        pages = self._pages.get(entry.account) or Pages()  # a new one where the account was deleted meanwhile
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

    def shown_path(self, account: str, path: str) -> str:
        """What may be shown of a path before its request is finished."""
        pages = self._pages.get(account)
        path = credentials_masked(path.encode("utf-8", "replace")).decode("utf-8", "replace")
        return cut(_shown(path, pages.hidden) if pages is not None and pages.hidden else path, URL_CHARACTERS)

    def hide(self, account: str, values: Iterable[str]) -> None:
        """Redact these values in bodies from now on, also as JSON writes them."""
        self.of(account).hidden.add(values)

    def add_command(self, command: CommandRecord) -> None:
        """Add a command."""
        self.of(command.account).commands.append(command, len(command.command) + len(command.output or ""))

    def add_prompt(self, prompt: PromptRecord) -> None:
        """Add a prompt to an agent."""
        texts = (prompt.prompt, prompt.reply, prompt.cwd, *prompt.arguments)
        self.of(prompt.account).prompts.append(prompt, sum(map(len, texts)))

    def add_event(self, event: Event, weight: int) -> None:
        """Add an event. `weight`: bytes of its data, about."""
        pages = self.of(event.account_id)
        pages.events.append(event, weight)
        if event.sandbox_id:
            self._add_sandbox(pages, event.sandbox_id)

    @staticmethod
    def _add_sandbox(pages: Pages, sandbox: str) -> None:
        pages.sandboxes.setdefault(sandbox, None)
        if len(pages.sandboxes) > KEEP_SANDBOXES:
            del pages.sandboxes[next(iter(pages.sandboxes))]

    def has_sandbox(self, account: str, sandbox: str) -> bool:
        """Whether the account (any, for `*`) has or had such a sandbox, or named it in a request, as far as the journal
        knows."""
        return any(
            sandbox in pages.sandboxes or any(entry.sandbox == sandbox for entry in pages.requests)
            for pages in self.known(None if account == ALL_ACCOUNTS else account)
        )

    def clear(self, account: Optional[str] = None) -> None:
        """Remove the entries of one account, or of all. Secrets stay redacted, and ids of sandboxes stay known."""
        for name in list(self._pages) if account is None else [account]:
            old = self._pages.pop(name, None)
            if old is not None and (old.hidden or old.sandboxes):
                self.of(name).hidden, self.of(name).sandboxes = old.hidden, old.sandboxes

    def drop(self, account: str) -> None:
        """Remove all that is known of an account, which was deleted."""
        self._pages.pop(account, None)


def _kept(body: bytes, hidden: Redactor) -> str:
    if not body:
        return ""
    spare = max(LONGEST_CREDENTIAL, LONGEST)
    piece = credentials_masked(hidden.masked(body[: BODY_BYTES + spare]))
    # The end of a cut body may be part of a secret, which is not found there.
    kept = (piece if len(body) <= BODY_BYTES + spare else without_end(piece, spare, b"***"))[:BODY_BYTES]
    return kept.decode("utf-8", "replace")


def cut(text: str, most: int) -> str:
    """The first `most` characters of a text, with a mark where there are more."""
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
