"""Programs on a terminal, and connections that a test holds up or breaks off."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import socket
import threading
import time
from collections.abc import Sequence
from typing import Any, Optional

import fork_server


class Terminal:
    """A program whose output is a terminal, and its input nothing."""

    def __init__(self, words: Sequence[str], env: dict[str, str], stdout: Optional[int] = None) -> None:
        self._controlling, terminal = pty.openpty()
        outputs: dict[str, Any] = {"stdout": terminal if stdout is None else stdout, "stderr": terminal}
        self.process = fork_server.Process(words, env=env, **outputs)
        os.close(terminal)
        self.text = ""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_error: object) -> None:
        self.process.kill()
        self.process.wait(60)
        os.close(self._controlling)

    def until(self, wanted: str, seconds: float = 60) -> None:
        """Read until a text was printed."""
        deadline = time.monotonic() + seconds
        while wanted not in self.text:
            readable = select.select([self._controlling], [], [], max(0.0, deadline - time.monotonic()))[0]
            has_more = bool(readable) and self._read()
            assert has_more, f"no {wanted!r} in {self.text!r}"

    def rest(self) -> str:
        """Everything that the program has printed, once it has ended."""
        while self._read():
            pass
        self.process.wait(60)
        return self.text

    def _read(self) -> bool:
        try:
            piece = os.read(self._controlling, 65536)
        except OSError:  # EIO is the end
            return False
        self.text += piece.decode(errors="replace")
        return bool(piece)


class Relay:
    """A TCP relay in front of a port, whose connections can be held up and broken off."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        self._accepts = True
        self._flows = threading.Event()
        self._flows.set()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Relay:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._flows.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.refuse()
        self._thread.join(60)

    def hold(self) -> None:
        """Pass on nothing until `release`."""
        self._flows.clear()

    def release(self) -> None:
        """Pass on everything from now on."""
        self._flows.set()

    def refuse(self) -> None:
        """Break off all connections, and accept none until `accept`."""
        with self._lock:
            self._accepts = False
            for one in self._open:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def accept(self) -> None:
        """Accept connections again."""
        self._accepts = True

    def _run(self) -> None:
        while True:
            try:
                client, _address = self._listener.accept()
            except OSError:
                return
            with self._lock:
                if not self._accepts:
                    client.close()
                    continue
                server = socket.create_connection(("127.0.0.1", self._target))
                self._open += [client, server]
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._copy, args=(source, sink), daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(65536):
                self._flows.wait(120)
                sink.sendall(piece)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)
        source.close()
