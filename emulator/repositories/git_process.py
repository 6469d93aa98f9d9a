"""Git processes of the emulator itself, on fake repositories: without settings, hooks and network, and limited in time,
memory, size and number."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Callable, Optional

#: Sends a piece of an answer to a client; writes the input of a process.
Send = Callable[[bytes], Awaitable[None]]
Feed = Callable[[asyncio.StreamWriter], Awaitable[None]]
#: Seconds for one process.
SECONDS = 120.0
#: Bytes of output that is kept as a whole.
OUTPUT_BYTES = 64 * 1024**2
#: Address space and CPU time of one process, and the size of a file that it writes.
_MEMORY_KIB, _CPU_SECONDS, _FILE_BYTES = 2 * 1024**2, 60, 512 * 1024**2
#: For the end of a process that was killed.
END_SECONDS = 10.0
#: Processes at a time: for the connections of one sandbox, and for the emulator's own work; others wait.
PROCESSES = 4
#: The smallest limit of a shell for what is too large is not an error: then there is none.
_LIMITED = (
    f"ulimit -v {_MEMORY_KIB} 2>/dev/null; ulimit -t {_CPU_SECONDS} 2>/dev/null;"
    f' ulimit -f {_FILE_BYTES // 512} 2>/dev/null; ulimit -c 0 2>/dev/null; exec "$@"'
)
#: Bytes of one push, as it is sent.
PUSH_BYTES = 128 * 1024**2
#: Settings of every process. A push is checked before it is accepted, and written as one pack.
_SETTINGS = {
    "core.hooksPath": "/dev/null",
    "core.bigFileThreshold": "8m",
    "core.fsmonitor": "false",
    "gc.auto": "0",
    "pack.threads": "1",
    "pack.windowMemory": "64m",
    "pack.deltaCacheSize": "16m",
    "receive.autogc": "false",
    "receive.fsckObjects": "true",
    "receive.maxInputSize": str(PUSH_BYTES),
    "receive.unpackLimit": "1",
    "receive.denyDeleteCurrent": "refuse",
    "receive.updateServerInfo": "false",
    "uploadpack.allowFilter": "true",
    "uploadpack.allowAnySHA1InWant": "true",
    "protocol.allow": "never",
    "protocol.file.allow": "always",
}
#: Only branches and tags can be pushed.
_REFS = ("refs", "!refs/heads", "!refs/tags")


class GitError(Exception):
    """A git process failed; the text is git's."""


def words(arguments: Sequence[str]) -> list[str]:
    """The command that runs git, limited, with the emulator's own settings."""
    settings = [word for name, value in _SETTINGS.items() for word in ("-c", f"{name}={value}")]
    hidden = [word for ref in _REFS for word in ("-c", f"receive.hideRefs={ref}")]
    return ["/bin/sh", "-c", _LIMITED, "sh", "git", *settings, *hidden, *arguments]


def environment(protocol: str = "", **more: str) -> dict[str, str]:
    """The whole environment of a process: nothing of the developer's.

    Args:
        protocol: The version of git's protocol that the client requests, as `GIT_PROTOCOL` has it.
        more: Other variables.
    """
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": "/nonexistent",
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_NO_REPLACE_OBJECTS": "1",
        **({"GIT_PROTOCOL": protocol} if protocol else {}),
        **more,
    }


@dataclass(frozen=True)
class GitProcess:
    """A process of git that runs, with its pipes."""

    process: asyncio.subprocess.Process
    stdin: asyncio.StreamWriter
    stdout: asyncio.StreamReader
    stderr: asyncio.StreamReader


