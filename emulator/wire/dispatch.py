"""What happens to a request whose operation is known: the handlers before and after the operation, in the order in
which they run. Each is a file in `request_path/`.

Before that, `front_door.py` checks Host and Origin and serves previews and the inspector's host name, and the routes of
`app.py` select the dispatcher of the path; a path without one gets a 404 there.

A handler raises ApiError to reject the request, or sets `exchange.response` to answer it; later handlers of its list do
not run then. With the response of an HTTP request, the handlers of the second list run, whatever the response is. A
WebSocket has no second list: its end is recorded by `SocketDispatcher` itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from ..control.current_account import act_for
from ..control.step import set_current
from ..platform.platform import Platform
from .fault_injection.socket_effects import BrokenHandshake
from .operation import Operation
from .request_path import authenticate, inject_fault, journal, limit_rate, parse, record_control, record_step
from .request_path.add_headers import add_headers
from .request_path.check_scope import check_scope
from .request_path.commit import commit
from .request_path.errors import response_to
from .request_path.exchange import HttpExchange, HttpHandler, SocketExchange, SocketHandler
from .request_path.find_sandbox import find_sandbox
from .request_path.read_body import read_body
from .request_path.run import run, run_socket
from .sockets import SocketOperation, deny

#: A call of the platform's API.
API_REQUEST: Sequence[HttpHandler] = (
    journal.begin,
    authenticate.by_api_key,
    limit_rate.count,
    check_scope,
    read_body,
    inject_fault.take,
    inject_fault.before_operation,
    parse.parse,
    run,
)
API_RESPONSE: Sequence[HttpHandler] = (
    add_headers,
    commit,
    inject_fault.after_operation,
    journal.finish,
)

#: A call about the emulator itself, below /_emulator: not in the journal, not limited, and without faults.
ADMIN_REQUEST: Sequence[HttpHandler] = (
    authenticate.by_admin_key,
    parse.check_query,
    parse.check_no_body,
    authenticate.select_account,
    read_body,
    parse.parse_strictly,
    record_control.begin,
    run,
)
ADMIN_RESPONSE: Sequence[HttpHandler] = (
    add_headers,
    commit,
    record_control.finish,
)

#: The handshake of a WebSocket of the platform's API.
SOCKET_REQUEST: Sequence[SocketHandler] = (
    journal.begin,
    authenticate.by_ticket,
    limit_rate.count,
    find_sandbox,
    inject_fault.take,
    inject_fault.before_handshake,
    run_socket,
)


class Dispatcher:
    """The ASGI endpoint of one path: select the operation by the method, and run its handlers.

    Args:
        platform: The emulator's platform.
        operations: The operations of the path, by method.
    """

    def __init__(self, platform: Platform, operations: Mapping[str, Operation]) -> None:
        self._platform = platform
        self._operations = operations

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        operation = self._operations["GET" if request.method == "HEAD" else request.method]
        act_for("")  # a pipelined request runs in the context of the one before
        set_current(None)
        exchange = HttpExchange(self._platform, request, operation)
        try:
            response = await respond(exchange)
            await response(scope, receive, send)
        except ClientDisconnect:
            pass  # the client disconnected while a large response was being sent
        finally:
            inject_fault.release(exchange)
            record_step.abandon(exchange)


async def respond(exchange: HttpExchange) -> Response:
    """Run the handlers of an HTTP request, and return its response."""
    is_admin = exchange.served.admin
    try:
        for handle in ADMIN_REQUEST if is_admin else API_REQUEST:
            await handle(exchange)
            if exchange.response is not None:
                break
    except Exception as error:
        exchange.response = response_to(error, exchange)
    for handle in ADMIN_RESPONSE if is_admin else API_RESPONSE:
        await handle(exchange)
    assert exchange.response is not None
    return exchange.response


class SocketDispatcher:
    """The ASGI endpoint of the path of one WebSocket."""

    def __init__(self, platform: Platform, operation: SocketOperation) -> None:
        self._platform = platform
        self._operation = operation

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        act_for("")  # the handshake may be pipelined after a request
        set_current(None)
        exchange = SocketExchange(self._platform, scope, receive, send, self._operation)
        exchange.record.status = 101
        try:
            for handle in SOCKET_REQUEST:
                await handle(exchange)
                if exchange.response is not None:
                    await self._deny(exchange, exchange.response)
                    return
        except BrokenHandshake:
            exchange.record.status = 0
        except WebSocketDisconnect:
            pass
        except Exception as error:
            await self._deny(exchange, response_to(error, exchange))
        finally:
            inject_fault.release(exchange)
            if exchange.call is not None:
                exchange.call.end()
            exchange.record.duration_ms = exchange.elapsed_ms
            record_step.finish_socket(exchange)

    async def _deny(self, exchange: SocketExchange, response: Response) -> None:
        exchange.record.status = response.status_code
        record_step.note_refusal(exchange, bytes(response.body))
        await deny(exchange.socket, self._platform, response)
