"""Bound sandboxes for tests: at each isolation level, with busybox alone, blocking and for asyncio."""

from __future__ import annotations

import asyncio
import inspect
import shutil
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Callable, Optional

import pytest
from levels import Served

from caged import AsyncCaged, BoundSandbox

#: Where a bound sandbox is tested, and by which client. The busybox one is at level `namespace`.
PLACES = ("namespace-sync", "bwrap-sync", "process-async", "busybox-sync")
#: For what depends on the shell and the programs of a sandbox, and neither on its isolation nor on the client: with
#: those of most images, and with busybox alone.
on_shells = pytest.mark.parametrize("place", ["namespace-sync", "busybox-sync"], indirect=True)
#: For what may depend on the shell and on the client, and on the paths that the emulator replaces at level `process`.
on_shells_and_clients = pytest.mark.parametrize("place", ["process-async", "busybox-sync"], indirect=True)

#: Bytes of a piece of the fixture `small_pieces`.
SMALL = 64 * 1024

APPLETS = "/applets"
# The programs of the host's busybox are the only ones on PATH. The emulator starts bash, which it has found on the
# host; here that is busybox's shell, as on a platform whose image has no bash.
_ONLY_BUSYBOX = f"""\
set -e
mkdir {APPLETS}
cp {{busybox}} {APPLETS}/busybox
{APPLETS}/busybox --install -s {APPLETS}
rm -f {APPLETS}/bash
PATH={APPLETS}
ln -sf {APPLETS}/busybox /usr/bin/sh
rm -f /usr/bin/bash /usr/bin/dash
printf '#!{APPLETS}/sh\\nexec {APPLETS}/sh "$@"\\n' >/usr/bin/bash
chmod 755 /usr/bin/bash
"""


def find_busybox() -> Optional[str]:
    """The host's busybox, of the Debian packages busybox-static or busybox."""
    return shutil.which("busybox", path="/bin:/usr/bin:/usr/local/bin:/sbin")


@contextmanager
def new_sandbox(served: Served, only_busybox: bool = False, **options: object) -> Iterator[str]:
    """A sandbox with the programs of the emulator's host, or with those of busybox alone."""
    busybox = find_busybox()
    if only_busybox and busybox is None:
        pytest.skip("busybox is not installed (Debian: busybox-static)")
    if only_busybox:
        options["env"] = {"PATH": APPLETS}
    with served.sandbox(**options) as sandbox_id:
        if only_busybox:
            setup = _ONLY_BUSYBOX.format(busybox=busybox)
            served.run(sandbox_id, f"PATH=/usr/bin:/bin\n{setup}")
            programs = served.run(sandbox_id, "command -v base64; readlink -f /bin/sh; echo ${BASH_VERSION-ash}")
            assert programs.split()[1:] == [f"{APPLETS}/busybox", "ash"], programs
        yield sandbox_id


class Loop:
    """An event loop in a thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(100)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)
        self._loop.close()


class Blocking:
    """An object for asyncio whose coroutines and asynchronous iterators block, so that one test can use both kinds.

    Attributes:
        awaited: The object itself.
    """

    def __init__(self, awaited: Any, loop: Loop) -> None:
        self.awaited = awaited
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.awaited, name)
        return self._wrap_method(value) if callable(value) else value

    def __repr__(self) -> str:
        return repr(self.awaited)

    def _wrap_method(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            options = {name: _unwrap(value) for name, value in options.items()}
            result = method(*map(_unwrap, args), **options)
            if inspect.isawaitable(result):
                result = self._loop.run(_awaiting(result))
            return self._wrap(result)

        return call

    def _wrap(self, value: Any) -> Any:
        if hasattr(value, "__aiter__"):
            return self._iterate(value.__aiter__())
        if isinstance(value, list):
            return [self._wrap(one) for one in value]
        return Blocking(value, self._loop) if type(value).__name__.startswith("Async") else value

    def _iterate(self, values: AsyncIterator[Any]) -> Iterator[Any]:
        while True:
            try:
                yield self._loop.run(_awaiting(values.__anext__()))
            except StopAsyncIteration:
                return


def _unwrap(value: Any) -> Any:
    return value.awaited if isinstance(value, Blocking) else value


async def _awaiting(value: Any) -> Any:
    return await value


class Places:
    """The bound sandboxes that tests share, created when they are first needed."""

    def __init__(self, emulators: Callable[[str], Served], stack: Any) -> None:
        self._emulators = emulators
        self._stack = stack
        self._ids: dict[str, str] = {}
        self._boxes: dict[str, Any] = {}
        self._loop: Optional[Loop] = None

    def served(self, place: str) -> Served:
        """The emulator of a place."""
        level = place.partition("-")[0]
        return self._emulators("namespace" if level == "busybox" else level)

    def box(self, place: str) -> Any:
        """The sandbox of a place, as `BoundSandbox`, or as what blocks like one."""
        if place not in self._boxes:
            level, _, kind = place.partition("-")
            if level not in self._ids:
                sandbox = new_sandbox(self.served(place), level == "busybox")
                self._ids[level] = self._stack.enter_context(sandbox)
            self._boxes[place] = self.bind(place, self._ids[level], kind)
        return self._boxes[place]

    def bind(self, place: str, sandbox_id: str, kind: str) -> Any:
        """A sandbox of a place, with a client of its own if it is for asyncio."""
        served = self.served(place)
        if kind == "sync":
            box: BoundSandbox = served.client.sandboxes.bind(sandbox_id)
            return box
        client = AsyncCaged(api_key=served.api_key, base_url=served.base_url)
        self._stack.callback(lambda: self._running_loop().run(client.close()))
        return Blocking(client.sandboxes.bind(sandbox_id), self._running_loop())

    def _running_loop(self) -> Loop:
        if self._loop is None:
            self._loop = Loop()
        return self._loop

    def close(self) -> None:
        if self._loop is not None:
            self._loop.close()


@contextmanager
def opened_places(emulators: Callable[[str], Served]) -> Iterator[Places]:
    """Places of a fixture: its end destroys the sandboxes and closes the clients."""
    with ExitStack() as stack:
        places = Places(emulators, stack)
        stack.callback(places.close)
        yield places
