"""The output of a command while it runs, for programs without an event loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable, Optional, TypeVar

from .._closeable import Closeable
from .._naming import public
from .._tracebacks import short_tracebacks
from .run import Run

if TYPE_CHECKING:
    from .channel import Channel

S = TypeVar("S", bound="ExecOutput")


@public
@short_tracebacks
class ExecOutput(Closeable):
    """The output of one command, in pieces, as it comes: ``for text in output``.

    What is not read makes the command wait. Once the pieces have ended, `exit_code` is there; whoever stops
    reading before closes it (``with``, `close`), or drops the last reference: then the command is ended.
    """

    def __init__(self, run: Run, open_channel: Callable[[], Channel]) -> None:
        self._run = run
        self._open_channel = open_channel
        self._channel: Optional[Channel] = None
        self._ended = False

    @property
    def exit_code(self) -> Optional[int]:
        """The command's exit code; None before its end, and when its shell ended without one."""
        return self._run.exit_code

    def start(self) -> None:
        """Open the connection and start the command, if that has not been done; reading does it, too.

        Raises:
            CagedAPIError: The platform refuses: no such sandbox, or it is not running.
        """
        if self._channel is not None or self._ended:
            return
        self._channel = self._open_channel()
        try:
            for message in self._run.begin():
                self._channel.send(message)
        except BaseException:
            self.close()
            raise

    def __iter__(self: S) -> S:
        return self

    def __next__(self) -> str:
        self.start()
        while not self._ended:
            text = self._next()
            if self._run.over:
                self.close()
            if text:
                return text
        raise StopIteration

    def _next(self) -> str:
        assert self._channel is not None
        try:
            return self._run.take(self._channel.receive_within(self._run.patience()))
        except TimeoutError:
            self.close()
            self._run.run_out()
            return ""

    def text(self) -> str:
        """All output that has not been read yet, when the command has ended."""
        return "".join(self)

    def close(self) -> None:
        """Close the connection; a command that still runs is ended. May be called twice."""
        self._ended = True
        if self._channel is not None:
            self._channel.close()

    def kill(self) -> None:
        """The same as `close`."""
        self.close()

    def _begin(self) -> None:
        self.start()
