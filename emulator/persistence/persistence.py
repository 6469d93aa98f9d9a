"""The state of one emulator in its state directory: read at the start, written before every response."""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
from pathlib import Path
from typing import Any, Callable, Optional

from ..config import ConfigError
from ..control.randomness import Randomness
from ..history import Event
from ..platform.platform import Platform
from ..store import Sandbox
from . import codec, loader, recovery
from .change_tracker import ChangeTracker
from .database import NAME, Error, advice, open_database
from .recovery import Heartbeat
from .saved_randomness import SavedRandomness
from .state_directory import StateDirectory

logger = logging.getLogger(__name__)

#: How long a change may wait that no response has reported yet.
INTERVAL = 0.05
#: How long a change may wait that is not a reason for a transaction.
DEFERRED_SECONDS = 0.25


class StateWriteError(OSError):
    """A change could not be made durable; the text says why."""


class Persistence:
    """The state directory and its database.

    `open` and `load` block and run before the event loop; `run` and `flush` belong to the event loop; `close`
    may be called from any thread.
    """

    def __init__(self, directory: StateDirectory) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._connection = open_database(directory.path / NAME)
        self._platform: Optional[Platform] = None
        self._changes: Optional[ChangeTracker] = None
        self._sources: dict[str, Callable[[], Any]] = {}
        self._deferred_at = 0.0
        try:
            self._documents = loader.load_documents(self._connection)
            codec.check_documents(self._documents)
        except Exception as error:  # a damaged file leads to many kinds of errors
            self.close()
            raise self._unreadable(error) from error

    @classmethod
    def open(cls, state_dir: Path) -> Persistence:
        """Open a state directory, which is made if it does not exist.

        Raises:
            ConfigError: Another emulator uses it, or its database cannot be read.
        """
        directory = StateDirectory.open(state_dir)
        try:
            return cls(directory)
        except BaseException:
            directory.close()
            raise

    @property
    def path(self) -> Path:
        return self._directory.path

    @property
    def lock(self) -> int:
        """The descriptor of the directory's lock. Processes that inherit it keep the directory locked."""
        return self._directory.lock

    # --- documents

    def document(self, name: str) -> Any:
        """Return the JSON document of a name as the previous emulator left it; None if there is none."""
        return self._documents.get(name)

    def register_document(self, name: str, content: Callable[[], Any]) -> None:
        """Store the result of `content` as the document of a name whenever it has changed.

        Args:
            name: The name of the document.
            content: Is called before every response, so it has to be fast.
        """
        self._sources[name] = content

    def randomness(self, seed: Optional[int]) -> Randomness:
        """Return the source of ids; with a seed, it continues the sequence of the previous emulator."""
        if seed is None:
            return Randomness()
        randomness = SavedRandomness(seed, self.document("chance"))
        self.register_document("chance", randomness.drawn)
        return randomness

    def signing_key(self) -> bytes:
        """Return the key that the previous emulator has signed download URLs with, or a new one."""
        saved = self.document("signing_key")
        text = saved if isinstance(saved, str) else secrets.token_hex(32)
        self.register_document("signing_key", lambda: text)
        return bytes.fromhex(text)

    # --- life

    def load(self, platform: Platform) -> None:
        """Fill the platform's store, and repair what was interrupted. Blocks.

        Raises:
            ConfigError: The database cannot be read.
        """
        try:
            loaded = loader.load_state(self._connection, platform.files_dir / "snapshots")
            self._restore(platform, loaded)
        except Exception as error:  # a damaged record leads to many kinds of errors; nothing has been written yet
            raise self._unreadable(error) from error
        recovery.repair_files(platform, self._directory)
        self.flush()

    def _restore(self, platform: Platform, loaded: loader.LoadedState) -> None:
        vars(platform.store).update(vars(loaded.store))
        platform.clock.restore(self.document("clock"))
        self.register_document("clock", platform.clock.state)
        for place, causes in loaded.alert_causes.items():
            platform.alert_history.remember(place, causes)
        platform.alert_history.restore(platform.store)
        causes_of = platform.alert_history.reported
        self._changes = ChangeTracker(self._connection, causes_of, loaded.lists, loaded.position)
        self._changes.attach(platform.store)
        self._platform = platform
        platform.signals.connect("event", self._on_event)
        alive = self.document("alive")
        recovery.repair_records(platform, Heartbeat.decode(alive) if alive else Heartbeat.now(platform))

    def flush(self, include_deferred: bool = False) -> None:
        """Make all changes durable.

        Args:
            include_deferred: Also write changes that are not a reason for a transaction.

        Raises:
            StateWriteError: They could not be written.
        """
        with self._lock:
            platform, changes = self._platform, self._changes
            if platform is None or changes is None:
                raise StateWriteError("the emulator is shutting down; its state is not written any more")
            changes.collect(platform.store)
            for name, content in self._sources.items():
                changes.set_document(name, content())
            is_running = include_deferred and any(box.status == "running" for box in platform.store.sandboxes.values())
            if changes.pending or is_running:
                changes.defer_document("alive", vars(Heartbeat.now(platform)))
            if changes.pending or include_deferred:
                try:
                    changes.commit(include_deferred)
                except Error as error:
                    raise StateWriteError(f"the state cannot be written to {self.path / NAME}: {error}") from error

    async def run(self) -> None:
        """Write changes that do not come from a request, until this is cancelled."""
        loop = asyncio.get_running_loop()
        logged = ""
        while True:
            await asyncio.sleep(INTERVAL)
            is_due = loop.time() - self._deferred_at >= DEFERRED_SECONDS
            try:
                self.flush(include_deferred=is_due)
                logged = ""
            except StateWriteError as error:
                if str(error) != logged and self._platform is not None:
                    logger.error("%s", error)
                logged = str(error)
            if is_due:
                self._deferred_at = loop.time()

    def close(self) -> None:
        """Close the database and release the directory. Can be called repeatedly, from any thread."""
        with self._lock:
            if self._directory.lock >= 0:
                self._platform = self._changes = None
                self._connection.close()
                self._directory.close()

    def _on_event(self, sandbox: Optional[Sandbox], event: Event) -> None:
        """Mark the event's session, which may have ended: an event can change its cost and its trust score."""
        if event.session_id and self._changes is not None and self._platform is not None:
            self._changes.mark_session(self._platform.store, event.session_id)

    def _unreadable(self, error: Exception) -> ConfigError:
        return ConfigError(
            f"{self.path / NAME} cannot be read ({loader.describe_failure(error)}); {advice(self.path / NAME)}"
        )
