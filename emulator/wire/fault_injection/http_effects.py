"""The effects of a fault on an HTTP request and its response."""

from __future__ import annotations

import asyncio
from typing import Optional

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ...control.fault_registry import Injection
from ..client_disconnect import cancel_on_disconnect
from .connection import TRANSPORT, break_connection, until_break_is_noticed
from .replacement import replacement_response, trigger_if_only_delay, until_removed


async def before(injection: Injection, request: Request) -> Optional[Response]:
    """Apply the effects that precede the operation.

    Returns:
        The response in place of the operation's; None when the operation has to run.

    Raises:
        ClientDisconnect: The client disconnected before the effect was complete.
    """
    fault = injection.fault
    if injection.delay and fault.outcome != "dies":
        trigger_if_only_delay(injection)
        await cancel_on_disconnect(request, asyncio.sleep(injection.delay))
    if fault.hang:
        injection.trigger()
        await cancel_on_disconnect(request, until_removed(fault))
        return DroppedResponse()
    if fault.drop == "before":
        return DroppedResponse(injection)
    return replacement_response(injection)


def after(injection: Injection, response: Response, request: Request) -> Response:
    """Apply the effects that follow the operation, whether it succeeded or not.

    Returns:
        The response to send in place of `response`; `response` itself when the fault does not change it.
    """
    fault = injection.fault
    if fault.drop == "after":
        return DroppedResponse(injection, response)
    is_empty = request.method == "HEAD" or getattr(response, "body", None) == b""
    if fault.drop == "mid-body":
        # A response without a body has no middle: nothing of it is sent.
        return DroppedResponse(injection, response) if is_empty else TruncatedResponse(injection, response, None)
    if fault.truncate is not None and not is_empty:
        return TruncatedResponse(injection, response, fault.truncate)
    return response


class DroppedResponse(Response):
    """No response: the connection breaks.

    Args:
        injection: The fault that triggers by it; None when it has triggered before.
        withheld: The operation's response, which the journal records.
    """

    def __init__(self, injection: Optional[Injection] = None, withheld: Optional[Response] = None) -> None:
        super().__init__(status_code=withheld.status_code if withheld is not None else 500)
        self.status_code = withheld.status_code if withheld is not None else 0
        self._injection = injection
        self._close = getattr(withheld, "close", None)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        break_connection(scope[TRANSPORT], self._injection)
        if self._close is not None:
            self._close()
        await until_break_is_noticed(receive)


class TruncatedResponse(Response):
    """The first bytes of a response's body, then the end of the connection. A shorter response is not changed.

    Args:
        injection: The fault that triggers when the body is cut.
        whole: The operation's response.
        keep: The number of bytes to send; None for half of the first non-empty piece of the body.
    """

    def __init__(self, injection: Injection, whole: Response, keep: Optional[int]) -> None:
        super().__init__(status_code=whole.status_code)
        self._injection = injection
        self._whole: ASGIApp = whole
        self._keep = keep
        self.raw_headers = whole.raw_headers
        self.body = getattr(whole, "body", b"")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        transport, cut = scope[TRANSPORT], _Truncation(send, self._keep)
        try:
            await self._whole(scope, receive, cut.send)
        except _LimitReached:
            if not transport.is_closing():
                self._injection.trigger()
            transport.close() if cut.has_begun else transport.abort()
            await until_break_is_noticed(receive)


class _LimitReached(Exception):
    pass


class _Truncation:
    """The ASGI `send` of a response of which only the first bytes are sent. Arguments as of TruncatedResponse.

    Attributes:
        has_begun: Whether anything was sent.
    """

    def __init__(self, send: Send, keep: Optional[int]) -> None:
        self._send = send
        self._left = keep
        self._start: Optional[Message] = None
        self.has_begun = False

    async def send(self, message: Message) -> None:
        """Send a message, or a part of it. Raises _LimitReached where the response is cut."""
        if message["type"] == "http.response.start":
            self._start = message  # held back until the first bytes: without any there is nothing to cut
        elif message["type"] == "http.response.body":
            await self._send_body(message)
        else:
            await self._send(message)

    async def _send_body(self, message: Message) -> None:
        body, is_last = message.get("body", b""), not message.get("more_body")
        if self._left is None and body:
            self._left = len(body) // 2
        if self._left is None:
            if is_last:
                raise _LimitReached
            return
        if self._start is not None:
            await self._send(self._start)
            self._start, self.has_begun = None, True
        if len(body) > self._left:
            await self._send({**message, "body": body[: self._left], "more_body": True})
            raise _LimitReached
        self._left -= len(body)
        await self._send(message)
