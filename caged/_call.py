"""One API call as a value: everything the clients need to know, and no I/O."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Callable, Generic, Optional, TypeVar, Union

T = TypeVar("T")


class ExpectedContent(enum.Enum):
    """What a successful answer must hold."""

    OBJECT = "a JSON object"
    ARRAY = "a JSON array"  # null counts as an empty one
    TEXT = "text"
    BYTES = "bytes"
    NOTHING = "nothing"  # the body is not read


class ClientDefault(enum.Enum):
    """Marks a call that has no timeout of its own (None already means: no limit)."""

    TIMEOUT = "the client's timeout"


@dataclass(frozen=True, eq=False)
class Call(Generic[T]):
    """One call of the API.

    Attributes:
        method: GET, POST, PUT or DELETE.
        path: Below ``/v1``, with ids already encoded.
        expect: What a 2xx answer must hold; checked before `decode` sees it.
        decode: Turns that into the result.
        query: Parameters; the None ones are not sent.
        body: Sent as JSON; None sends no body and no Content-Type.
        timeout: Seconds for each wait on the network; None means no limit.
        repeatable: True when the request may be sent twice, so that it is repeated when its answer is lost.
    """

    method: str
    path: str
    expect: ExpectedContent
    decode: Callable[[Any], T]
    query: Optional[Mapping[str, Union[str, int, None]]] = None
    body: Optional[Mapping[str, Any]] = None
    timeout: Union[float, ClientDefault, None] = ClientDefault.TIMEOUT
    repeatable: bool = False

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def ignore(_: Any) -> None:
    """The decoder of calls that return nothing."""


def as_is(value: T) -> T:
    """The decoder of calls whose body is the result."""
    return value
