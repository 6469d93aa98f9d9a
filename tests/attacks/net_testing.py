"""Shared by the attacks over the network: an emulator per module, an account per test, raw connections."""

from __future__ import annotations

import base64
import contextlib
import os
import socket
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional
from urllib.parse import urlsplit

import httpx
import pytest
from emulator_testing import Api, api_of, eventually

from caged.emulator import Emulator

SECONDS = 60.0
LONG = bool(os.environ.get("CAGED_ATTACKS_LONG"))


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator(allow_unused=True) as running:
        yield running


@pytest.fixture
def api(emulator: Emulator) -> Iterator[Api]:
    with api_of(emulator) as client:
        yield client
        emulator.remove_account(client.account_id)


def connect(url: str, seconds: float = SECONDS) -> socket.socket:
    """A TCP connection to the server of a URL; every wait on it is bounded."""
    parts = urlsplit(url)
    return socket.create_connection((parts.hostname, parts.port), timeout=seconds)


def read_all(connection: socket.socket) -> bytes:
    """Read until the other side closes the connection. Raises TimeoutError if it does not."""
    pieces = []
    with contextlib.suppress(ConnectionResetError):
        while True:
            piece = connection.recv(65536)
            if not piece:
                break
            pieces.append(piece)
    return b"".join(pieces)


def status_of(answer: bytes) -> Optional[int]:
    """The status of a raw response, None when there is no response."""
    words = answer.split(b"\r\n", 1)[0].split()
    return int(words[1]) if len(words) > 1 and words[0].startswith(b"HTTP/") else None


RAW_SERVER = (Path(__file__).parent / "raw_server.py").read_text(encoding="utf-8")
PORT = 3000


class RawSite:
    """The preview of a server whose response is given by the visitor's path (raw_server.py)."""

    def __init__(self, api: Api, box: str) -> None:
        self.api = api
        self.box = box
        self.path = f"/_preview/{box}/{PORT}"
        self.url = f"{api.emulator.base_url}{self.path}"

    def ask(self, kind: str, answer: bytes = b"", method: str = "GET", **options: Any) -> httpx.Response:
        url = self.api.emulator.base_url + self.path_of(kind, answer)
        return httpx.request(method, url, trust_env=False, verify=False, timeout=SECONDS, **options)

    def path_of(self, kind: str, answer: bytes) -> str:
        return f"{self.path}/{kind}/{base64.urlsafe_b64encode(zlib.compress(answer)).decode()}"

    def log(self) -> list[str]:
        return [line for line in self.api.emulator.log_tail(1000) if "failed:" in line or "Traceback" in line]


@pytest.fixture(scope="module")
def site(emulator: Emulator) -> Iterator[RawSite]:
    """In a sandbox with a network of its own, so that the port is free."""
    if emulator.isolation == "process":
        pytest.skip("without network namespaces the port is the host's")
    with api_of(emulator) as client:
        box = client.sandbox(network_mode="none")
        client.write(box, "raw_server.py", RAW_SERVER)
        client.output(box, f"python3 raw_server.py {PORT} > said 2>&1 &")
        eventually(lambda: client.read(box, "listening").status_code == 200, "the server to listen")
        yield RawSite(client, box)
        emulator.remove_account(client.account_id)


def resident_mib(pid: int = 0) -> float:
    """The resident memory of a process, by default of this one, which also runs the emulator."""
    with open(f"/proc/{pid or 'self'}/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1024**2
