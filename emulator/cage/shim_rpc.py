"""Programs inside of a sandbox that ask the emulator (the agents' commands), and what they are answered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, Callable, Optional

from .channel import Channel

#: Answers a program inside: gets the question, yields nothing, sends pieces through the second argument.
Asked = Callable[[dict[str, Any], "Answer"], Awaitable[None]]


class Answer:
    """What goes back to a program inside: output in pieces, then the exit code, once."""

    def __init__(self, channel: Channel, conversation: int) -> None:
        self._channel = channel
        self._id = conversation

    def write(self, text: str) -> None:
        self._channel.send({"op": "answer", "id": self._id, "output": text})

    def finish(self, exit_code: int) -> None:
        self._channel.send({"op": "answer", "id": self._id, "exit_code": exit_code})

    def want_input(self) -> None:
        """The question will come again, with `stdin`."""
        self._channel.send({"op": "answer", "id": self._id, "then": "stdin"})

    def become_real(self, **more: str) -> None:
        """The program that asked becomes the one that it stands in for. `path`: directories to look for it in,
        `missing`: what it says when it is in none of them."""
        self._channel.send({"op": "answer", "id": self._id, "then": "real", **more})


class ShimCalls:
    """The questions of one sandbox that are being answered. Without `on_ask` each is told that nobody does."""

    def __init__(self, on_ask: Optional[Asked]) -> None:
        self._on_ask = on_ask
        self._tasks: dict[int, asyncio.Task[None]] = {}

    def asked(self, conversation: int, question: dict[str, Any], answer: Answer) -> None:
        task = asyncio.get_running_loop().create_task(self._answer(question, answer))
        self._tasks[conversation] = task

        def over(_task: asyncio.Task[None]) -> None:
            if self._tasks.get(conversation) is task:
                del self._tasks[conversation]

        task.add_done_callback(over)

    def unasked(self, conversation: int) -> None:
        """The program that asked has gone: nobody waits for its answer."""
        if conversation in self._tasks:
            self._tasks[conversation].cancel()

    async def _answer(self, question: dict[str, Any], answer: Answer) -> None:
        if self._on_ask is None:
            answer.write("nobody in the emulator answers this program\n")
            answer.finish(1)
            return
        await self._on_ask(question, answer)

    def cancel(self) -> None:
        for task in list(self._tasks.values()):
            task.cancel()
