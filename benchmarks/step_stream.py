"""python benchmarks/step_stream.py: what 20 followers of the steps cost an exec, and how long after its answer the last
of them has its step.

The followers read server-sent events in a process of their own. Execs with and without them take turns.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time
from types import TracebackType
from typing import Optional
from urllib.parse import urlsplit

from _timing import Row, alternate, report

from caged.emulator import Emulator

CLIENTS = 20
ROUNDS = 100
#: Rounds whose delay is measured.
DELAYS = 50
#: Seconds for anything that the followers do.
PATIENCE = 60.0
#: How many times longer an exec may take: each of its four changes of steps is sent to each follower.
BOUND = 4.0


class Followers:
    """The process of the followers. `base_url`: that of the emulator."""

    def __init__(self, base_url: str, admin_key: str, account: str) -> None:
        words = [sys.executable, __file__, "--follow", base_url, account]
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._ask(admin_key)

    def __enter__(self) -> Followers:
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(PATIENCE)
        self._process.stdout.close()

    def connect(self) -> None:
        """Let each of them follow, and wait until all streams have begun."""
        self._ask("connect")

    def disconnect(self) -> None:
        """End all streams."""
        self._ask("disconnect")

    def expect(self, text: str) -> None:
        """Let them note when the last of them has a finished command with a text in its title."""
        self._ask(f"expect {text}")

    def seen(self) -> float:
        """When the last of them had what was expected, by `time.monotonic`."""
        return float(self._ask("seen"))

    def _ask(self, line: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline().strip()
        if not answer:
            raise SystemExit("the followers have ended")
        return answer


class _Group:
    """The followers themselves."""

    def __init__(self, base_url: str, account: str, admin_key: str) -> None:
        self._address = urlsplit(base_url)
        self._request = (
            f"GET /_emulator/journal/steps/stream?account={account} HTTP/1.1\r\nHost: {self._address.netloc}\r\n"
            f"Authorization: Bearer {admin_key}\r\n\r\n"
        ).encode()
        self._tasks: list[asyncio.Task[None]] = []
        self._expected = b""
        self._missing = 0
        self._last = 0.0
        self._all_have_it = asyncio.Event()

    async def act(self, line: str) -> str:
        """Carry out one line of the measuring process."""
        word, _space, text = line.partition(" ")
        if word == "connect":
            begun = [asyncio.Event() for _ in range(CLIENTS)]
            self._tasks = [asyncio.ensure_future(self._follow(event)) for event in begun]
            await asyncio.wait_for(asyncio.gather(*(event.wait() for event in begun)), PATIENCE)
        elif word == "disconnect":
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        elif word == "expect":
            self._expected, self._missing = f'"$ {text}"'.encode(), CLIENTS
            self._all_have_it.clear()
        elif word == "seen":
            await asyncio.wait_for(self._all_have_it.wait(), PATIENCE)
            return repr(self._last)
        return "done"

    async def _follow(self, begun: asyncio.Event) -> None:
        reader, writer = await asyncio.open_connection(self._address.hostname, self._address.port, limit=2**24)
        try:
            writer.write(self._request)
            while True:
                line = await reader.readline()
                if line.startswith(b"retry:"):
                    begun.set()
                if self._expected and self._expected in line and b'"status": "ok"' in line:
                    self._last = time.monotonic()
                    self._missing -= 1
                    if not self._missing:
                        self._all_have_it.set()
        finally:
            writer.close()


async def follow(base_url: str, account: str) -> None:
    """Be the process of the followers: a line of the input is an order, a line of the output its answer."""
    loop = asyncio.get_running_loop()
    key = (await loop.run_in_executor(None, sys.stdin.readline)).strip()
    group = _Group(base_url, account, key)
    print("ready", flush=True)
    while line := (await loop.run_in_executor(None, sys.stdin.readline)).strip():
        print(await group.act(line), flush=True)
    await group.act("disconnect")


def _wait_until_alone(emulator: Emulator, account: str) -> None:
    """Wait until the emulator has ended the streams, or their end would be measured."""
    runtime = emulator._runtime
    assert runtime is not None
    steps, until = runtime.platform.steps.of(account), time.monotonic() + PATIENCE
    while steps.listeners:
        if time.monotonic() > until:
            raise SystemExit(f"{steps.listeners} streams have not ended within {PATIENCE:g} s")
        time.sleep(0.001)


def main() -> int:
    with Emulator() as emulator, emulator.client() as caged:
        box = caged.sandboxes.create().id
        account = next(one.id for one in emulator.accounts())

        def run(command: str = "true") -> None:
            caged.sandboxes.exec(box, command)

        with Followers(emulator.base_url, emulator.admin_key, account) as followers:

            def connect() -> None:
                emulator.journal.clear()  # or each follower would first get all of the steps that there are
                followers.connect()
                run()  # so that no measured exec is the first after a change

            def disconnect() -> None:
                followers.disconnect()
                _wait_until_alone(emulator, account)
                run()

            _begun, with_, _ended, without = alternate(ROUNDS, connect, run, disconnect, run)
            followers.connect()
            delays = []
            for number in range(DELAYS):
                followers.expect(f"true {number}")
                run(f"true {number}")
                answered = time.monotonic()
                delays.append(max(0.0, followers.seen() - answered) * 1000)
            followers.disconnect()
    print(f"the last of {CLIENTS} has the step {statistics.median(delays):.2f} ms after the answer (median), ", end="")
    print(f"{max(delays):.2f} ms at the most")
    return report([Row(f'exec("true") with {CLIENTS} followers', with_, without, "the same without followers", BOUND)])


if __name__ == "__main__":
    if sys.argv[1:2] == ["--follow"]:
        asyncio.run(follow(*sys.argv[2:4]))
        sys.exit()
    sys.exit(main())
