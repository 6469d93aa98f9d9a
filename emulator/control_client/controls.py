"""The controls of one account: what an emulator and a view of an account have in common."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Optional, TypeVar, Union

from ..control.agent_replies import ReplyInfo
from ..control.faults import FaultInfo
from ..control.identifiers import IdOrObject, id_of
from ..control.prepared import PreparedInfo, PreparedMethods
from ..control.records import CallbackErrorRecord
from ..control.repositories import RepositoryInfo
from ..control.stubs import StubInfo
from ..control.values import number
from ..trace.file import UnusedControl
from . import callbacks
from .admin_client import AdminClient
from .agents import Agent, Agents, nearest_to_reply, unused_replies
from .clock import Clock
from .commands import Commands, nearest_to_stub, unused_stubs
from .faults import Faults, reason_unused, unused_faults
from .inventory import Inventory
from .journal import Journal
from .prepared import Prepared, PreparedHandle, prepare, unused_prepared
from .repositories import Repos, unused_repositories
from .transport import EmulatorError

if TYPE_CHECKING:
    from caged import AgentName, AsyncCaged, Caged

    from ..scenario import LoadedScenario

T = TypeVar("T")

#: Time limit for loading a scenario, in seconds; creating its sandboxes and running their commands takes long.
SCENARIO_SECONDS = 600.0


class Controls(PreparedMethods[PreparedHandle]):
    """Faults, stubs, agents, clock, journal and inventory of one account.

    An `AccountView` has those of its account, `Emulator` and `RemoteEmulator` those of the emulator's first account.
    Calls that take `account=` are about another account by its id, or about all accounts by `"*"`.
    """

    __slots__ = ()

    @property
    def _admin(self) -> AdminClient:
        raise NotImplementedError

    @property
    def base_url(self) -> str:
        """The URL of the API, for clients."""
        raise NotImplementedError

    @property
    def api_key(self) -> str:
        """A full API key of the account."""
        raise NotImplementedError

    # --- controls

    @property
    def faults(self) -> Faults:
        """Faults injected into matching requests."""
        return Faults(self._admin)

    @property
    def commands(self) -> Commands:
        """Stubs of commands and programs."""
        return Commands(self._admin)

    def agent(self, name: AgentName) -> Agent:
        """Select the replies and the prompts of one agent.

        Args:
            name: The platform's name of the agent, or its command: `claude-code`, `claude`, `codex`, …
        """
        return Agent(self._admin, name)

    @property
    def agents(self) -> Agents:
        """The replies of all agents."""
        return Agents(self._admin)

    @property
    def repos(self) -> Repos:
        """Fake repositories that sandboxes clone from and push to."""
        return Repos(self._admin)

    @property
    def prepared(self) -> Prepared:
        """Prepared sandboxes: file systems that are built once; `prepare` adds one."""
        return Prepared(self._admin)

    def _prepare(self, arguments: dict[str, Any]) -> PreparedHandle:
        return prepare(self._admin, arguments)

    @property
    def clock(self) -> Clock:
        """The account's time."""
        return Clock(self._admin)

    @property
    def journal(self) -> Journal:
        """The requests that were received, and the commands, prompts and events of sandboxes."""
        return Journal(self._admin)

    @property
    def inventory(self) -> Inventory:
        """The sandboxes, snapshots and open sockets of the account."""
        return Inventory(self._admin)

    def spend(self, sandbox: IdOrObject, usd: float) -> float:
        """Add to the cost of a sandbox, as its agents do. The alerts that follow from it, and the pause at the end of
        the budget, have happened on return.

        Args:
            sandbox: A sandbox, or its id.
            usd: The amount in US dollars; not negative.

        Returns:
            The sandbox's total cost so far, in US dollars.

        Raises:
            ValueError: `usd` is negative or not finite.
            EmulatorError: There is no such sandbox; of a view, none in its account.
        """
        path, body = f"/sandboxes/{id_of(sandbox)}/spend", {"usd": number("usd", usd)}
        answer = self._admin.call("POST", path, body, account=self._admin.allowed_account)
        return float(answer["total_cost"])

    def load_scenario(
        self, path: Union[str, os.PathLike[str]], *, account: Optional[IdOrObject] = None
    ) -> LoadedScenario:
        """Create what a scenario file describes (sandboxes, keys, stubs, replies, faults, clock): all of it or nothing.

        Faults and rate limits do not apply to its calls, and the journal does not record them. Files that
        the scenario names with `from` are read here, relative to the scenario's file.

        Args:
            path: A TOML, YAML or JSON file; `caged-emulator init` writes one to start from.
            account: An id, or `"*"` for all accounts, which can have no sandboxes and keys. The default is the account
                of this object.

        Returns:
            The ids of sandboxes and the secrets of keys, by name.

        Raises:
            ScenarioError: A ValueError that names the entry that cannot be created. The others have been removed again.
        """
        from ..scenario import LoadedScenario, ScenarioError, read

        if not isinstance(path, (str, os.PathLike)):
            raise TypeError(f"path: must be the path of a scenario file (a str or a Path), not {path!r}")
        document = read(Path(path)).document()
        try:
            answer = self._admin.call(
                "POST", "/scenario", {"scenario": document}, account=account, timeout=SCENARIO_SECONDS
            )
        except ValueError as error:
            raise ScenarioError(str(error)) from None
        return LoadedScenario(answer["sandboxes"], answer["keys"], answer["added"])

    def allow_device_login(self, allowed: bool = True, *, account: Optional[IdOrObject] = None) -> None:
        """Approve device logins that come from the account's sandboxes.

        `caged login` in a sandbox then gets a full API key of the sandbox's own account; by default it is denied. A
        login from outside of sandboxes is always approved, for the emulator's first account.

        Args:
            allowed: False denies them again.
            account: The account, or its id. None: the account of this object.
        """
        self._admin.call("PUT", "/device-login", {"from_sandboxes": allowed}, account=account)

    def reset(self, *, account: Optional[IdOrObject] = None) -> None:
        """Remove everything in the account: sandboxes, snapshots, sessions, alerts, faults, stubs, agents' replies,
        fake repositories, prepared sandboxes, the journal, its time. Its keys stay, and so do exceptions of its
        functions until they were raised or cleared.

        Args:
            account: An account or its id; `"*"`: all accounts. The default is the selected account.
        """
        self._admin.call("POST", "/reset", account=account)

    def reset_controls(self, *, account: Optional[IdOrObject] = None) -> None:
        """Remove the account's controls (faults, stubs, agents' replies, fake repositories, prepared sandboxes, its
        time) and clear its journal. Its sandboxes, snapshots and keys stay, and so do exceptions of its functions.

        Args:
            account: An account or its id; `"*"`: all accounts. The default is the selected account.
        """
        self._admin.call("POST", "/reset-controls", account=account)

    def unused(self) -> list[str]:
        """List the faults, stubs, agents' replies, fake repositories and prepared sandboxes that were never used and
        are not optional.

        Those of all accounts (`account="*"`) are listed if they were added through this object.

        Returns:
            A text for each kind, which names them.
        """
        texts: list[str] = []
        faults, stubs, replies, repositories, prepared = self._unused_controls()
        if faults:
            texts.append(unused_faults(faults))
        if stubs:
            texts.append(unused_stubs(stubs, self._commands_that_ran()))
        if replies:
            texts.append(unused_replies(replies))
        if repositories:
            texts.append(unused_repositories(repositories))
        if prepared:
            texts.append(unused_prepared(prepared))
        return texts

    def describe_unused(self) -> list[UnusedControl]:
        """List the same controls, each with the line that added it and with what came nearest to it."""
        faults, stubs, replies, repositories, prepared = self._unused_controls()
        commands = self._commands_that_ran() if stubs else []
        prompts = [one.prompt for one in self.journal.prompts()] if replies and self._admin.account != "*" else []
        found = [UnusedControl(one.id, one.described, nearest=[reason_unused(one)]) for one in faults]
        found += [UnusedControl(one.id, one.described, nearest=nearest_to_stub(one, commands)) for one in stubs]
        found += [UnusedControl(one.id, one.described, nearest=nearest_to_reply(one, prompts)) for one in replies]
        found += [UnusedControl(one.id, one.described, nearest=["no sandbox used it"]) for one in repositories]
        found += [UnusedControl(one.id, one.described, nearest=["no sandbox used it"]) for one in prepared]
        for one in found:
            path, line = self._admin.notes.shared.sources.get(one.id, ("", 0))
            one.source = f"{path}:{line}" if path else ""
        return found

    def _unused_controls(
        self,
    ) -> tuple[list[FaultInfo], list[StubInfo], list[ReplyInfo], list[RepositoryInfo], list[PreparedInfo]]:
        if not self._admin.may_have_controls():
            return [], [], [], [], []
        return (
            self._own_controls(self.faults.unused(), lambda fault: f"/faults/{fault.id}"),
            self._own_controls(self.commands.unused(), lambda stub: f"/commands/{stub.id}"),
            self._own_controls(self.agents.unused(), lambda reply: f"/agents/{reply.agent}/replies/{reply.id}"),
            self._own_controls(self.repos.unused(), lambda repository: f"/repos/{repository.id}"),
            self._own_controls(self.prepared.unused(), lambda prepared: f"/prepared/{prepared.id}"),
        )

    def _commands_that_ran(self) -> list[str]:
        """The commands of the account; none for a client of all accounts: they would be those of any account."""
        return [] if self._admin.account == "*" else [one.command for one in self.journal.commands()]

    def _own_controls(self, controls: Iterable[T], path_of: Callable[[T], str]) -> list[T]:
        """Select the controls of the account, and of the controls of all accounts the ones that were added through this
        object: the others may still be used in other accounts."""
        added = self._admin.notes.added_for_all_accounts
        return [one for one in controls if getattr(one, "account", "") != "*" or path_of(one) in added]

    def callback_errors(
        self,
        *,
        control: Optional[IdOrObject] = None,
        sandbox: Optional[IdOrObject] = None,
        last: Optional[int] = None,
        account: Optional[IdOrObject] = None,
    ) -> list[CallbackErrorRecord]:
        """List exceptions that the account's functions (of stubs, programs and agents' replies) raised, oldest first.

        Args:
            control: Only those of this stub or reply: its handle or its id.
            sandbox: Only those raised for this sandbox, or its id.
            last: Only the newest so many.
            account: An account or its id; `"*"`: all accounts. The default is the selected account.
        """
        return callbacks.list_errors(self._admin, control=control, sandbox=sandbox, last=last, account=account)

    def clear_callback_errors(self, *, account: Optional[IdOrObject] = None) -> int:
        """Remove the recorded exceptions, so that they do not fail the test.

        Args:
            account: An account or its id; `"*"`: all accounts. The default is the selected account.

        Returns:
            How many were removed.
        """
        return int(self._admin.call("DELETE", "/callback-errors", account=account)["removed"])

    def raise_callback_errors(self, *, account: Optional[IdOrObject] = None) -> None:
        """Raise the recorded exceptions that are not allowed (`allow_errors`), and clear them.

        Args:
            account: An account or its id; `"*"`: all accounts. The default is the selected account.

        Raises:
            CallbackError: There are some. The text has their tracebacks, and the first is the cause.
        """
        callbacks.raise_errors(self._admin, account=account)

    def remove_shared_controls(self) -> None:
        """Remove the faults, stubs, agents' replies, fake repositories and prepared sandboxes that were added for all
        accounts (`account="*"`) through this object, and reset all accounts' time if it was changed through it."""
        self._admin.remove_shared_controls()

    # --- clients

    def client(self, api_key: Optional[str] = None, **options: Any) -> Caged:
        """Create a client of the account. Close it, or use it in a `with` statement.

        Args:
            api_key: Another key than the account's first full one.
            options: Those of `Caged`.

        Raises:
            EmulatorError: The account has no full API key left.
        """
        from caged import Caged

        return Caged(api_key=api_key or self._usable_key(), base_url=self.base_url, **options)

    def async_client(self, api_key: Optional[str] = None, **options: Any) -> AsyncCaged:
        """Create an asynchronous client of the account.

        Args:
            api_key: Another key than the account's first full one.
            options: Those of `AsyncCaged`.

        Raises:
            EmulatorError: The account has no full API key left.
        """
        from caged import AsyncCaged

        return AsyncCaged(api_key=api_key or self._usable_key(), base_url=self.base_url, **options)

    def _usable_key(self) -> str:
        key = self.api_key
        if not key:
            # With an empty key the client would use CAGED_API_KEY, which is of another account.
            raise EmulatorError("the account has no full API key left; pass one: client(api_key=...)")
        return key