class GitProcesses:
    """Runs git, at most PROCESSES at a time. Used on the emulator's event loop."""

    def __init__(self) -> None:
        self._slots: Optional[asyncio.Semaphore] = None

    @asynccontextmanager
    async def start(
        self, arguments: Sequence[str], env: Optional[Mapping[str, str]] = None
    ) -> AsyncIterator[GitProcess]:
        """Start git. It is killed at the end of the block, with its children, and in any case after SECONDS.

        Raises:
            GitError: It cannot be started.
        """
        self._slots = self._slots or asyncio.Semaphore(PROCESSES)
        async with self._slots:
            try:
                process = await asyncio.create_subprocess_exec(
                    *words(arguments),
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.PIPE,
                    env=dict(env or environment()),
                    start_new_session=True,
                )
            except OSError as error:
                raise GitError(f"git cannot be started: {error}") from error
            timer = asyncio.get_running_loop().call_later(SECONDS, _kill, process.pid)
            stdin, stdout, stderr = process.stdin, process.stdout, process.stderr
            assert stdin and stdout and stderr  # noqa: PT018
            try:
                yield GitProcess(process, stdin, stdout, stderr)
            finally:
                timer.cancel()
                _kill(process.pid)
                stdin.close()
                # `wait` returns only when the pipes have ended, too, which nothing reads any more.
                await asyncio.wait_for(asyncio.gather(_drop(stdout), _drop(stderr), _closed(stdin)), END_SECONDS)
                await process.wait()

    async def run(self, arguments: Sequence[str], stdin: bytes = b"", env: Optional[Mapping[str, str]] = None) -> bytes:
        """Run git and return what it printed.

        Raises:
            GitError: It failed, or printed more than OUTPUT_BYTES.
        """
        async with self.start(arguments, env) as git:
            printing = asyncio.ensure_future(read_bounded(git.stdout, OUTPUT_BYTES))
            failing = asyncio.ensure_future(read_bounded(git.stderr, OUTPUT_BYTES))
            writing = asyncio.ensure_future(write_all(git.stdin, stdin))
            try:
                output, errors, _ = await asyncio.gather(printing, failing, writing)
            finally:  # a pipe has one reader at a time, and `start` reads both to their ends
                await _cancel([printing, failing, writing])
            code = await git.process.wait()
        if code != 0:
            text = errors.decode("utf-8", "replace").strip()
            raise GitError(text or f"git {arguments[0]} ended with {code}")
        return output

    async def relay(
        self, arguments: Sequence[str], env: Mapping[str, str], feed: Feed, send: Send, has_end: bool = False
    ) -> None:
        """Run git between a client's input and output, until it ends.

        Args:
            arguments: What git runs.
            env: Its environment.
            feed: Writes the input; cancelled when git has ended, unless the input `has_end`.
            send: Sends a piece of the output to the client.
            has_end: The client's input ends by itself: what git does not want is read too, because a client that still
                sends does not read why.

        Raises:
            GitError: It cannot be started.
        """
        async with self.start(arguments, env) as git:
            feeding = asyncio.ensure_future(feed(git.stdin))
            tasks = [asyncio.ensure_future(_drop(git.stderr)), feeding]
            try:
                while True:
                    piece = await git.stdout.read(65536)
                    if not piece:
                        break
                    await send(piece)
                if has_end:
                    await feeding
            finally:
                await _cancel(tasks)


async def _cancel(tasks: Sequence[asyncio.Future[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _closed(stream: asyncio.StreamWriter) -> None:
    """Wait for the end of a pipe; that git has not read all of it is not an error."""
    with contextlib.suppress(OSError):
        await stream.wait_closed()


async def _drop(stream: asyncio.StreamReader) -> None:
    while await stream.read(65536):
        pass


async def read_bounded(stream: asyncio.StreamReader, most: int) -> bytes:
    """Read to the end. Raises GitError for more than `most` bytes."""
    pieces: list[bytes] = []
    size = 0
    while True:
        piece = await stream.read(65536)
        if not piece:
            return b"".join(pieces)
        size += len(piece)
        if size > most:
            raise GitError(f"git printed more than {most // 1024**2} MiB, which is the most that is read at once")
        pieces.append(piece)


async def write_all(stream: asyncio.StreamWriter, data: bytes) -> None:
    """Write to a process and close its input; one that ends before is not an error here."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        for at in range(0, len(data), 65536):
            stream.write(data[at : at + 65536])
            await stream.drain()
    stream.close()


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
