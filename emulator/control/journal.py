"""The journal of each account: requests with their answers, commands, prompts to agents, events. The newest of each are
kept, and the oldest are dropped first."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Callable, Generic, Optional, TypeVar
from urllib.parse import unquote_plus

from ..history import Event
from ..truncation import truncate
from .credentials import LONGEST_CREDENTIAL, redact_credentials
from .current_account import ALL_ACCOUNTS
from .records import CommandRecord, PromptRecord, RequestRecord
from .redaction import LONGEST, Redactor, cut_unsearched_end
from .step import Step
from .step_redaction import may_be_cut, redact_step, text_of

T = TypeVar("T")

#: What is kept of each account: entries of each kind, and bytes of each kind.
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
    return truncate(text, REST_CHARACTERS, f" … ({more} more characters, dropped: {_TOO_MUCH})")


_TOO_MUCH = f"the journal of the account had more than {KEEP_BYTES // 1024**2} MiB"
DROPPED = f"[dropped: {_TOO_MUCH}]"


def _shrink_command(record: CommandRecord) -> CommandRecord:
    output = None if record.output is None else DROPPED
    return replace(record, command=_rest(record.command), output=output, truncated=record.output is not None)


def _shrink_prompt(record: PromptRecord) -> PromptRecord:
    return replace(record, prompt=_rest(record.prompt), arguments=[], cwd=_rest(record.cwd), reply=DROPPED)


def _shrink_event(event: Event) -> Event:
    return replace(event, data={"dropped": _TOO_MUCH}, meta={})


class RecordBuffer(Generic[T]):
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


class AccountJournal:
    """The journal of one account."""

    def __init__(self) -> None:
        self.requests: deque[RequestRecord] = deque(maxlen=KEEP)
        self.commands: RecordBuffer[CommandRecord] = RecordBuffer(_shrink_command)
        self.prompts: RecordBuffer[PromptRecord] = RecordBuffer(_shrink_prompt)
        self.events: RecordBuffer[Event] = RecordBuffer(_shrink_event)
        #: Those of the requests that have bodies, with their bytes, and how many bytes these are in all.
        self._with_bodies: deque[tuple[RequestRecord, int]] = deque()
        self._bytes = 0
        #: Redacts secret values in bodies, URLs and warnings.
        self.redactor = Redactor()
        #: Redacts, in addition, values of environments, where steps are shown.
        self.environments = Redactor()
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
        self._accounts: dict[str, AccountJournal] = {}

    def of(self, account: str) -> AccountJournal:
        """The journal of an account; of none (an empty id) for requests that were not authenticated."""
        journal = self._accounts.get(account)
        if journal is None:
            journal = self._accounts[account] = AccountJournal()
        return journal

    def known(self, account: Optional[str]) -> Iterable[AccountJournal]:
        """The journal of one account, or, with None, of each account."""
        return list(self._accounts.values()) if account is None else [self._accounts.get(account, AccountJournal())]

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
        # A new one where the account was deleted meanwhile.
        journal = self._accounts.get(entry.account) or AccountJournal()
        redactor = journal.redactor
        entry.request = _redact_body(request, redactor)
        entry.response = _redact_body(response, redactor)
        if "=" in entry.query or entry.path.startswith("/billing/"):
            entry.path = redact_credentials(entry.path)
            entry.query = redact_credentials(entry.query)
        if redactor:
            entry.path, entry.query = _redact_url(entry.path, redactor), _redact_url(entry.query, redactor)
        if entry.warnings:
            more = len(entry.warnings) - WARNINGS
            warnings = entry.warnings[:WARNINGS] + ([f"… and {more} more warnings"] if more > 0 else [])
            entry.warnings[:] = [_redact_text(text, WARNING_CHARACTERS, redactor) for text in warnings]
        entry.path = cut(entry.path, URL_CHARACTERS)
        entry.query = cut(entry.query, URL_CHARACTERS)
        journal.weigh(entry)

    def redacted_path(self, account: str, path: str) -> str:
        """What may be shown of a path before its request is finished."""
        path, redactor = redact_credentials(path), self.redactor_of(account)
        return cut(_redact_url(path, redactor) if redactor else path, URL_CHARACTERS)

    def redactor_of(self, account: str) -> Redactor:
        """What redacts the secrets of an account; an empty one where nothing is known of it."""
        journal = self._accounts.get(account)
        return Redactor() if journal is None else journal.redactor

    def shown_step(self, step: Step) -> Step:
        """A step as it may be shown; itself where nothing has to be redacted.

        A test often sets up a control with a secret before the sandbox to which the secret belongs is created: then it
        is redacted here as well.
        """
        journal = self._accounts.get(step.account)
        if journal is None:
            return step
        redactors = [journal.redactor, journal.environments] if step.kind == "control" else [journal.environments]
        if not any(redactors):
            return step
        text = text_of(step)
        found = [(one, one.values_in(text)) for one in redactors]
        if not may_be_cut(step, text) and not any(values for _one, values in found):
            return step

        def redacted(part: str) -> str:
            for one, values in found:
                part = one.redact_kept(part, values)
            return part

        return redact_step(step, redacted)

    def shown_text(self, account: str) -> Callable[[str], str]:
        """What redacts the environments of an account's sandboxes in texts that are shown; `str` without any."""
        journal = self._accounts.get(account)
        return journal.environments.redact_kept if journal is not None and journal.environments else str

    def redact(self, account: str, values: Iterable[str], environment: Iterable[str] = ()) -> None:
        """Redact values from now on, also as JSON writes them.

        Args:
            account: Whose they are.
            values: Secrets, which are redacted in all that is kept.
            environment: Other values of environments, which are redacted in steps that are shown.
        """
        if not values and not environment:
            return  # as for most requests
        journal = self.of(account)
        journal.redactor.add(values)
        journal.environments.add(environment)

    def add_command(self, command: CommandRecord) -> None:
        """Add a command."""
        self.of(command.account).commands.append(command, len(command.command) + len(command.output or ""))

    def add_prompt(self, prompt: PromptRecord) -> None:
        """Add a prompt to an agent."""
        texts = (prompt.prompt, prompt.reply, prompt.cwd, *prompt.arguments)
        self.of(prompt.account).prompts.append(prompt, sum(map(len, texts)))

    def add_event(self, event: Event, weight: int) -> None:
        """Add an event. `weight`: bytes of its data, about."""
        journal = self.of(event.account_id)
        journal.events.append(event, weight)
        if event.sandbox_id:
            self._add_sandbox(journal, event.sandbox_id)

    @staticmethod
    def _add_sandbox(journal: AccountJournal, sandbox: str) -> None:
        journal.sandboxes.setdefault(sandbox, None)
        if len(journal.sandboxes) > KEEP_SANDBOXES:
            del journal.sandboxes[next(iter(journal.sandboxes))]

    def has_sandbox(self, account: str, sandbox: str) -> bool:
        """Whether the account (any, for `*`) has or had such a sandbox, or named it in a request, as far as the journal
        knows."""
        return any(
            sandbox in journal.sandboxes or any(entry.sandbox == sandbox for entry in journal.requests)
            for journal in self.known(None if account == ALL_ACCOUNTS else account)
        )

    def clear(self, account: Optional[str] = None) -> None:
        """Remove the entries of one account, or of all. Secrets stay redacted, and ids of sandboxes stay known."""
        for name in list(self._accounts) if account is None else [account]:
            old = self._accounts.pop(name, None)
            if old is not None and (old.redactor or old.environments or old.sandboxes):
                new = self.of(name)
                new.redactor, new.environments, new.sandboxes = old.redactor, old.environments, old.sandboxes

    def drop(self, account: str) -> None:
        """Remove all that is known of an account, which was deleted."""
        self._accounts.pop(account, None)


