"""What a round trip costs when nothing is done: a Starlette application with one empty route, under the same server
settings as the emulator."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from caged.emulator.config import EmulatorConfig
from caged.emulator.listening_socket import bind, url_of
from caged.emulator.server import Server


async def _empty(_request: Request) -> Response:
    return Response(b"{}", media_type="application/json")


_APP = Starlette(routes=[Route("/", _empty)])


@contextmanager
def empty_server() -> Iterator[str]:
    """Its URL; served from a thread, to be compared with `Emulator()`."""
    sock = bind(EmulatorConfig())
    ready = threading.Event()
    servers: list[Server] = []
    loops: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        loops.append(asyncio.get_running_loop())
        servers.append(Server(_APP, sock, ready.set, lambda: None))
        await servers[0].serve()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert ready.wait(10)
    yield url_of(sock)
    loops[0].call_soon_threadsafe(servers[0].stop)
    thread.join(10)


@contextmanager
def empty_process() -> Iterator[str]:
    """Its URL; served from a process of its own, to be compared with `caged-emulator serve`."""
    with subprocess.Popen([sys.executable, __file__], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def main() -> None:
    sock = bind(EmulatorConfig())
    print(url_of(sock), flush=True)

    async def serve() -> None:
        await Server(_APP, sock, lambda: None, lambda: None).serve()

    asyncio.run(serve())


if __name__ == "__main__":
    main()
