"""The emulator as one object, usable without pytest and without an event loop of the caller."""

from __future__ import annotations

import asyncio
import atexit
import os
import sys
import threading
import weakref
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Optional, TypeVar, Union

from .cage.probe import describe
from .config import BudgetAction, EmulatorConfig, Isolation, MemoryLimit, Tier
from .control_client.admin_client import AdminClient
from .control_client.base_emulator import BaseEmulator
from .control_client.in_process_transport import InProcessTransport
from .control_client.transport import EmulatorError
from .platform.shared_controls import shared_controls
from .runtime import Runtime

if TYPE_CHECKING:
    from types import TracebackType

    from .scenario import LoadedScenario

START_LIMIT = 60.0
#: The limit with a scenario, whose sandboxes and commands take time.
SCENARIO_LIMIT = 600.0
STOP_LIMIT = 30.0
T = TypeVar("T")


class Emulator(BaseEmulator):
    """A whole platform on 127.0.0.1, served from a thread.

    `start` and `stop` it, or use it as `with Emulator() as emulator:`. Its controls (faults, clock, journal …) are
    those of its first account; `for_account` and `account` have those of another one. Two emulators in one process do
    not know of each other.

    Args:
        host: Address to listen on.
        port: Port to listen on; 0: a free one.
        api_key: API key of the first account; a random one by default.
        admin_key: Key of the emulator's own controls (`/_emulator/…`); a random one by default.
        isolation: How sandboxes are isolated: a level, which never degrades (`namespace`, `bwrap`, `process`), or the
            strongest that works (`auto`). None: CAGED_ISOLATION, then `auto`.
        state_dir: Directory in which everything survives the emulator's end; a temporary one by default.
        seed: Makes ids the same on every run.
        tier: Plan whose rate and plan limits apply (`free`, `pro`, `team`); none by default.
        budget_action: What happens to a sandbox whose budget is spent: `pause` or `destroy`.
        allow_hosts: Names to accept in the Host header, besides loopback names and plain addresses.
        allow_unenforced: Create sandboxes whose network mode the isolation cannot enforce, instead of refusing them.
        limits: Hold each sandbox to its memory, cores and processes.
        memory_limit: What memory_mb limits: each `process`, or by a control group the whole `sandbox`.
        cache: Keep installed packages in the user's cache directory for later sandboxes.
        cache_dir: Directory in which they are kept; the directory `caged` in the user's cache directory by default.
        cache_mb: Disk space of the cache; what was not used for longest is removed. In MiB.
        scenario: File (TOML, YAML, JSON) that describes what is there from the start; see `loaded`.
        allow_unused: Do not report unused controls at the end of a `with` block.
        ui: Open the inspector in a browser when it has started, and write the link, which logs in once, to stderr.
            Without a desktop the link is only written.

    Raises:
        ConfigError: A setting cannot be used.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        api_key: Optional[str] = None,
        admin_key: Optional[str] = None,
        isolation: Optional[Isolation] = None,
        state_dir: Union[str, os.PathLike[str], None] = None,
        seed: Optional[int] = None,
        tier: Optional[Tier] = None,
        budget_action: BudgetAction = "pause",
        allow_hosts: tuple[str, ...] = (),
        allow_unenforced: bool = False,
        limits: bool = True,
        memory_limit: MemoryLimit = "process",
        cache: bool = True,
        cache_dir: Union[str, os.PathLike[str], None] = None,
        cache_mb: int = 4096,
        scenario: Union[str, os.PathLike[str], None] = None,
        allow_unused: bool = False,
        ui: bool = False,
    ) -> None:
        settings = dict(locals())
        del settings["self"], settings["allow_unused"], settings["ui"]
        self.config = EmulatorConfig.make(**settings)
        self._ui = ui
        self._allow_unused = allow_unused
        self._runtime: Optional[Runtime] = None
        self._transport: Optional[InProcessTransport] = None
        self._control: Optional[AdminClient] = None
        self._link_lock = threading.Lock()
        self._thread: Optional[threading.Thread] = None
        self._loop: Optional[asyncio.AbstractEventLoop] = None
        self._ready = threading.Event()
        self._failure: Optional[BaseException] = None
        self._pid = os.getpid()
        self._at_exit: Optional[Callable[[], None]] = None

    # --- start and stop

    def start(self) -> Emulator:
        """Start it, and return when it answers. A failed start leaves nothing behind.

        Raises:
            EmulatorError: It runs already, it has failed, or it did not answer within START_LIMIT seconds
                (SCENARIO_LIMIT with a scenario).
        """
        if self._runtime is not None:
            raise EmulatorError("this emulator is running already; make another Emulator for a second one")
        self._ready.clear()
        self._failure = self._transport = None
        self._pid = os.getpid()
        self._runtime = Runtime(self.config)
        self._thread = threading.Thread(target=self._serve, name="caged-emulator", daemon=True)
        try:
            self._thread.start()
            limit = START_LIMIT if self.config.scenario is None else SCENARIO_LIMIT
            if not self._ready.wait(limit):
                what = "did not answer" if self.config.scenario is None else "did not make its scenario"
                raise EmulatorError(f"the emulator {what} within {limit:g} s\n{self._log_text()}")
            if self._failure is not None:
                raise EmulatorError(f"the emulator failed to start: {self._failure}\n{self._log_text()}")
        except BaseException:
            self._abandon()
            raise
        self._at_exit = _abandon_at_exit(weakref.ref(self))
        atexit.register(self._at_exit)
        if self._ui:
            self._open_inspector()
        return self

    def _open_inspector(self) -> None:
        from .browser import open_in_browser

        try:
            link = self.ui_link()
            print(f"Inspector: {link}", file=sys.stderr, flush=True)
            open_in_browser(link)
        except BaseException:
            self.stop()
            raise

    def _serve(self) -> None:
        assert self._runtime is not None
        try:
            asyncio.run(self._run(self._runtime))
        except BaseException as error:
            self._failure = error
            self._ready.set()

    async def _run(self, runtime: Runtime) -> None:
        self._loop = asyncio.get_running_loop()
        try:
            await runtime.run(self._ready.set)
        finally:
            if self._transport is not None:
                await self._transport.finish_streams()

    def stop(self) -> None:
        """End every sandbox and the server, and remove all files. With a state directory, stop the sandboxes and keep
        everything for the next start. May be repeated.

        Raises:
            EmulatorError: It did not stop within STOP_LIMIT seconds; its sandboxes are gone.
        """
        runtime, thread = self._runtime, self._thread
        if runtime is None or thread is None or self._pid != os.getpid():
            return
        runtime.request_stop()
        thread.join(STOP_LIMIT)
        late = thread.is_alive()
        text = self._log_text()
        self._abandon()
        if late:
            raise EmulatorError(f"the emulator did not stop within {STOP_LIMIT:g} s; its sandboxes are gone\n{text}")

    def _abandon(self) -> None:
        """Release what is left after `stop`, or everything when there is no time for it."""
        if self._runtime is None or self._pid != os.getpid():
            return  # a forked child has a copy of this object; the sandboxes are its parent's
        runtime, self._runtime, self._thread, self._loop = self._runtime, None, None, None
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._at_exit is not None:
            atexit.unregister(self._at_exit)
            self._at_exit = None
        runtime.request_stop()
        runtime.abandon()

    def __enter__(self) -> Emulator:
        return self.start()

    def __exit__(
        self,
        _type: Optional[type[BaseException]],
        error: Optional[BaseException],
        _traceback: Optional[TracebackType],
    ) -> None:
        """Stop it. A block that has ended without an exception fails when what a test set up did not work out.

        Raises:
            CallbackError: A function (of a stub, a program or an agent's reply) raised; it has no `allow_errors`.
            AssertionError: A fault, stub or agent's reply was never used; it is not `optional`, and the emulator was
                not made with `allow_unused=True`.
        """
        try:
            own = self._runtime if self._pid == os.getpid() else None
            if error is None and own is not None:
                self._raise_failures(own)
        finally:
            self.stop()

    def _raise_failures(self, runtime: Runtime) -> None:
        # Checked directly first: most blocks end without any, and need no connection for that.
        platform = runtime.platform
        if platform.callback_errors.list("*"):
            self.raise_callback_errors(account="*")
        if self._allow_unused:
            return
        for control in shared_controls(platform):  # nothing can use them any more, whoever added them
            self._admin.notes.added_for_all_accounts[control.path] = None
        first = platform.accounts.first()
        has_controls = first is not None and any(one.list(first.id) for one in platform.registries)
        texts = self.unused() if has_controls else []
        for account in list(self._control.notes.shared.created_accounts) if self._control is not None else ():
            if account in platform.store.accounts:
                texts += [f"in account {account}: {text}" for text in self.for_account(account).unused()]
        if texts:
            raise AssertionError("\n".join(texts))

    # --- properties

    def _running(self) -> Runtime:
        if self._runtime is None:
            raise EmulatorError("this emulator is not running; call start() or use it in a `with` statement")
        return self._runtime

    @property
    def base_url(self) -> str:
        """Its URL, without a path. EmulatorError unless it runs."""
        return self._running().base_url

    @property
    def api_key(self) -> str:
        """The key of the emulator's first account."""
        return self._running().api_key

    @property
    def admin_key(self) -> str:
        """The key of the emulator's own controls. No account's key works there, and it works nowhere else."""
        return self._running().admin_key

    @property
    def isolation(self) -> str:
        """The isolation level in use; before the start, the requested one."""
        return self._runtime.platform.isolation.level if self._runtime else self.config.isolation

    @property
    def isolation_refused(self) -> list[str]:
        """The stronger levels that do not work here, each with the reason and what to do about it."""
        probe_results = self._running().platform.probe_results
        return [describe(probe_result) for probe_result in probe_results if not probe_result.works]

    @property
    def loaded(self) -> LoadedScenario:
        """What its scenario has created: ids of sandboxes, secrets of keys, by name."""
        return self._running().loaded

    @property
    def run_dir(self) -> Path:
        """The directory of its files that are removed when it stops."""
        return self._running().platform.run_dir

    def log_tail(self, last: int = 20) -> list[str]:
        """Get the newest lines of the emulator's own log, oldest first.

        Args:
            last: Only the newest so many; at least 1.

        Raises:
            ValueError: `last` is not a whole number of at least 1.
            EmulatorError: The emulator does not run.
        """
        if isinstance(last, bool) or not isinstance(last, int) or last < 1:
            raise ValueError(f"last: must be at least 1, not {last!r}")
        return self._running().log.tail(last)

    def _log_text(self) -> str:
        return "\n".join(self._runtime.log.tail(20)) if self._runtime is not None else ""

    @property
    def _admin(self) -> AdminClient:
        runtime = self._running()
        with self._link_lock:  # threads share the emulator
            if self._control is None:
                self._transport = self._connect(runtime)
                self._control = AdminClient(self._transport)
            return self._control

    def _connect(self, runtime: Runtime) -> InProcessTransport:
        app, loop = runtime.app, self._loop
        assert app is not None, "`start` returns when the application answers"
        assert loop is not None
        return InProcessTransport(
            app, loop, runtime.base_url, runtime.admin_key, lambda: self._running().platform, self._pid
        )

    def _call(self, work: Coroutine[Any, Any, T], limit: float = STOP_LIMIT) -> T:
        """Run a coroutine on the emulator's loop, from any other thread, and make its changes durable."""
        if self._loop is None or self._runtime is None:
            work.close()
            raise EmulatorError("this emulator is not running; call start() or use it in a `with` statement")
        platform = self._runtime.platform

        async def kept() -> T:
            result = await work
            platform.commit()
            return result

        return asyncio.run_coroutine_threadsafe(kept(), self._loop).result(limit)


def _abandon_at_exit(reference: weakref.ref[Emulator]) -> Callable[[], None]:
    def abandon() -> None:
        emulator = reference()
        if emulator is not None:
            emulator._abandon()

    return abandon
