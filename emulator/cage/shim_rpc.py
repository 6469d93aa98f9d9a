"""Requests of the shims in one sandbox, and the replies of the emulator."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, Callable, Optional

from .channel import Channel

#: Replies to a shim: receives the request and the object that sends the reply.
ShimHandler = Callable[[dict[str, Any], "ShimReply"], Awaitable[None]]


class ShimReply:
    """What a shim gets: output in pieces, then either the exit code or the order to run the real program."""

    def __init__(self, channel: Channel, conversation: int) -> None:
        self._channel = channel
        self._id = conversation

    def write(self, text: str) -> None:
        """Print `text` to the shim's standard output."""
        self._send(output=text)

    def finish(self, exit_code: int) -> None:
        """End the shim."""
        self._send(exit_code=exit_code)

    def request_stdin(self) -> None:
        """Make the shim repeat its request with `stdin`."""
        self._send(then="stdin")

    def run_real(self, **options: str) -> None:
        """Replace the shim by the real program.

        Args:
            options: `path`: directories to look for it in, as in PATH; by default what was put aside for the shim,
                and the PATH of the command. `missing`: what the shim prints when it is in none of them.
        """
        self._send(then="real", **options)

    def _send(self, **fields: object) -> None:
        self._channel.send({"op": "shim_reply", "id": self._id, **fields})


class ShimRequests:
    """The shim requests of one sandbox that are being handled.

    Args:
        handler: Replies to them; None where the sandbox has no shims.
    """

    def __init__(self, handler: Optional[ShimHandler]) -> None:
        self._handler = handler
        self._tasks: dict[int, asyncio.Task[None]] = {}

    def start(self, conversation: int, request: dict[str, Any], reply: ShimReply) -> None:
        """Handle a request in a task of its own."""
        task = asyncio.get_running_loop().create_task(self._handle(request, reply))
        self._tasks[conversation] = task

        def forget(_task: asyncio.Task[None]) -> None:
            if self._tasks.get(conversation) is task:
                del self._tasks[conversation]

        task.add_done_callback(forget)

    async def _handle(self, request: dict[str, Any], reply: ShimReply) -> None:
        if self._handler is None:
            reply.write("the emulator has no answer for this program\n")
            reply.finish(1)
            return
        await self._handler(request, reply)

    def cancel(self, conversation: int) -> None:
        """Stop handling the request of a shim that has disconnected."""
        if conversation in self._tasks:
            self._tasks[conversation].cancel()

    def cancel_all(self) -> None:
        for task in list(self._tasks.values()):
            task.cancel()
