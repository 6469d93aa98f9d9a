"""python benchmarks/streams.py: streamed bytes per second against `cat` through a bare PTY, and requests per second
against an empty Starlette route. The emulator runs in a process of its own, as it does for a client."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Callable

import httpx
import websockets
from _empty import empty_process
from _served import served_emulator
from _timing import Row, report

from caged import Caged

MEGABYTES = 48
ROUNDS = 5
REQUESTS = 1500
MARK = "0123456789abcdef"
#: Lines of text, as programs write.
CONTENT = "".join(f"{number:07d} the quick brown fox jumps over the lazy dog, again\n" for number in range(16_000))


def best(rounds: int, *work: Callable[[], float]) -> list[float]:
    """The best of each, run in turns: a rate is what a machine can do, and others only take away from it."""
    return [max(series) for series in zip(*[[act() for act in work] for _ in range(rounds)])]


def bare_pty(file: Path) -> float:
    """MB/s of `cat` through a PTY that one process reads."""
    controlling, terminal = os.openpty()
    begun = time.perf_counter()
    with subprocess.Popen(["cat", str(file)], stdout=terminal, stdin=terminal, close_fds=True) as process:
        os.close(terminal)
        size = 0
        while True:
            try:
                piece = os.read(controlling, 1 << 18)
            except OSError:
                break
            size += len(piece)
        seconds = time.perf_counter() - begun
        process.wait()
    os.close(controlling)
    return size / seconds / 1e6


async def through_socket(url: str, sandbox: str, key: str, query: str, lines: list[str], end: str) -> float:
    """MB/s between the first and the last byte of what the lines make the shell write."""
    address = f"{url.replace('http', 'ws', 1)}/v1/sandboxes/{sandbox}/terminal?{query}token={key}"
    async with websockets.connect(address, subprotocols=["terminal"], proxy=None, compression=None) as socket:  # type: ignore[list-item]
        await asyncio.sleep(0.3)
        begun, size, tail = time.perf_counter(), 0, ""
        for line in lines:
            await socket.send(json.dumps({"type": "input", "data": line}))
        while end not in tail:
            text = json.loads(await socket.recv())["data"]
            size += len(text)
            tail = tail[-40:] + text[-200:]
        return size / (time.perf_counter() - begun) / 1e6


def requests_per_second(client: httpx.Client, path: str) -> float:
    begun = time.perf_counter()
    for _ in range(REQUESTS // ROUNDS):
        client.get(path).raise_for_status()
    return (REQUESTS // ROUNDS) / (time.perf_counter() - begun)


def measure(url: str, key: str) -> list[Row]:
    with Caged(key, url) as caged, tempfile.TemporaryDirectory() as folder:
        box = caged.sandboxes.create().id
        caged.files.write(box, "part", CONTENT)
        caged.sandboxes.exec(box, f"for i in $(seq {MEGABYTES}); do cat part; done > big")
        file = Path(folder, "big")
        file.write_text(CONTENT * MEGABYTES)

        def terminal() -> float:
            return asyncio.run(through_socket(url, box, key, "rows=24&cols=80&", ["cat big; echo en''d\n"], "end\r\n"))

        def stream() -> float:
            lines = [
                f"stty -echo 2>/dev/null; printf '%s\\n' '__CAGED_BEGIN_{MARK}__'\n",
                "cat big\n",
                f"__caged_rc=$?; printf '%s%d\\n' '__CAGED_EXIT_{MARK}__' \"$__caged_rc\"; exit \"$__caged_rc\"\n",
            ]
            return asyncio.run(through_socket(url, box, key, "", lines, f"__CAGED_EXIT_{MARK}__0"))

        bare, person, program = best(ROUNDS, lambda: bare_pty(file), terminal, stream)
        with (
            empty_process() as empty_url,
            httpx.Client(base_url=empty_url) as empty,
            httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}) as ours,
        ):
            nothing, sandbox = best(
                ROUNDS,
                lambda: requests_per_second(empty, "/"),
                lambda: requests_per_second(ours, f"/v1/sandboxes/{box}"),
            )
    # A row holds times, and its bound is the most; a rate of at least half is a time of at most twice.
    return [
        Row("terminal, ms per MB", 1000 / person, 1000 / bare, f"cat through a bare PTY, {bare:.0f} MB/s", 2.0),
        Row("streaming exec, ms per MB", 1000 / program, 1000 / bare, f"cat through a bare PTY, {bare:.0f} MB/s", 2.0),
        Row("GET /v1/sandboxes/{id}", 1000 / sandbox, 1000 / nothing, f"an empty route, {nothing:.0f} per second", 2.0),
    ]


def main() -> int:
    with served_emulator() as (url, key):
        return report(measure(url, key))


if __name__ == "__main__":
    sys.exit(main())
