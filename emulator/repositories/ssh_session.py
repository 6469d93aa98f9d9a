"""What `ssh git@github.com git-upload-pack 'acme/calc.git'` gets, in place of a connection to that host.

The program that git runs in a sandbox (`cage/inside/git_ssh.py`) sends standard input as it is, and gets frames: one
byte (1 standard output, 2 standard error, 0 the end), the length in four bytes, and the content, of the end the exit
code.
"""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import AsyncIterator
from typing import Optional

from ..control.repository_urls import of_parts
from .access import GitClient, ServedRepository
from .git_process import GitError, GitProcesses, environment
from .http_session import IDLE_SECONDS
from .pushes import ProtocolError, receive_push

OUTPUT, ERRORS, END = 1, 2, 0
#: ssh's own exit code.
_SSH_FAILED = 255
_UNREADABLE = "fatal: this host serves git-upload-pack and git-receive-pack only"


class SshSession:
    """One command of one connection.

    Args:
        reader, writer: The connection.
        client: Who is at its other end.
        git: Runs git.
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, client: GitClient, git: GitProcesses
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._client = client
        self._git = git

    async def serve(self, destination: str, port: str, command: str, protocol: str) -> None:
        """Serve one command.

        Args:
            destination: `[user@]host`.
            port: The port, empty for the usual one.
            command: The command, quoted as for a shell.
            protocol: The version of git's protocol that the client requests.
        """
        host = destination.rpartition("@")[2] + (f":{port}" if port else "")
        try:
            words = shlex.split(command)
        except ValueError:
            words = []
        if words[:1] == ["git"]:
            words = [f"git-{words[1]}", *words[2:]] if len(words) > 1 else []
        path = words[1] if len(words) == 2 else ""
        repository = self._find(host, path)
        if repository is None:
            name = destination.rpartition("@")[2]
            hint = self._client.describe_unknown(host, path)
            return await self._fail(f"ssh: Could not resolve hostname {name}: {hint}", _SSH_FAILED)
        if words[0] not in ("git-upload-pack", "git-receive-pack"):
            return await self._fail(_UNREADABLE, 128)
        if repository.tokens:
            # A token is not a key: as for a private repository without a key.
            self._client.note_refusal(repository, "it needs a token, which ssh cannot send")
            return await self._fail(f"{destination}: Permission denied (publickey).", _SSH_FAILED)
        self._client.note_use(repository)
        try:
            if words[0] == "git-upload-pack":
                await self._upload(repository, protocol)
            else:
                await self._receive(repository)
        except (GitError, ProtocolError) as error:
            return await self._fail(f"fatal: {error}", 128)
        await self._send(END, b"0")

    def _find(self, host: str, path: str) -> Optional[ServedRepository]:
        try:
            return self._client.find(of_parts(host, path, 22))
        except ValueError:
            return None

    async def _fail(self, text: str, code: int) -> None:
        await self._send(ERRORS, f"{text}\n".encode("utf-8", "replace"))
        await self._send(END, str(code).encode())

    async def _send(self, kind: int, data: bytes) -> None:
        self._writer.write(bytes([kind]) + len(data).to_bytes(4, "big") + data)
        await asyncio.wait_for(self._writer.drain(), IDLE_SECONDS)

    async def _send_output(self, data: bytes) -> None:
        await self._send(OUTPUT, data)

    async def _input(self) -> AsyncIterator[bytes]:
        while True:
            piece = await asyncio.wait_for(self._reader.read(65536), IDLE_SECONDS)
            if not piece:
                return
            yield piece

    async def _upload(self, repository: ServedRepository, protocol: str) -> None:
        has_commits, requested = False, b""

        async def feed(stdin: asyncio.StreamWriter) -> None:
            nonlocal has_commits, requested
            async for piece in self._input():
                requested = (requested + piece)[-65536:]
                has_commits = has_commits or b"have " in requested
                stdin.write(piece)
                await stdin.drain()
            stdin.close()

        arguments = ["upload-pack", "--strict", str(repository.bare.path)]
        await self._git.relay(arguments, environment(protocol), feed, self._send_output)
        if b"0009done" in requested or b"0008done" in requested:
            self._client.note_fetch(repository, is_clone=not has_commits)

    async def _receive(self, repository: ServedRepository) -> None:
        arguments = ["receive-pack", "--stateless-rpc", "--advertise-refs", str(repository.bare.path)]
        await self._send_output(await self._git.run(arguments))
        await receive_push(repository, self._client, self._git, self._input(), self._send_output, False)
