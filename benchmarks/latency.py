"""python benchmarks/latency.py: exec and create through the SDK against a bare spawn and an empty round trip."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from _timing import Row, alternate, report
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from caged.emulator import Emulator
from caged.emulator.config import EmulatorConfig
from caged.emulator.server import Server, bind, url_of

ROUNDS = 300


@contextmanager
def empty_server() -> Iterator[str]:
    """A Starlette application with one empty route, under the same server settings as the emulator."""

    async def empty(_request: Request) -> Response:
        return Response(b"{}", media_type="application/json")

    sock = bind(EmulatorConfig())
    ready = threading.Event()
    servers: list[Server] = []
    loops: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        loops.append(asyncio.get_running_loop())
        servers.append(Server(Starlette(routes=[Route("/", empty)]), sock, ready.set))
        await servers[0].serve()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert ready.wait(10)
    yield url_of(sock)
    loops[0].call_soon_threadsafe(servers[0].stop)
    thread.join(10)


def main() -> int:
    with empty_server() as url, Emulator() as emulator, emulator.client() as caged, httpx.Client(base_url=url) as http:

        def spawn() -> None:
            subprocess.run(["bash", "-c", "true"], check=True)

        def trip() -> None:
            http.get("/").raise_for_status()

        sandbox = caged.sandboxes.create()
        rows = []
        for name, bound, act in (
            ('exec("true")', 1.5, lambda: caged.sandboxes.exec(sandbox.id, "true")),
            ("create", 8.0, caged.sandboxes.create),
        ):
            bare, empty, ours = alternate(ROUNDS, spawn, trip, act)
            against = f"bash -c true {bare:.2f} + empty round trip {empty:.2f}"
            rows.append(Row(name, ours, bare + empty, against, bound))
        code = report(rows)
        print(f"{len(caged.sandboxes.list())} sandboxes alive in the end")
    return code


if __name__ == "__main__":
    sys.exit(main())
