"""One emulator at work on one event loop: everything is made here and taken down here."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Callable, Optional

from . import descriptors
from .cage.cgroups import MemoryGroups
from .cage.isolation import IsolationLevel, can_be_hidden, key_directory
from .cage.probe import choose, describe
from .cage.provisioning import Provisioner
from .cage.toolchains import Toolchains
from .cage.zygote import Zygote
from .config import ConfigError, EmulatorConfig
from .control.agent_replies import AgentReplies
from .control.clock import SEEDED_START, Clock
from .control.faults import Faults
from .control.journal import Journal
from .control.randomness import Randomness
from .control.stubs import Stubs
from .discovery import locator_directories
from .emulator_log import EmulatorLog, LogOutput
from .listening import bind, url_of
from .platform.accounts import new_admin_key
from .platform.platform import Platform
from .platform.services import Services
from .run_directory import RunDirectory
from .store import Store
from .workers import Workers

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from .persistence.persistence import Persistence
    from .scenario import Loaded, Scenario
    from .server import Server

logger = logging.getLogger(__name__)


class Runtime:
    """Made in the caller's thread, which is where a bad setting or a port in use shows. `run` belongs to a loop,
    once; `request_stop` may be called from any thread."""

    def __init__(
        self,
        config: EmulatorConfig,
        key_files: Sequence[Path] = (),
        log_outputs: Sequence[LogOutput] = (),
    ) -> None:
        """Make everything, and listen.

        Args:
            key_files: Files outside of the state directory that will hold keys of this emulator.
            log_outputs: What gets the lines of its log, besides `log.tail`.
        """
        self.config = config
        self._key_files = key_files
        self.admin_key = config.admin_key or new_admin_key()
        self._clock = Clock(None if config.seed is None else SEEDED_START)
        self._loop: Optional[asyncio.AbstractEventLoop] = None
        self._stop: Optional[asyncio.Event] = None
        self._stop_requested = False
        self._loaded: Optional[Loaded] = None
        self._server: Optional[Server] = None
        #: The application, once `run` has built it; for calls from within this process.
        self.app: Optional[ASGIApp] = None
        descriptors.raise_limit()
        self._socket: socket.socket = bind(config)
        self._persistence: Optional[Persistence] = None
        try:
            self._scenario = _read(config.scenario)
            self._persistence = _open_state(config)
            self._run_dir = RunDirectory.create(config.state_dir)
        except BaseException:
            if self._persistence is not None:
                self._persistence.close()
            self._socket.close()
            raise
        self.log = EmulatorLog(self._clock, log_outputs)
        self.base_url = url_of(self._socket)
        kept = self._persistence
        self._zygote = Zygote(self._run_dir.path, kept.lock if kept is not None else None)
        self._toolchains = Toolchains()
        self._workers = Workers()
        randomness = kept.randomness(config.seed) if kept is not None else Randomness(config.seed)
        self.services = Services(
            config=config,
            store=Store(),
            clock=self._clock,
            randomness=randomness,
            journal=Journal(),
            faults=Faults(randomness),
            stubs=Stubs(randomness),
            agent_replies=AgentReplies(randomness),
            toolchains=self._toolchains,
            zygote=self._zygote,
            provisioner=self._make_provisioner(IsolationLevel("process")),
            run_dir=self._run_dir.path,
            files_dir=kept.path if kept is not None else self._run_dir.path,
            workers=self._workers,
            keeper=kept,
            memory=self._memory_groups(),
            admin_key=self.admin_key,
            base_url=self.base_url,
            log_tail=self.log.tail,
        )
        self.platform = Platform(self.services)
        try:
            if kept is not None:
                with self.log.selected():
                    self._load_state(kept)
            self.api_key = self._first_key()
            self.services.commit()
        except BaseException:
            self.clean_up()
            raise

    def _load_state(self, kept: Persistence) -> None:
        kept.load(self.platform)
        if self.platform.accounts.first() is not None and self._scenario is not None:
            self._scenario = None  # what it made is there, with all that has happened to it since
            logger.info(
                "scenario %s is not loaded: %s has a state already", self.config.scenario, self.config.state_dir
            )

    def _first_key(self) -> str:
        """A full key of the emulator's first account, which is made when the state holds none."""
        accounts, secret = self.platform.accounts, self.config.api_key
        account = accounts.first()
        if account is None:
            account, key = accounts.create("emulator", secret)
            return key.secret
        if secret is None:
            return accounts.full_key(account).secret
        if not accounts.adopt(account, secret):
            raise ConfigError("api_key is the key of another account in the state directory; use another key, or none")
        return secret

    def _memory_groups(self) -> Optional[MemoryGroups]:
        if not self.config.limits or self.config.memory_limit != "sandbox":
            return None
        groups = MemoryGroups.find(self._run_dir.path)
        if groups is None:
            self.clean_up()
            raise ConfigError(
                "memory limit 'sandbox' does not work here: no control group with a memory limit can be made; run as"
                " root or in a delegated cgroup (systemd-run --user --scope -p Delegate=yes …), or use 'process'"
            )
        return groups

    def _make_provisioner(self, isolation: IsolationLevel) -> Provisioner:
        return Provisioner(self._run_dir.path, self._zygote, isolation, self._toolchains.shell, self._workers)

    async def _choose_isolation(self) -> None:
        """Raises IsolationUnavailable when the level that was asked for does not work here, ConfigError when a file
        with keys cannot
        be kept from sandboxes."""
        keys = {key_directory(path): path for path in self._key_files}
        # Those of emulators that others start.
        locators = [key_directory(directory / "locator") for directory, _ in locator_directories()]
        isolation, self.services.probe_results = await choose(
            self.config.isolation, self._zygote, self._run_dir.path, [*keys, *locators]
        )
        shown = next((path for directory, path in keys.items() if not can_be_hidden(directory)), None)
        if isolation.own_network and shown is not None:
            raise ConfigError(
                f"{shown} would hold keys in a directory that every sandbox needs to see; use a directory outside of"
                " /etc, /usr, /var and their like, such as the project's, for the ready file, the output and"
                " CAGED_EMULATOR_LOCATOR_DIR"
            )
        self.services.provisioner = self._make_provisioner(isolation)
        if isolation.level == "process" and self.config.isolation == "auto":
            refused = "; ".join(
                describe(probe_result) for probe_result in self.services.probe_results if not probe_result.works
            )
            logger.warning("sandboxes have process isolation only. %s", refused)
        if not self.services.probe_results[-1].confined and os.geteuid() == 0:
            logger.warning(
                "sandboxes run as root, and a command can end every process of root on this machine"
                " (kill -9 -1, pkill): isolation 'process' was chosen by name and signals cannot be confined here"
            )

    async def _get_ready(self) -> tuple[ModuleType, ModuleType]:
        """The modules of the application and of the server, which are loaded while the zygote starts and isolation is
        tried: the longest part of a start has a core of its own."""
        self._zygote.start()
        loading = asyncio.ensure_future(asyncio.to_thread(_load))
        try:
            await self._choose_isolation()
        finally:
            await asyncio.wait({loading})
        return loading.result()

    async def run(self, on_ready: Callable[[], None]) -> None:
        """Serves until `request_stop`; then ends the sandboxes, the connections and the zygote, in this order."""
        try:
            await self._run(on_ready)
        except BaseException:
            await self._zygote.stop()  # where the start failed: harmless when it has ended
            raise

    async def _run(self, on_ready: Callable[[], None]) -> None:
        self._stop = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self.log.use_loop(self._loop)
        if self._stop_requested:
            self._stop.set()
        app, server = await self._get_ready()
        if self._persistence is not None:
            self._persistence.begin()
        answering = asyncio.Event()
        self.app = app.build(self.platform)
        self._server = server.Server(self.app, self._socket, answering.set)
        await self.platform.start()
        serving = self._loop.create_task(self._server.serve())
        stopping = self._loop.create_task(self._stop.wait())
        beginning = self._loop.create_task(self._begin(answering, on_ready))
        keeping = self._loop.create_task(self._persistence.run()) if self._persistence is not None else None
        try:
            await asyncio.wait({serving, stopping, beginning}, return_when=asyncio.FIRST_COMPLETED)
            if not serving.done() and beginning.done() and beginning.exception() is None:
                await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            beginning.cancel()
            try:
                await self.platform.stop()
                self.services.commit()
            finally:
                if keeping is not None:
                    keeping.cancel()
                self._server.stop()
                await serving
        if not beginning.cancelled() and beginning.done():
            beginning.result()

    @property
    def loaded(self) -> Loaded:
        """What the scenario has made."""
        if self._loaded is not None:
            return self._loaded
        from .scenario import Loaded

        return Loaded()

    async def _begin(self, answering: asyncio.Event, on_ready: Callable[[], None]) -> None:
        """Once it answers: makes what the scenario says, then tells that it is ready. Raises ScenarioError."""
        await answering.wait()
        if self._stop_requested:
            return  # it ends already: nothing may take it for ready
        if self._scenario is not None:
            scenario, self._scenario = self._scenario, None
            self._loaded = await self._apply(scenario)
        on_ready()

    async def _apply(self, scenario: Scenario) -> Loaded:
        from .scenario.applying import apply
        from .wire.internal_calls import Direct

        account = self.platform.accounts.first()
        assert account is not None, "an emulator has an account before it serves"
        loaded = await apply(self.platform, account, scenario, Direct(self.platform, account))
        self.services.commit()
        return loaded

    def request_stop(self) -> None:
        """Make `run` end, from any thread; one that has not begun yet ends as soon as it begins."""
        self._stop_requested = True
        if self._loop is not None and self._stop is not None:
            try:
                self._loop.call_soon_threadsafe(self._stop.set)
            except RuntimeError:
                pass  # the loop is closed: it has ended

    def clean_up(self) -> None:
        """Removes what `run` cannot: the directory and the socket. Harmless to repeat. Blocks."""
        self._socket.close()
        self._workers.close()
        if self._persistence is not None:
            self._persistence.close()
        self._run_dir.remove()
        self.log.detach()

    def abandon(self) -> None:
        """The short way out, from any thread, without the loop: the zygote takes every sandbox down."""
        self._zygote.abandon()
        self.clean_up()


def _load() -> tuple[ModuleType, ModuleType]:
    from . import app, server

    return app, server


def _read(path: Optional[Path]) -> Optional[Scenario]:
    if path is None:
        return None
    from .scenario import read

    return read(path)


def _open_state(config: EmulatorConfig) -> Optional[Persistence]:
    if config.state_dir is None:
        return None
    from .persistence.persistence import Persistence

    return Persistence.open(config.state_dir)
