"""The state of one emulator in its state directory: read at the start, written before every answer."""

from __future__ import annotations

import asyncio
import logging
import threading
from pathlib import Path
from typing import Any, Callable, Optional

from ..config import ConfigError
from ..control.randomness import Randomness
from ..history import Event
from ..platform.platform import Platform
from ..store import Sandbox
from . import codec, loading, recovery
from .change_tracker import ChangeTracker
from .database import NAME, Error, advice, open_database
from .recovery import Alive
from .saved_randomness import SavedRandomness
from .state_directory import StateDirectory

logger = logging.getLogger(__name__)

#: How long what nobody has been told of yet may wait, and what is no reason for a transaction.
INTERVAL = 0.05
LATER_SECONDS = 0.25


class NotKept(OSError):
    """A change could not be made durable; the text says why."""


class Persistence:
    """`open` in the caller's thread, then `load`, then `flush` from the loop, `close` from anywhere."""

    def __init__(self, directory: StateDirectory) -> None:
        self._directory = directory
        self._guard = threading.Lock()
        self._connection = open_database(directory.path / NAME)
        self._platform: Optional[Platform] = None
        self._changes: Optional[ChangeTracker] = None
        self._kept: dict[str, Callable[[], Any]] = {}
        self._later_at = 0.0
        try:
            self._documents = loading.documents(self._connection)
            codec.check_documents(self._documents)
        except Exception as error:  # whatever a damaged file leads to
            self.close()
            raise self._unreadable(error) from error

    @classmethod
    def open(cls, state_dir: Path) -> Persistence:
        """ConfigError when another emulator has the directory, or when what is in it cannot be read."""
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
        """A descriptor for the processes that the directory must not be given away before."""
        return self._directory.lock

    # --- small things by name

    def document(self, name: str) -> Any:
        """The JSON value that was kept by this name, None when there is none."""
        return self._documents.get(name)

    def keep(self, name: str, content: Callable[[], Any]) -> None:
        """From now on what `content` gives is written with every change, when it is another than before. It is asked
        before every answer, so it should be quick."""
        self._kept[name] = content

    def randomness(self, seed: Optional[int]) -> Randomness:
        """The source of ids; with a seed one that goes on."""
        if seed is None:
            return Randomness()
        chance = SavedRandomness(seed, self.document("chance"))
        self.keep("chance", chance.drawn)
        return chance

    # --- life

    def load(self, platform: Platform) -> None:
        """Fills the platform's store and puts right what was cut off. Blocks. ConfigError when it cannot be read."""
        try:
            loaded = loading.load(self._connection, platform.files_dir / "snapshots")
            self._begin(platform, loaded)
        except Exception as error:  # whatever a damaged record leads to; nothing has been written yet
            raise self._unreadable(error) from error
        recovery.look_after_files(platform, self._directory)
        self.flush()

    def _begin(self, platform: Platform, loaded: loading.Loaded) -> None:
        vars(platform.store).update(vars(loaded.store))
        platform.clock.restore(self.document("clock"))
        self.keep("clock", platform.clock.state)
        for place, causes in loaded.told.items():
            platform.alert_triggers.remember(place, causes)
        platform.alert_triggers.restore(platform.store)
        self._changes = ChangeTracker(self._connection, platform.alert_triggers.reported)
        self._changes.lists, self._changes.position = loaded.lists, loaded.position
        self._changes.watch(platform.store)
        self._platform = platform
        platform.signals.connect("event", self._event)
        if isinstance(self.document("signing_key"), str):
            platform.snapshots.signing_key = bytes.fromhex(self.document("signing_key"))
        self.keep("signing_key", lambda: platform.snapshots.signing_key.hex())
        kept = self.document("alive")
        recovery.recover(platform, Alive.read(kept) if kept else Alive.now(platform))

    def flush(self, all_of_it: bool = False) -> None:
        """What has changed is durable when this returns. NotKept when it could not be made so."""
        with self._guard:
            platform, book = self._platform, self._changes
            if platform is None or book is None:
                raise NotKept("the emulator is being taken down; nothing is kept any more")
            book.collect(platform.store)
            for name, content in self._kept.items():
                book.document(name, content())
            runs = all_of_it and any(box.status == "running" for box in platform.store.sandboxes.values())
            if book.pending or runs:
                book.mention("alive", vars(Alive.now(platform)))
            if book.pending or all_of_it:
                try:
                    book.write(all_of_it)
                except Error as error:
                    raise NotKept(f"the state cannot be written to {self.path / NAME}: {error}") from error

    async def run(self) -> None:
        """Writes what happens without anybody's asking, until it is cancelled."""
        loop = asyncio.get_running_loop()
        told = ""
        while True:
            await asyncio.sleep(INTERVAL)
            late = loop.time() - self._later_at >= LATER_SECONDS
            try:
                self.flush(all_of_it=late)
                told = ""
            except NotKept as error:
                if str(error) != told and self._platform is not None:
                    logger.error("%s", error)
                told = str(error)
            if late:
                self._later_at = loop.time()

    def close(self) -> None:
        """Nothing is written after this. Harmless to repeat; from any thread."""
        with self._guard:
            if self._directory.lock >= 0:
                self._platform = self._changes = None
                self._connection.close()
                self._directory.close()

    def _event(self, sandbox: Optional[Sandbox], event: Event) -> None:
        """It may belong to a session that is over, and cost it money or trust."""
        if event.session_id and self._changes is not None and self._platform is not None:
            self._changes.touch_session(self._platform.store, event.session_id)

    def _unreadable(self, error: Exception) -> ConfigError:
        return ConfigError(f"{self.path / NAME} cannot be read ({loading.reason(error)}); {advice(self.path / NAME)}")
