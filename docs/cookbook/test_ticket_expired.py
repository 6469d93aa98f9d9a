"""A ticket for a WebSocket is good for a minute; one that lay around for longer is refused."""

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from caged import BoundSandbox, Caged
from caged.emulator import AccountView


def test_a_ticket_that_lay_around_is_refused(
    caged: Caged, caged_emulator: AccountView, caged_sandbox: BoundSandbox
) -> None:
    socket = caged_emulator.base_url.replace("http", "ws", 1) + f"/v1/sandboxes/{caged_sandbox.id}/terminal"
    caged_emulator.clock.freeze()
    early, late = caged.socket_ticket(), caged.socket_ticket()
    caged_emulator.clock.advance(seconds=59)
    with connect(f"{socket}?token={early.ticket}", proxy=None):
        pass
    caged_emulator.clock.advance(seconds=2)
    with pytest.raises(InvalidStatus, match="401"), connect(f"{socket}?token={late.ticket}", proxy=None):
        pass
