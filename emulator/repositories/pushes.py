"""Receiving a push: its commands are read and counted before git gets it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from .access import GitClient, RefUpdate, ServedRepository
from .bare_repository import MOST_BYTES, MOST_PUSHED_REFS, MOST_REFS
from .git_process import PUSH_BYTES, GitProcesses, Send, environment

#: Bytes of the commands of a push.
_COMMAND_BYTES = 4 * 1024 * 1024
_NOTHING = "0" * 40
FLUSH = b"0000"


class ProtocolError(Exception):
    """What the client sends is not git's protocol, or too much; the text says what."""


def packet(data: bytes) -> bytes:
    """A line of git's protocol, with its length."""
    return b"%04x%s" % (len(data) + 4, data)


async def receive_push(
    repository: ServedRepository,
    client: GitClient,
    git: GitProcesses,
    stream: AsyncIterator[bytes],
    send: Send,
    has_end: bool,
) -> None:
    """Receive the commands and the pack of a push, and send the report.

    Args:
        repository: Where it goes.
        client: Whose push it is.
        git: Runs git.
        stream: What the client sends; nothing else follows in it.
        send: Sends a piece of the answer.
        has_end: Whether the stream ends by itself, before the answer.

    Raises:
        ProtocolError: The client sends something else, or too much.
        GitError: git cannot be run.
    """
    head, rest = await _read_commands(stream)
    commands, capabilities = _parse_commands(head)
    if not commands:
        return
    refusal = await _refusal(repository, commands)
    if refusal:
        client.note_refusal(repository, refusal)
        if has_end:
            await _discard(stream)
        await send(_report(refusal, capabilities))
        return
    before = await repository.bare.refs()
    arguments = ["receive-pack", "--stateless-rpc", str(repository.bare.path)]
    await git.relay(arguments, environment(), lambda stdin: _forward(head + rest, stream, stdin), send, has_end)
    after = await repository.bare.refs()
    client.note_push(repository, list(_changes(commands, before, after)))


async def _refusal(repository: ServedRepository, commands: Sequence[RefUpdate]) -> str:
    """Why a push is not accepted at all; empty when it is."""
    if len(commands) > MOST_PUSHED_REFS:
        return f"one push may change {MOST_PUSHED_REFS:,} branches and tags, not {len(commands):,}"
    created = sum(not one.before for one in commands)
    if created and len(await repository.bare.refs()) + created > MOST_REFS:
        return f"a fake repository may have {MOST_REFS:,} branches and tags"
    loop = asyncio.get_running_loop()
    if await loop.run_in_executor(None, repository.bare.size) > MOST_BYTES:
        return f"the fake repository is larger than {MOST_BYTES // 1024**2} MiB"
    return ""


async def _read_commands(stream: AsyncIterator[bytes]) -> tuple[bytes, bytes]:
    """Read to the end of the commands. Returns them, with the empty packet that ends them, and what was read after."""
    read, at = b"", 0
    async for piece in stream:
        read += piece
        while len(read) >= at + 4:
            size = _packet_size(read[at : at + 4])
            if size == 0:
                return read[: at + 4], read[at + 4 :]
            if len(read) < at + size:
                break
            at += size
        if len(read) > _COMMAND_BYTES:
            raise ProtocolError(f"the commands of the push have more than {_COMMAND_BYTES // 1024} KiB")
    if read:
        raise ProtocolError("the push ends within its commands")
    return b"", b""


def _packet_size(digits: bytes) -> int:
    try:
        size = int(digits.decode("ascii"), 16)
    except ValueError:
        raise ProtocolError("a packet does not begin with its length") from None
    if size in (1, 2, 3) or size > 65520:
        raise ProtocolError(f"a packet cannot have the length {size}")
    return size


def _parse_commands(head: bytes) -> tuple[list[RefUpdate], bytes]:
    commands, capabilities, at = [], b"", 0
    while at < len(head):
        size = _packet_size(head[at : at + 4])
        line, _, more = head[at + 4 : at + size].rstrip(b"\n").partition(b"\0")
        at += max(size, 4)
        capabilities = capabilities or more
        words = line.decode("utf-8", "replace").split(" ", 2)
        if len(words) == 3 and words[0] != "shallow":
            old, new, ref = words
            commands.append(RefUpdate(ref, old.strip("0") and old, new.strip("0") and new))
    return commands, capabilities


def _changes(commands: Sequence[RefUpdate], before: dict[str, str], after: dict[str, str]) -> list[RefUpdate]:
    """Return the commands that git has carried out."""
    found = []
    for one in commands:
        name = one.ref[len("refs/") :]
        old, new = before.get(name, ""), after.get(name, "")
        if one.ref.startswith("refs/") and new == one.after and old != new:
            found.append(RefUpdate(one.ref, old, new))
    return found


async def _forward(head: bytes, stream: AsyncIterator[bytes], stdin: asyncio.StreamWriter) -> None:
    """Write a push to git. What git does not read any more is read here and dropped, so that the client gets the
    report."""
    size, is_open = len(head), True
    try:
        stdin.write(head)
        await stdin.drain()
    except (BrokenPipeError, ConnectionResetError):
        is_open = False
    async for piece in stream:
        size += len(piece)
        if size > 2 * PUSH_BYTES:
            break
        if is_open:
            try:
                stdin.write(piece)
                await stdin.drain()
            except (BrokenPipeError, ConnectionResetError):
                is_open = False
    stdin.close()


async def _discard(stream: AsyncIterator[bytes]) -> None:
    size = 0
    async for piece in stream:
        size += len(piece)
        if size > PUSH_BYTES:
            return


def _report(refusal: str, capabilities: bytes) -> bytes:
    """The report of a push that was not accepted."""
    report = packet(b"unpack %s\n" % refusal.encode()) + FLUSH
    return packet(b"\1" + report) + FLUSH if b"side-band-64k" in capabilities.split() else report
