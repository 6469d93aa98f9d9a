"""An emulator on the main thread of a process, with its signals, its log and its locator."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Callable, Optional

from ..config import EmulatorConfig
from ..discovery import Locator
from ..emulator_log import LogOutput
from ..runtime import Runtime
from .step_output import CommandLog, VerboseOutput
from .stop_signals import StopSignals
from .terminal_output import has_colours

logger = logging.getLogger(__name__)
#: Collections of the middle generation before one of all generations; Python's own number is 10.
_FULL_COLLECTIONS = 100
_UNFINDABLE = "env, status, stop and logs will not find this emulator: %s"


class Foreground:
    """The emulator of `serve` and `exec`. It listens once this object is made.

    Args:
        config: The emulator's settings.
        kind: `serve` or `exec`.
        pid: The process to signal in order to stop it.
        stderr_level: The level from which on lines of its log are printed to stderr.
        key_files: Files that will hold its keys.
        is_verbose: Print a line to stderr for each step of what happens.

    Raises:
        ConfigError: A setting cannot be used.
    """

    def __init__(
        self,
        config: EmulatorConfig,
        kind: str,
        pid: int,
        stderr_level: int = logging.NOTSET,
        key_files: Sequence[Path] = (),
        is_verbose: bool = False,
    ) -> None:
        self._signals = StopSignals()
        self._kind = kind
        self._locator: Optional[Locator] = None
        unfindable = ""
        try:
            self._locator = Locator.create(pid)
        except OSError as error:
            unfindable = str(error.strerror or error)
        try:
            outputs = [LogOutput(_print, stderr_level)]
            if self._locator is not None:
                key_files = [*key_files, self._locator.path]
                outputs.append(LogOutput(self._locator.log.write))
            self.runtime = Runtime(config, key_files, outputs)
            steps, journal = self.runtime.platform.steps, self.runtime.platform.journal
            if self._locator is not None:
                steps.listen(CommandLog(self._locator.log.write, journal.shown_step))
            if is_verbose:
                steps.listen(VerboseOutput(_print, has_colours(sys.stderr), journal.shown_step))
            if unfindable:
                with self.runtime.log.selected():
                    logger.warning(_UNFINDABLE, unfindable)
        except BaseException:
            self._hide()
            raise

    def run(self, on_ready: Callable[[], None], tether: Optional[tuple[int, Callable[[], None]]] = None) -> None:
        """Serve until a signal or an error, and leave nothing.

        Args:
            on_ready: Called once it answers and can be found.
            tether: A descriptor, and what to call whenever it can be read.
        """
        self._signals.hold()
        try:
            asyncio.run(self._run(on_ready, tether))
        finally:
            self._signals.end()
            self.abandon()

    async def _run(self, on_ready: Callable[[], None], tether: Optional[tuple[int, Callable[[], None]]]) -> None:
        loop = asyncio.get_running_loop()
        received = 0

        def interrupted(number: int) -> None:
            nonlocal received
            received += 1
            if received == 1:
                logger.info("stopping (again to stop at once)")
                self.runtime.request_stop()
            else:
                self.abandon()
                os._exit(128 + number)

        def ready() -> None:
            self._publish()
            on_ready()
            # The modules stay: a collection of all generations takes half the time without them. It still holds up the
            # loop, so that it comes a tenth as often.
            gc.freeze()
            gc.set_threshold(*gc.get_threshold()[:2], _FULL_COLLECTIONS)

        self._signals.deliver(loop, interrupted)
        if tether is not None:
            loop.add_reader(*tether)
        await self.runtime.run(ready)

    def _publish(self) -> None:
        if self._locator is None:
            return
        runtime = self.runtime
        try:
            self._locator.publish(
                kind=self._kind,
                since=time.time(),
                base_url=runtime.base_url,
                port=int(runtime.base_url.rpartition(":")[2]),
                api_key=runtime.api_key,
                admin_key=runtime.admin_key,
                isolation=runtime.platform.isolation.level,
                # Only the temporary directory is removed with the emulator.
                run_dir=None if runtime.config.state_dir else str(runtime.platform.run_dir),
            )
        except OSError as error:
            self._hide()
            logger.warning(_UNFINDABLE, error)

    def abandon(self) -> None:
        """End everything at once, without the event loop."""
        self.runtime.abandon()
        self._hide()  # last: `stop` waits for this

    def _hide(self) -> None:
        locator, self._locator = self._locator, None
        if locator is not None:
            locator.remove()


def _print(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
