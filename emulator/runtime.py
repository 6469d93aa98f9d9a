"""One running emulator on one event loop: its start, its parts, and its shutdown, in this order."""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
from collections.abc import Collection, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Callable, Optional

from . import descriptors
from .cage.cgroups import MemoryGroups
from .cage.chosen_isolation import ChosenIsolation
from .cage.zygote import Zygote
from .composition import compose
from .config import ConfigError, EmulatorConfig
from .control.clock import SEEDED_START, Clock
from .control.randomness import Randomness
from .control.routes import Route
from .emulator_log import EmulatorLog, LogOutput
from .isolation_choice import choose_isolation
from .listening_socket import bind, url_of
from .platform.accounts import new_admin_key
from .run_directory import RunDirectory
from .workers import Workers

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from .persistence.persistence import Persistence
    from .scenario import LoadedScenario, Scenario
    from .server import Server

logger = logging.getLogger(__name__)


class Runtime:
    """Created in the caller's thread, where a bad setting or a port in use raises. `run` is awaited once, on an event
    loop; `request_stop` may be called from any thread."""

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
        self._loaded: Optional[LoadedScenario] = None
        self._server: Optional[Server] = None
        #: The application, once `run` has built it; for calls from within this process.
        self.app: Optional[ASGIApp] = None
        #: What `clean_up` calls besides.
        self._closing: list[Callable[[], None]] = []
        descriptors.raise_limit()
        self._socket: socket.socket = bind(config)
        self._persistence: Optional[Persistence] = None
        try:
            _check_cache(config)
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
        persistence = self._persistence
        self._zygote = Zygote(self._run_dir.path, persistence.lock if persistence is not None else None)
        self._workers = Workers()
        self._isolation = ChosenIsolation()
        self.platform = compose(
            config=config,
            admin_key=self.admin_key,
            base_url=self.base_url,
            clock=self._clock,
            randomness=persistence.randomness(config.seed) if persistence is not None else Randomness(config.seed),
            workers=self._workers,
            zygote=self._zygote,
            chosen_isolation=self._isolation,
            memory_groups=self._memory_groups(),
            run_dir=self._run_dir.path,
            files_dir=persistence.path if persistence is not None else self._run_dir.path,
            state_writer=persistence,
            log_tail=self.log.tail,
            signing_key=persistence.signing_key() if persistence is not None else secrets.token_bytes(32),
            routes=_platform_routes,
        )
        self._closing += [self.platform.package_layers.close, self._isolation.close]
        try:
            if persistence is not None:
                with self.log.selected():
                    self._load_state(persistence)
            self.api_key = self._first_key()
            self.platform.commit()
        except BaseException:
            self.clean_up()
            raise

    def _load_state(self, persistence: Persistence) -> None:
        persistence.load(self.platform)
        if self.platform.accounts.first() is not None and self._scenario is not None:
            self._scenario = None  # its sandboxes are in the state, as they are now
            logger.info(
                "scenario %s is not loaded: %s has a state already", self.config.scenario, self.config.state_dir
            )

    def _first_key(self) -> str:
        """Return a full key of the emulator's first account, which is created when the state has none."""
        accounts, secret = self.platform.accounts, self.config.api_key
        account = accounts.first()
        if account is None:
            account, key = accounts.create("emulator", secret)
            return key.secret
        if secret is None:
            return accounts.full_key(account).secret
        if not accounts.ensure_key(account, secret):
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

    async def _prepare(self) -> tuple[ModuleType, ModuleType]:
        """Start the zygote and choose the isolation. Meanwhile, load and return the modules of the application and of
        the server, which is the longest part of a start, in a thread."""
        self._zygote.start()
        loading = asyncio.ensure_future(asyncio.to_thread(_load))
        try:
            await choose_isolation(self.config, self._zygote, self._run_dir.path, self._key_files, self._isolation)
        finally:
            await asyncio.wait({loading})
        return loading.result()

    async def run(self, on_ready: Callable[[], None]) -> None:
        """Serve until `request_stop`; then end the sandboxes, the connections and the zygote, in this order.

        Args:
            on_ready: Called when the emulator answers, and its scenario has been applied.
        """
        try:
            await self._run(on_ready)
        except BaseException:
            await self._zygote.stop()  # it still runs when the start has failed
            raise

    async def _run(self, on_ready: Callable[[], None]) -> None:
        self._stop = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self.log.use_loop(self._loop)
        if self._stop_requested:
            self._stop.set()
        app, server = await self._prepare()
        answering = asyncio.Event()
        self.app = app.build(self.platform)
        self._server = server.Server(
            self.app, self._socket, answering.set, self.platform.provisioner.start_freeing_descriptors
        )
        await self.platform.start()
        serving = self._loop.create_task(self._server.serve())
        stopping = self._loop.create_task(self._stop.wait())
        preparing = self._loop.create_task(self._apply_scenario(answering, on_ready))
        writing = self._loop.create_task(self._persistence.run()) if self._persistence is not None else None
        try:
            await asyncio.wait({serving, stopping, preparing}, return_when=asyncio.FIRST_COMPLETED)
            if not serving.done() and preparing.done() and preparing.exception() is None:
                await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            preparing.cancel()
            try:
                await self.platform.stop()
                self.platform.commit()
            finally:
                if writing is not None:
                    writing.cancel()
                self._server.stop()
                await serving
        if not preparing.cancelled() and preparing.done():
            preparing.result()

    @property
    def loaded(self) -> LoadedScenario:
        """What the scenario has created."""
        if self._loaded is not None:
            return self._loaded
        from .scenario import LoadedScenario

        return LoadedScenario()

    async def _apply_scenario(self, answering: asyncio.Event, on_ready: Callable[[], None]) -> None:
        """When the server answers, apply the scenario, then call `on_ready`. Raises ScenarioError."""
        await answering.wait()
        if self._stop_requested:
            return  # it is not ready, and will not be
        if self._scenario is not None:
            scenario, self._scenario = self._scenario, None
            self._loaded = await self._apply(scenario)
        on_ready()

    async def _apply(self, scenario: Scenario) -> LoadedScenario:
        from .scenario.applying import apply
        from .wire.all_operations import all_operations
        from .wire.internal_calls import InternalCaller

        account = self.platform.accounts.first()
        assert account is not None, "an emulator has an account before it serves"
        loaded = await apply(self.platform, account, scenario, InternalCaller(self.platform, account, all_operations))
        self.platform.commit()
        return loaded

    def request_stop(self) -> None:
        """Make `run` end, from any thread. If it has not begun, it ends as soon as it begins."""
        self._stop_requested = True
        if self._loop is not None and self._stop is not None:
            try:
                self._loop.call_soon_threadsafe(self._stop.set)
            except RuntimeError:
                pass  # the loop is closed: it has ended

    def clean_up(self) -> None:
        """Remove what `run` cannot: the directory and the socket. May be repeated. Blocks."""
        self._socket.close()
        self._workers.close()
        for close in self._closing:
            close()
        if self._persistence is not None:
            self._persistence.close()
        self._run_dir.remove()
        self.log.detach()

    def abandon(self) -> None:
        """End at once, from any thread and without the loop: the zygote ends every sandbox."""
        self._zygote.abandon()
        self.clean_up()


def _load() -> tuple[ModuleType, ModuleType]:
    from . import app, server

    return app, server


def _platform_routes() -> Collection[Route]:
    from .wire.all_operations import platform_routes  # slow to import, and first used when a control is checked

    return platform_routes()


def _read(path: Optional[Path]) -> Optional[Scenario]:
    if path is None:
        return None
    from .scenario import read

    return read(path)


def _check_cache(config: EmulatorConfig) -> None:
    """Check a cache directory that was chosen by a setting; the default one is only left unused. Raises ConfigError."""
    if config.cache_dir is None:
        return
    from .cache.location import CacheUnusable, open_directory

    try:
        open_directory(config.cache_dir)
    except CacheUnusable as error:
        raise ConfigError(f"cache_dir: {error}") from None


def _open_state(config: EmulatorConfig) -> Optional[Persistence]:
    if config.state_dir is None:
        return None
    from .persistence.persistence import Persistence

    return Persistence.open(config.state_dir)
