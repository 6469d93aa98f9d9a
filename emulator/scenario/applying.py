"""Making what a scenario describes, on the emulator's event loop: all of it or nothing.

Each entry is a call of the emulator's controls or of the SDK, with the entry's keys as options. The calls are performed
within the emulator (`wire/internal_calls.py`), so that no fault or rate limit applies to a setup, and the emulator
sends no request to itself.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Callable, Optional, Protocol

from caged import CagedError
from caged._call import Call
from caged._resources import account as keys
from caged._resources import files, sandbox_calls, sandbox_creation

from ..control.current_account import ALL_ACCOUNTS
from ..control.names import suggestion
from ..platform.errors import ApiError
from ..platform.platform import Platform
from ..store import AccountRecord
from .loaded_scenario import LoadedScenario
from .reading import Scenario, sandbox_names
from .schema import ScenarioError

logger = logging.getLogger(__name__)

Undo = Callable[[], Awaitable[None]]


class OperationCaller(Protocol):
    """Performs operations within the emulator: `wire/internal_calls.py`."""

    warnings: list[str]

    async def perform(
        self,
        method: str,
        path: str,
        body: Optional[Mapping[str, Any]] = None,
        query: Optional[Mapping[str, Any]] = None,
        account: Optional[AccountRecord] = None,
    ) -> Any:
        """Perform one operation, and return the answer's JSON."""


async def apply(
    platform: Platform, account: AccountRecord, scenario: Scenario, caller: OperationCaller
) -> LoadedScenario:
    """Make everything that a scenario describes: the clock first, faults last.

    Args:
        platform: Where it is made.
        account: The account. The one that means all accounts (`*`) may have a clock, stubs, programs, agents, fake
            repositories, prepared sandboxes and faults, but no sandboxes and keys.
        scenario: What is made.
        caller: Performs the operations for the account.

    Raises:
        ScenarioError: An entry cannot be made; the text names it. What was made before it has been removed again.
    """
    return await _Application(platform, account, scenario, caller).run()


