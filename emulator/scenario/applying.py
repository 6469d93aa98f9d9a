"""Making what a scenario describes, on the emulator's event loop: all of it or nothing.

Each entry is a call of the emulator's controls or of the SDK, with the entry's keys as options: what can be called can
be written in a file. The calls are described by the very functions that a test calls, and performed within the emulator
(`wire/internal_calls.py`), so that no fault or rate limit applies to a setup, and the emulator sends no request to
itself.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Callable, NoReturn, Optional, cast

from caged import CagedError
from caged._call import Call
from caged._resources import account as keys
from caged._resources import files, sandboxes

from ..control.current_account import ALL_ACCOUNTS
from ..control.names import suggestion
from ..control_client.admin_client import AdminClient
from ..control_client.agents import Agent
from ..control_client.clock import Clock
from ..control_client.commands import Commands
from ..control_client.faults import Faults
from ..platform.errors import ApiError
from ..platform.platform import Platform
from ..store import Account
from ..wire.internal_calls import Direct
from .checking import sandbox_names
from .loaded import Loaded
from .reading import Scenario, ScenarioError

logger = logging.getLogger(__name__)

Undo = Callable[[], Awaitable[None]]


async def apply(platform: Platform, account: Account, scenario: Scenario) -> Loaded:
    """Make everything that a scenario describes: the clock first, faults last.

    Args:
        account: whose it is. The one that stands for all (`*`) may have a clock, stubs, programs, agents and faults,
            but no sandboxes and keys.

    Raises:
        ScenarioError: an entry cannot be made; the text names it. What was made before it has been removed again.
    """
    return await _Applying(platform, account, scenario).run()


class _Applying:
    def __init__(self, platform: Platform, account: Account, scenario: Scenario) -> None:
        self._platform = platform
        self._account = account
        self._scenario = scenario
        self._direct = Direct(platform, account)
        self._names = sandbox_names(scenario)
        self._loaded = Loaded()
        self._undo: list[Undo] = []

    async def run(self) -> Loaded:
        self._check_account()
        self._check_sandboxes_named()
        try:
            await self._make()
        except BaseException:
            await self._take_back()
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
        await self._make_stubs(of=None)
        for name, table in scenario.agents.items():
            with _at(f"agents.{name}"):
                await self._make_replies(name, table)
        for index, entry in enumerate(scenario.keys):
            with _at(f"keys[{index}]"):
                await self._make_key(entry)
        for index, entry in enumerate(scenario.sandboxes):
            with _at(f"sandboxes[{index}]"):
                box = await self._create(self._names[index], entry)
            await self._make_stubs(of=self._names[index])  # before its commands run
            with _at(f"sandboxes[{index}]"):
                await self._fill(box, entry)
        for index, entry in enumerate(scenario.faults):
            with _at(f"faults[{index}]"):
                await self._control("/faults", Faults(_RECORDER).add, **self._with_id(entry))

    def _with_id(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        options = dict(entry)
        if options.get("sandbox") is not None:
            options["sandbox"] = self._loaded.sandboxes.get(options["sandbox"], options["sandbox"])
        return options

    async def _freeze(self, moment: Any) -> None:
        clock, account = self._platform.clock, self._account.id
        before = clock.state()
        kept = before if account == ALL_ACCOUNTS else {name: dial for name, dial in before.items() if name == account}

        async def undo() -> None:
            self._platform.scheduler.reset(account)
            clock.restore(kept)

        self._undo.append(undo)
        await self._control("", Clock(_RECORDER).freeze, moment)
        self._loaded.added.append("/clock")

    async def _make_stubs(self, of: Optional[str]) -> None:
        """Stubs of commands and of programs that belong to the scenario's sandbox of that name, or to none of its
        sandboxes."""
        commands = Commands(_RECORDER)
        for kind, function in (("stubs", commands.stub), ("programs", commands.program)):
            for index, entry in enumerate(getattr(self._scenario, kind)):
                name = entry.get("sandbox")
                if (name if name in self._names else None) == of:
                    with _at(f"{kind}[{index}]"):
                        options = _patterns(self._with_id(entry), "match", "args", "stdin")
                        await self._control("/commands", function, **options)

    async def _make_replies(self, name: str, table: Mapping[str, Any]) -> None:
        agent = Agent(_RECORDER, name)
        path = f"/agents/{name}/replies"
        if table.get("passthrough"):
            await self._control(path, agent.passthrough)
        for entry in table.get("reply_to", ()):
            await self._control(path, agent.reply_to, **_patterns(entry, "prompt"))
        for entry in table.get("replies", ()):
            await self._control(path, agent.reply, **({"text": entry} if isinstance(entry, str) else entry))

    async def _control(self, path: str, function: Callable[..., Any], *arguments: Any, **options: Any) -> None:
        """Perform the call that a function of a test's controls makes. `path`: below which what it adds is deleted by
        its id."""
        request = _recorded(function, *arguments, **options)
        account = self._account if request.account is None else self._platform.accounts.administered(request.account)
        made = await self._direct.perform(request.method, f"/_emulator{request.path}", request.body, account=account)
        if path:
            added = f"{path}/{made['id']}"
            self._loaded.added.append(added)
            self._undo.append(lambda: self._delete(f"/_emulator{added}"))

    async def _delete(self, path: str) -> None:
        everybody = self._platform.accounts.administered(ALL_ACCOUNTS)
        await self._direct.perform("DELETE", path, account=everybody)

    async def _call(self, call: Call[Any]) -> Any:
        """Perform a call of the SDK."""
        return await self._direct.perform(call.method, f"/v1{call.path}", call.body, call.query)

    async def _make_key(self, entry: Mapping[str, Any]) -> None:
        created = await self._call(keys.create_key(**{"scope": "full", **entry}))
        key = created["info"]

        async def undo() -> None:
            await self._call(keys.revoke_key(key["id"]))

        self._undo.append(undo)
        self._loaded.keys[key["name"]] = created["key"]

    async def _create(self, name: str, entry: Mapping[str, Any]) -> str:
        options = {key: value for key, value in entry.items() if key not in ("name", "files", "commands", "state")}
        made = await self._call(sandboxes.create(options.pop("template", "minimal"), options))
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
            result = await self._call(sandboxes.exec_(box, command, None))
            if result["exit_code"] != 0:
                said = result.get("error") or result["output"][-500:]
                raise ScenarioError(f"{command!r} failed with {result['exit_code']}: {said}")
        if entry.get("state") == "paused":
            await self._call(sandboxes.pause(box))

    # --- taking back

    async def _remove(self, box: str) -> None:
        """A sandbox, and the snapshots that were taken of it."""
        store = self._platform.store
        known = store.sandboxes.get(box)
        if known is not None:
            await self._platform.lifecycle.destroy(known)
        for snapshot in [one for one in store.snapshots.values() if one.sandbox_id == box]:
            self._platform.snapshots.delete(snapshot)

    async def _take_back(self) -> None:
        while self._undo:
            undo = self._undo.pop()
            try:
                await undo()
            except ApiError:
                pass  # it is gone already: removed by another call, or with the account
            except Exception as error:
                logger.warning("part of a scenario that failed was not removed: %r", error)

    def _log_warnings(self) -> None:
        for warning in self._direct.warnings:
            logger.warning("scenario: %s", warning)


@contextmanager
def _at(place: str) -> Iterator[None]:
    """Name the entry in the error of what cannot be made."""
    try:
        yield
    except ScenarioError as error:
        raise ScenarioError(f"{place}: {error}") from error
    except (ApiError, CagedError, AttributeError, LookupError, TypeError, ValueError, RuntimeError, re.error) as error:
        raise ScenarioError(f"{place}: {error}") from error


def _patterns(entry: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """The entry as options of a call: a table `{ regex = "…" }` is a regular expression."""
    options = dict(entry)
    for name in names:
        if isinstance(options.get(name), dict):
            options[name] = re.compile(options[name]["regex"])
    return options


class _Recorded(Exception):
    """The call that a function of the controls would have made."""

    def __init__(self, method: str, path: str, body: Optional[Mapping[str, Any]], account: Optional[str]) -> None:
        super().__init__(f"{method} {path}")
        self.method, self.path, self.body, self.account = method, path, body, account


class _Recorder:
    """Replaces a client of an emulator: sends nothing, and raises the call that would have been sent."""

    account: Optional[str] = None

    def call(
        self,
        method: str,
        path: str,
        body: Optional[Mapping[str, Any]] = None,
        *,
        account: Optional[str] = None,
        query: Optional[Mapping[str, Any]] = None,
    ) -> NoReturn:
        raise _Recorded(method, path, body, account)


_RECORDER = cast(AdminClient, _Recorder())


def _recorded(function: Callable[..., Any], *arguments: Any, **options: Any) -> _Recorded:
    try:
        function(*arguments, **options)
    except _Recorded as request:
        return request
    raise AssertionError(f"{function!r} made no call")
