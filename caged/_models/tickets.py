"""What opens a WebSocket."""

from dataclasses import dataclass, field

from .._naming import public
from ._base import Model


@public
@dataclass(frozen=True)
class SocketTicket(Model):
    """Stands for the API key in the address of one WebSocket, once, for about a minute.

    Attributes:
        ticket: The secret; left out of the repr.
        expires_in: Seconds.
        expires_at: RFC 3339.
    """

    ticket: str = field(default="", repr=False)
    expires_in: int = 0
    expires_at: str = ""