def _redact_body(body: bytes, redactor: Redactor) -> str:
    if not body:
        return ""
    spare = max(LONGEST_CREDENTIAL, LONGEST)
    piece = redact_credentials(redactor.redact(body[: BODY_BYTES + spare]))
    # The end of a cut body may be part of a secret, which is not found there.
    kept = (piece if len(body) <= BODY_BYTES + spare else cut_unsearched_end(piece, spare))[:BODY_BYTES]
    return kept.decode("utf-8", "replace")


def cut(text: str, most: int) -> str:
    """The first `most` characters of a text, with a mark where there are more."""
    return text if len(text) <= most else truncate(text, most, f" … ({len(text) - most} more characters)")


def _redact_text(text: str, most: int, redactor: Redactor) -> str:
    if redactor:
        piece = redactor.redact(text[: most + LONGEST].encode("utf-8", "replace"))
        if len(text) > most + LONGEST:
            piece = cut_unsearched_end(piece, LONGEST)
        text = piece.decode("utf-8", "replace")
    return cut(text, most)


def _redact_url(url: str, redactor: Redactor) -> str:
    """Part of a URL, decoded where something in it is redacted."""
    plain = unquote_plus(url, errors="replace").encode()
    redacted = redactor.redact(plain)
    return url if redacted == plain else redacted.decode("utf-8", "replace")