class _Application:
    def __init__(self, platform: Platform, account: AccountRecord, scenario: Scenario, caller: OperationCaller) -> None:
        self._platform = platform
        self._account = account
        self._scenario = scenario
        self._caller = caller
        self._names = sandbox_names(scenario)
        self._loaded = LoadedScenario()
        self._undo: list[Undo] = []

    async def run(self) -> LoadedScenario:
        self._check_account()
        self._check_sandboxes_named()
        try:
            await self._make()
        except BaseException:
            await self._remove_all()
            raise
        self._log_warnings()
        return self._loaded

    # --- checks that need the emulator

    def _check_account(self) -> None:
        if self._account.id != ALL_ACCOUNTS:
            return
        for kind in ("keys", "sandboxes"):
            if getattr(self._scenario, kind):
                raise ScenarioError(
                    f"{kind}[0]: belongs to one account, and the scenario was loaded for all of them (account='*');"
                    " name one account, or leave sandboxes and keys out"
                )

    def _check_sandboxes_named(self) -> None:
        """Entries that are limited to a sandbox name one of the scenario, or an id of the account's."""
        for kind in ("stubs", "programs", "faults"):
            for index, entry in enumerate(getattr(self._scenario, kind)):
                name = entry.get("sandbox")
                if name is None or name in self._names:
                    continue
                box = self._platform.store.sandboxes.get(str(name))
                if box is None or self._account.id not in (box.account_id, ALL_ACCOUNTS):
                    hint = suggestion(str(name), self._names)
                    raise ScenarioError(f"{kind}[{index}]: sandbox: there is no sandbox {name!r} in the scenario{hint}")

    # --- making

    async def _make(self) -> None:
        scenario = self._scenario
        if scenario.clock:
            with _at("clock"):
                await self._freeze(scenario.clock["freeze"])
        for index, entry in enumerate(scenario.repos):
            with _at(f"repos[{index}]"):
                await self._add("/repos", entry)
        await self._make_stubs(of=None)
        for name, table in scenario.agents.items():
            with _at(f"agents.{name}"):
                await self._make_replies(name, table)
        for index, entry in enumerate(scenario.keys):
            with _at(f"keys[{index}]"):
                await self._make_key(entry)
        for index, entry in enumerate(scenario.prepared):
            with _at(f"prepared[{index}]"):
                await self._add("/prepared", entry)
        for index, entry in enumerate(scenario.sandboxes):
            with _at(f"sandboxes[{index}]"):
                box = await self._create(self._names[index], entry)
            await self._make_stubs(of=self._names[index])  # before its commands run
            with _at(f"sandboxes[{index}]"):
                await self._fill(box, entry)
        for index, entry in enumerate(scenario.faults):
            with _at(f"faults[{index}]"):
                await self._add("/faults", self._with_id(entry))

    def _with_id(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        options = dict(entry)
        if options.get("sandbox") is not None:
            options["sandbox"] = self._loaded.sandboxes.get(options["sandbox"], options["sandbox"])
        return options

    async def _freeze(self, moment: Any) -> None:
        clock, account = self._platform.clock, self._account.id
        before = clock.state()
        shared_change = clock.shared_change
        kept = before if account == ALL_ACCOUNTS else {name: own for name, own in before.items() if name == account}

        async def undo() -> None:
            self._platform.scheduler.reset(account)
            clock.restore(kept)
            clock.shared_change = shared_change

        self._undo.append(undo)
        await self._caller.perform("POST", "/_emulator/clock/freeze", {"at": moment}, account=self._account)
        self._loaded.added.append("/clock")

    async def _make_stubs(self, of: Optional[str]) -> None:
        """Stubs of commands and of programs that belong to the scenario's sandbox of that name, or to none of its
        sandboxes."""
        for kind in ("stubs", "programs"):
            for index, entry in enumerate(getattr(self._scenario, kind)):
                name = entry.get("sandbox")
                if (name if name in self._names else None) == of:
                    with _at(f"{kind}[{index}]"):
                        await self._add("/commands", self._with_id(entry))

    async def _make_replies(self, name: str, table: Mapping[str, Any]) -> None:
        path = f"/agents/{name}/replies"
        if table.get("passthrough"):
            await self._add(path, {"passthrough": True})
        for entry in table.get("reply_to", ()):
            await self._add(path, entry)
        for entry in table.get("replies", ()):
            await self._add(path, {"text": entry} if isinstance(entry, str) else entry)

    async def _add(self, path: str, entry: Mapping[str, Any]) -> None:
        """Add a control. `path`: below which it is added, and deleted by its id."""
        body = dict(entry)
        account = body.pop("account", None)
        whose = self._account if account is None else self._platform.accounts.administered(account)
        made = await self._caller.perform("POST", f"/_emulator{path}", body, account=whose)
        added = f"{path}/{made['id']}"
        self._loaded.added.append(added)
        self._undo.append(lambda: self._delete(f"/_emulator{added}"))

    async def _delete(self, path: str) -> None:
        all_accounts = self._platform.accounts.administered(ALL_ACCOUNTS)
        await self._caller.perform("DELETE", path, account=all_accounts)

    async def _call(self, call: Call[Any]) -> Any:
        """Perform a call of the SDK."""
        return await self._caller.perform(call.method, f"/v1{call.path}", call.body, call.query)

    async def _make_key(self, entry: Mapping[str, Any]) -> None:
        created = await self._call(keys.create_key(**{"scope": "full", **entry}))
        key = created["info"]

        async def undo() -> None:
            await self._call(keys.revoke_key(key["id"]))

        self._undo.append(undo)
        self._loaded.keys[key["name"]] = created["key"]

    async def _create(self, name: str, entry: Mapping[str, Any]) -> str:
        options = {key: value for key, value in entry.items() if key not in ("name", "files", "commands", "state")}
        made = await self._call(sandbox_creation.create(options.pop("template", "minimal"), options))
        box = str(made["id"])
        self._undo.append(lambda: self._remove(box))
        self._loaded.sandboxes[name] = box
        if made["status"] != "running":
            logs = self._platform.sandboxes.logs(self._platform.sandboxes.of_any(box), 1)
            raise ScenarioError(f"the sandbox came up as {made['status']}: {logs[-1].message if logs else 'no log'}")
        return box

    async def _fill(self, box: str, entry: Mapping[str, Any]) -> None:
        for path, content in entry.get("files", {}).items():
            await self._call(files.write(box, path, content))
        for command in entry.get("commands", ()):
            result = await self._call(sandbox_calls.exec_(box, command, None))
            if result["exit_code"] != 0:
                reason = result.get("error") or result["output"][-500:]
                raise ScenarioError(f"{command!r} failed with {result['exit_code']}: {reason}")
        if entry.get("state") == "paused":
            await self._call(sandbox_calls.pause(box))

    # --- removal after a failure

    async def _remove(self, box: str) -> None:
        """A sandbox, and the snapshots that were taken of it."""
        store = self._platform.store
        known = store.sandboxes.get(box)
        if known is not None:
            await self._platform.lifecycle.destroy(known)
        for snapshot in [one for one in store.snapshots.values() if one.sandbox_id == box]:
            self._platform.snapshots.delete(snapshot)

    async def _remove_all(self) -> None:
        while self._undo:
            undo = self._undo.pop()
            try:
                await undo()
            except ApiError:
                pass  # it was removed already, by another call or with the account
            except Exception as error:
                logger.warning("part of a scenario that failed was not removed: %r", error)

    def _log_warnings(self) -> None:
        for warning in self._caller.warnings:
            logger.warning("scenario: %s", warning)


@contextmanager
def _at(place: str) -> Iterator[None]:
    """Name the entry in the error of what cannot be made."""
    try:
        yield
    except ScenarioError as error:
        raise ScenarioError(f"{place}: {error}") from error
    except (ApiError, CagedError, AttributeError, LookupError, TypeError, ValueError, RuntimeError) as error:
        raise ScenarioError(f"{place}: {error}") from error
