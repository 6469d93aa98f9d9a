"""How calls reach the admin API of an emulator: the interface that `http_transport` and `in_process_transport`
implement, its requests and answers, and the errors of a call."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Callable, Optional, TypeVar, Union

if TYPE_CHECKING:
    from ..platform.platform import Platform

#: The path below which the admin API is, at the emulator's URL.
ADMIN_PREFIX = "/_emulator"
#: Time limit of one call, in seconds. Moving the clock may pause many sandboxes.
SECONDS = 120.0
T = TypeVar("T")


class EmulatorError(RuntimeError):
    """The emulator could not start or stop, is not running, or did not do what was requested. The text says why, and
    ends with the tail of its log where that helps."""

    __module__ = "caged.emulator"


class AdminRequestError(EmulatorError):
    """The emulator answered a call with an error.

    Attributes:
        status: The HTTP status of the answer.
    """

    def __init__(self, detail: str, status: int) -> None:
        super().__init__(detail)
        self.status = status


@dataclass(frozen=True)
class AdminRequest:
    """A request to the admin API.

    Attributes:
        method: GET, POST, PUT or DELETE.
        path: Percent-encoded, below `ADMIN_PREFIX`; starts with a slash.
        query: Parameters, not encoded.
        content: The body: JSON as bytes, or the pieces of an upload.
        timeout: Seconds in which the answer has to come; of a streamed answer, each piece of it.
        headers: Further headers, ASCII.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    content: Union[bytes, Iterable[bytes]] = b""
    timeout: float = SECONDS
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class AdminResponse:
    """The answer to a request, with its whole body."""

    status: int
    body: bytes

    def raise_for_status(self) -> None:
        """Raise for an answer that reports an error.

        Raises:
            ValueError: The status is 400; the text is the detail of the problem.
            AdminRequestError: It is another error.
        """
        if self.status < 300:
            return
        try:
            detail = str(json.loads(self.body)["detail"])
        except (ValueError, KeyError, TypeError):
            detail = f"HTTP {self.status}: {self.body.decode(errors='replace')[:200]}"
        if self.status == 400:
            raise ValueError(detail)
        raise AdminRequestError(detail, self.status)


@dataclass(frozen=True)
class StreamedAdminResponse:
    """An answer whose body is read piece by piece. Iterating raises EmulatorError when the answer breaks off."""

    status: int
    pieces: Iterator[bytes]


class Transport(ABC):
    """Sends requests to the admin API of one emulator. Threads may share it.

    `send` and `stream` raise EmulatorError when there is no answer within the request's time limit, and when the
    transport was closed. Answers that report an error are returned.
    """

    @property
    @abstractmethod
    def url(self) -> str:
        """The emulator's URL, without a path."""

    @property
    @abstractmethod
    def platform(self) -> Optional[Platform]:
        """The platform of the emulator, for what cannot be sent (functions). None: it runs in another process."""

    @property
    def is_local(self) -> bool:
        """Whether the emulator runs in this process."""
        return False

    @abstractmethod
    def send(self, request: AdminRequest) -> AdminResponse:
        """Send a request and read the whole answer."""

    @abstractmethod
    def stream(self, request: AdminRequest) -> AbstractContextManager[StreamedAdminResponse]:
        """Send a request, and read the body of its answer in the `with` block."""

    def run(self, work: Callable[[Platform], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine function with the platform, on the event loop of an emulator in this process.

        Raises:
            EmulatorError: The emulator runs in another process, or has stopped.
        """
        raise EmulatorError(
            f"the emulator at {self.url} does not run in this process; use `Emulator()` instead of `RemoteEmulator`"
        )

    @abstractmethod
    def close(self) -> None:
        """Close it. Harmless to repeat."""

    def _closed(self) -> EmulatorError:
        name = "Emulator" if self.is_local else "RemoteEmulator"
        return EmulatorError(
            f"the connection to the emulator at {self.url}{ADMIN_PREFIX}/ was closed; create a new {name}"
        )

    def _no_answer(self, why: object) -> EmulatorError:
        return EmulatorError(f"the emulator at {self.url}{ADMIN_PREFIX}/ does not answer: {why}")
