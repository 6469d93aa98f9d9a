"""What was asked of the emulator and what happened in its sandboxes, per account: requests with their answers,
commands, prompts, events. The newest of each; the oldest are forgotten first."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Optional
from urllib.parse import unquote_plus

from ..history import Event
from .credentials import LONGEST_CREDENTIAL, credentials_masked
from .hidden import Hidden
from .scope import EVERYBODY

#: Kept of each account: entries of each kind, and bytes of bodies.
KEEP = 10_000
KEEP_BYTES = 32 * 1024**2
#: Ids of sandboxes that are known of each account, beyond what is kept of them.
KEEP_SANDBOXES = 100_000
#: Of one body; what is longer is cut.
BODY_BYTES = 64 * 1024


@dataclass
class Entry:
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
class Ran:
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
class Asked:
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


class Pages:
    """Of one account."""

    def __init__(self) -> None:
        self.requests: deque[Entry] = deque(maxlen=KEEP)
        self.commands: deque[Ran] = deque(maxlen=KEEP)
        self.prompts: deque[Asked] = deque(maxlen=KEEP)
        self.events: deque[Event] = deque(maxlen=KEEP)
        #: Those of the requests that have bodies, and how many bytes these are.
        self._with_bodies: deque[Entry] = deque()
        self._bytes = 0
        #: Values that nobody may see, as they stand in bodies.
        self.hidden = Hidden()
        #: Ids of all sandboxes that there were, oldest first; a query about any other is a mistake.
        self.sandboxes: dict[str, None] = {}

    def weigh(self, entry: Entry) -> None:
        """Forgets the oldest bodies when there are too many bytes of them."""
        self._with_bodies.append(entry)
        self._bytes += len(entry.request) + len(entry.response)
        while self._bytes > KEEP_BYTES or len(self._with_bodies) > KEEP:
            old = self._with_bodies.popleft()
            self._bytes -= len(old.request) + len(old.response)
            old.request = old.response = b""


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

    def add(self, entry: Entry) -> Entry:
        """Of nobody, until `belongs` says whose it is."""
        self.of(entry.account).requests.append(entry)
        return entry

    def belongs(self, entry: Entry, account: str, at: str) -> None:
        """Whose it is, and when it came by that account's time. To be said before anything else is added."""
        nobody = self.of(entry.account).requests
        if nobody and nobody[-1] is entry:
            nobody.pop()
        entry.account, entry.at = account, at
        self.of(account).requests.append(entry)

    def finish(self, entry: Entry, request: bytes, response: bytes) -> None:
        """The entry's bodies; from now on it says nothing that is hidden."""
        pages = self._pages.get(entry.account or "") or Pages()  # none: its account is gone
        entry.request = _kept(request, pages.hidden)
        entry.response = _kept(response, pages.hidden)
        if "=" in entry.query or entry.path.startswith("/billing/"):
            entry.path = credentials_masked(entry.path.encode()).decode()
            entry.query = credentials_masked(entry.query.encode()).decode()
        if pages.hidden:
            entry.path, entry.query = _shown(entry.path, pages.hidden), _shown(entry.query, pages.hidden)
            entry.warnings[:] = [pages.hidden.masked(text.encode()).decode() for text in entry.warnings]
        pages.weigh(entry)

    def hide(self, account: str, values: Iterable[str]) -> None:
        """From now on these stand as *** in bodies, also as JSON writes them."""
        for value in filter(None, values):
            for text in (value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]):
                self.of(account).hidden.add(text.encode("utf-8", "replace"))

    def ran(self, command: Ran) -> None:
        self.of(command.account).commands.append(command)

    def asked(self, prompt: Asked) -> None:
        self.of(prompt.account).prompts.append(prompt)

    def happened(self, event: Event) -> None:
        pages = self.of(event.account_id)
        pages.events.append(event)
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
            for pages in self.known(None if account == EVERYBODY else account)
        )

    def entries(self) -> tuple[Entry, ...]:
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


def _kept(body: bytes, hidden: Hidden) -> bytes:
    if not body:
        return b""
    spare = max(LONGEST_CREDENTIAL, hidden.longest)
    piece = credentials_masked(hidden.masked(body[: BODY_BYTES + spare]))
    # What was at the end of a cut body may be part of something hidden, which was not found therefore.
    return piece[:BODY_BYTES] if len(body) <= BODY_BYTES + spare else piece[: min(BODY_BYTES, len(piece) - spare)]


def _shown(url: str, hidden: Hidden) -> str:
    """Part of a URL, decoded where something in it is hidden."""
    plain = unquote_plus(url, errors="replace").encode()
    masked = hidden.masked(plain)
    return url if masked == plain else masked.decode("utf-8", "replace")
