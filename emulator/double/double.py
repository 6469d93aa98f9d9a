"""What an emulator in this process and one elsewhere have in common: a test's hands on it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional, Union

from .agents import Agent, Agents, unsaid
from .clock import Clock
from .commands import Commands
from .commands import unused as never_used
from .faults import Faults, unfired
from .inventory import Inventory
from .journal import Journal
from .link import EmulatorError, Link, Of, Refused, id_of

if TYPE_CHECKING:
    from caged import AsyncCaged, Caged

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

    def agent(self, name: str) -> Agent:
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
        told = self._link.call("POST", f"/sandboxes/{id_of(sandbox)}/spend", {"usd": float(usd)})
        return float(told["total_cost"])

    def allow_device_login(self, allowed: bool = True, *, account: Optional[Of] = None) -> None:
        """Approve device logins that come from the account's sandboxes.

        `caged login` in a sandbox gets a full API key of the sandbox's own account then, and is denied otherwise. One
        outside of sandboxes is approved for the emulator's first account either way.

        Args:
            allowed: False takes it back.
            account: The account, or its id; by default the one that this object acts for.
        """
        self._link.call("PUT", "/device-login", {"from_sandboxes": allowed}, account=account)

    def reset(self, *, account: Optional[Of] = None) -> None:
        """Everything in the account goes: sandboxes, snapshots, sessions, alerts, faults, stubs, agents' replies, the
        journal, its time. Its keys stay."""
        self._link.call("POST", "/reset", account=account)

    def load(self, path: Union[str, os.PathLike[str]], *, account: Optional[Of] = None) -> Loaded:
        """Makes what a scenario file (TOML, YAML or JSON; `caged-emulator init` writes a starter) says: sandboxes,
        keys, stubs, agents' replies, faults. ScenarioError (a ValueError), naming the entry that cannot be made."""
        from ..scenario import apply, read

        scenario = read(Path(path))
        about = self._link.about(account)
        with self.acting_for(about):
            return apply(scenario, self, self._key_of(about))

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
        """What was asked for and met nothing yet, though it is not optional: a text for each kind of thing. What is
        there for everybody counts when it was asked for through this object."""
        mine = self._link.for_everybody
        faults = self.faults.list()
        if mine:
            faults += [fault for fault in self.faults.list(account="*") if f"/faults/{fault.id}" in mine]
        unused = [fault for fault in faults if not (fault.fired or fault.optional)]
        told = [unfired(unused)] if unused else []
        stubs = self.commands.unused()
        if mine:
            stubs += [stub for stub in self.commands.unused(account="*") if f"/commands/{stub.id}" in mine]
        if stubs:
            told.append(never_used(stubs, [ran.command for ran in self.journal.execs()]))
        replies = self.agents.unused()
        if mine:
            everybodys = self.agents.unused(account="*")
            replies += [one for one in everybodys if f"/agents/{one.agent}/replies/{one.id}" in mine]
        if replies:
            told.append(unsaid(replies))
        return told

    def take_back(self) -> None:
        """What was asked through this object for everybody (`account="*"`) goes: faults, and the time."""
        self._link.take_back()

    def forget(self, *, account: Optional[Of] = None) -> None:
        """What a test asked of the account (faults, stubs, agents' replies, its time) and its journal go; what the
        account has stays."""
        self._link.call("POST", "/forget", account=account)

    # --- archives

    def export(self, path: Union[str, os.PathLike[str]], account: Optional[Of] = None) -> None:
        """Writes everything (accounts, keys, sandboxes with their files, snapshots, histories), or all of one account
        by its id, into one `.tar.gz`, which appears at `path` complete or not at all. It holds secrets. ValueError says
        why it cannot be."""
        target = Path(path)
        half = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            with open(half, "xb") as file, self._link.stream("GET", "/export", account=account or "*") as response:
                for piece in response.iter_bytes():
                    file.write(piece)
            half.replace(target)
        finally:
            half.unlink(missing_ok=True)

    def import_(self, path: Union[str, os.PathLike[str]]) -> None:
        """Adds what `export` has written, here or elsewhere; its sandboxes are stopped, and `resume` starts them.
        ValueError says why it cannot be, for example because an id is here already; nothing has changed then."""
        with open(path, "rb") as file:
            self._link.send("POST", "/import", account="*", content=iter(lambda: file.read(1 << 20), b""))

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
