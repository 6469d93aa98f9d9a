"""What an emulator in this process and one elsewhere have in common: a test's hands on it."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional, Union

from . import callbacks
from .agents import Agent, Agents, ReplyInfo, unsaid
from .callbacks import CallbackErrorInfo
from .checking import amount
from .clock import Clock
from .commands import Commands, StubInfo
from .commands import unused as never_used
from .faults import FaultInfo, Faults, unfired
from .inventory import Inventory
from .journal import Journal
from .link import EmulatorError, Link, Of, Refused, id_of

#: A scenario's sandboxes and commands take their time.
SCENARIO_SECONDS = 600.0
#: An export or import may hold large sandboxes.
TRANSFER_SECONDS = 600.0

if TYPE_CHECKING:
    from caged import AgentName, AsyncCaged, Caged

    from ..scenario import Loaded


@dataclass(frozen=True)
class Account:
    """An account of its own on the emulator: it sees nothing of the others."""

    id: str
    api_key: str


class Double:
    """Everything here is about one account: the emulator's first, or the one that `acting_for` names (the plugin's
    fixtures name the test's own), unless a call says `account=`: an id, or `"*"` for all."""

    @property
    def _link(self) -> Link:
        raise NotImplementedError

    @property
    def base_url(self) -> str:
        raise NotImplementedError

    @property
    def api_key(self) -> str:
        """The key of the emulator's first account."""
        raise NotImplementedError

    # --- controls

    @property
    def faults(self) -> Faults:
        """Calls that go wrong."""
        return Faults(self._link)

    @property
    def commands(self) -> Commands:
        """Commands and programs that are answered in their place."""
        return Commands(self._link)

    def agent(self, name: AgentName) -> Agent:
        """What an agent (`claude`, `codex`, …: the platform's name, or its command) answers, and was asked."""
        return Agent(self._link, name)

    @property
    def agents(self) -> Agents:
        """What all agents answer."""
        return Agents(self._link)

    @property
    def clock(self) -> Clock:
        """The time that it goes by."""
        return Clock(self._link)

    @property
    def journal(self) -> Journal:
        """What was asked of it, and what happened."""
        return Journal(self._link)

    @property
    def inventory(self) -> Inventory:
        """What the account has."""
        return Inventory(self._link)

    def spend(self, sandbox: Of, usd: float) -> float:
        """Agents in the sandbox have spent that much: alerts, and the pause at the end of its budget, have happened on
        return. The sandbox's whole cost so far, in USD."""
        told = self._link.call("POST", f"/sandboxes/{id_of(sandbox)}/spend", {"usd": amount("usd", usd)})
        return float(told["total_cost"])

    def reset(self, *, account: Optional[Of] = None) -> None:
        """Everything in the account goes: sandboxes, snapshots, sessions, alerts, faults, stubs, agents' replies, the
        journal, its time. Its keys stay."""
        self._link.call("POST", "/reset", account=account)

    def load(self, path: Union[str, os.PathLike[str]], *, account: Optional[Of] = None) -> Loaded:
        """Make what a scenario file describes (sandboxes, keys, stubs, replies, faults, clock): all of it or nothing.

        No fault and no rate limit applies to what it does, and the journal of requests does not show it. Files that
        the scenario names with `from` are read here, relative to the scenario's file.

        Args:
            path: a TOML, YAML or JSON file; `caged-emulator init` writes one to start from.
            account: an id, or `"*"` for all accounts, which can have no sandboxes and keys. The default is the account
                of this object.

        Returns:
            The ids of sandboxes and the secrets of keys, by name.

        Raises:
            ScenarioError: a ValueError that names the entry that cannot be made. Nothing is left of the others.
        """
        from ..scenario import Loaded, ScenarioError, read

        document = read(Path(path)).document()
        try:
            response = self._link.send(
                "POST", "/scenario", account=account, json={"scenario": document}, timeout=SCENARIO_SECONDS
            )
        except ValueError as error:
            raise ScenarioError(str(error)) from None
        return Loaded(**response.json())

    def _own_key(self) -> str:
        return self.api_key if self._link.account in (None, "*") else self._key_of(self._link.account)

    def key_for(self, sandbox: str) -> str:
        """A full API key of the account that a sandbox belongs to."""
        for held in self.inventory.sandboxes(account="*"):
            if held.id == sandbox:
                return self._key_of(held.account)
        raise EmulatorError(f"there is no sandbox {sandbox} on this emulator")

    def _key_of(self, account: Optional[str]) -> str:
        for known in self.accounts():
            if account in (None, known.id):
                return known.api_key
        raise EmulatorError(f"there is no account {account} on this emulator")

    def unused(self) -> list[str]:
        """Describe the controls that were never used and are not optional, one text for each kind. A control of every
        account counts when it was added through this object."""

        def own(control: Union[FaultInfo, StubInfo, ReplyInfo], path: str) -> bool:
            return control.account != "*" or f"{path}/{control.id}" in self._link.for_everybody

        faults = [one for one in self.faults.list() if not (one.fired or one.optional) and own(one, "/faults")]
        told = [unfired(faults)] if faults else []
        stubs = [one for one in self.commands.unused() if own(one, "/commands")]
        if stubs:
            ran = [] if self._link.account == "*" else [ran.command for ran in self.journal.execs()]
            told.append(never_used(stubs, ran))
        replies = [one for one in self.agents.unused() if own(one, f"/agents/{one.agent}/replies")]
        if replies:
            told.append(unsaid(replies))
        return told

    def callback_errors(self, *, account: Optional[Of] = None) -> list[CallbackErrorInfo]:
        """Exceptions that the account's functions (of stubs, programs and agents' replies) raised, oldest first."""
        return callbacks.listed(self._link, account=account)

    def clear_callback_errors(self, *, account: Optional[Of] = None) -> None:
        """Forget them: they do not fail the test."""
        self._link.call("DELETE", "/callback-errors", account=account)

    def raise_callback_errors(self, *, account: Optional[Of] = None) -> None:
        """Raise those of `callback_errors` that were not allowed by `allow_errors`, and forget them.

        Raises:
            CallbackError: There are some. The text has their tracebacks, and the first is the cause.
        """
        callbacks.raise_errors(self._link, account=account)

    def take_back(self) -> None:
        """What was asked through this object for everybody (`account="*"`) goes: faults, and the time."""
        self._link.take_back()

    def forget(self, *, account: Optional[Of] = None) -> None:
        """What a test asked of the account (faults, stubs, agents' replies, its time) and its journal go; what the
        account has stays."""
        self._link.call("POST", "/forget", account=account)

    # --- archives

    def export(self, path: Union[str, os.PathLike[str]], account: Optional[Of] = None) -> None:
        """Write accounts, keys, sandboxes with their files, snapshots and histories into one `.tar.gz`.

        The file holds secrets: only its owner can read it (mode 0600), also where it replaces another file. It appears
        complete or not at all.

        Args:
            path: the file to write.
            account: an id: that account; `"*"`: all accounts. The default is the account that this object is scoped
                to; all accounts where it is scoped to none.

        Raises:
            ValueError: the archive cannot be made; the text says why.
            OSError: `path` cannot be written.
        """
        target = Path(path)
        if not target.parent.is_dir():
            raise ValueError(f"{target.parent} is not a directory; create it first")
        if target.is_dir():
            raise ValueError(f"{target} is a directory; name a file, such as {target / 'state.tar.gz'}")
        about = self._link.about(account) or "*"
        half = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
        try:
            with open(half, "xb", opener=_owner_only) as file:
                with self._link.stream("GET", "/export", account=about, timeout=TRANSFER_SECONDS) as response:
                    for piece in response.iter_bytes():
                        file.write(piece)
                file.flush()
                os.fsync(file.fileno())
            half.replace(target)
        except Refused as error:
            if error.status != 404:
                raise
            raise ValueError(f"account {about} is unknown; nothing was exported") from None
        finally:
            half.unlink(missing_ok=True)

    def import_(self, path: Union[str, os.PathLike[str]]) -> None:
        """Add what `export` has written, here or on another emulator, all of it or nothing.

        Its sandboxes are stopped; `resume` starts them. It brings accounts of its own, whatever account this object is
        scoped to.

        Raises:
            ValueError: the file is not an export, is damaged, or holds an id that exists here already.
            OSError: the file cannot be read.
        """
        if not os.path.exists(path):
            raise ValueError(f"{os.fspath(path)} does not exist; name a file that `export` has written")
        with open(path, "rb") as file:
            content = iter(lambda: file.read(1 << 20), b"")
            try:
                self._link.send("POST", "/import", account="*", content=content, timeout=TRANSFER_SECONDS)
            except ValueError as error:
                raise ValueError(f"{os.fspath(path)}: {error}") from None

    # --- accounts

    @property
    def acts_for(self) -> Optional[str]:
        """The id of the account that this is about; None: the emulator's first, `*`: all."""
        return self._link.account

    def accounts(self) -> list[Account]:
        """All of the emulator, oldest first. `api_key` is empty where no full key is left."""
        return [Account(told["id"], told["api_key"]) for told in self._link.call("GET", "/accounts", account="*")]

    def create_account(self, name: str = "test") -> Account:
        """A fresh account with a full key of its own."""
        told = self._link.call("POST", "/accounts", {"name": name}, account="*")
        return Account(told["id"], told["api_key"])

    def delete_account(self, account_id: Of) -> None:
        """With everything in it. Harmless when it is gone already."""
        try:
            self._link.call("DELETE", f"/accounts/{id_of(account_id)}", account="*")
        except Refused as error:
            if error.status != 404:
                raise

    @contextmanager
    def acting_for(self, account: Optional[Of]) -> Iterator[None]:
        """What is asked in the block is about this account."""
        before = self._link.account
        self._link.account = None if account is None else str(id_of(account))
        try:
            yield
        finally:
            self._link.account = before

    # --- clients

    def client(self, api_key: Optional[str] = None, **options: Any) -> Caged:
        """A client of this emulator, by the key of the account that this acts for. Options are those of `Caged`; close
        it, or use it in a `with` statement."""
        from caged import Caged

        return Caged(api_key=api_key or self._own_key(), base_url=self.base_url, **options)

    def async_client(self, api_key: Optional[str] = None, **options: Any) -> AsyncCaged:
        from caged import AsyncCaged

        return AsyncCaged(api_key=api_key or self._own_key(), base_url=self.base_url, **options)


def _owner_only(path: str, flags: int) -> int:
    """Open a file that nobody but its owner may read, whatever the umask."""
    return os.open(path, flags, 0o600)
