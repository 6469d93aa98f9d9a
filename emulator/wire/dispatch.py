"""From a request to an operation and back: authentication, body, limits, refusals, headers, journal."""

from __future__ import annotations

import secrets
import traceback
from collections.abc import Mapping

from pydantic import ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ..control.journal import Entry
from ..platform import limits
from ..platform.platform import Platform
from ..platform.refusal import Refusal, invalid
from ..store import Account
from .operation import Body, Call, NoBody, Operation
from .problem import problem

CLIENT_CLOSED_REQUEST = 499
_NOBODY = Account("", "", "", "", "")


class Dispatcher:
    """The ASGI endpoint of one path: picks the operation by method and runs it."""

    def __init__(self, platform: Platform, operations: Mapping[str, Operation]) -> None:
        self._platform = platform
        self._operations = operations

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        response = await self._respond(request)
        try:
            await response(scope, receive, send)
        except ClientDisconnect:
            pass  # it hung up while a large answer was on its way

    async def _respond(self, request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        operation = self._operations[method]
        services = self._platform.services
        entry = services.journal.add(
            Entry(services.clock.timestamp(), request.method, request.scope["path"], operation.name)
        )
        rate = self._platform.accounts.rate_window()
        try:
            account, key = _NOBODY, None
            if not operation.public:
                account, key = self._platform.accounts.authenticate(bearer(request))
                entry.account = account.id
                rate = self._platform.accounts.rate_window(account)
                rate = self._platform.accounts.count_request(account)
                if key.scope == "read_only" and method != "GET":
                    raise Refusal(403, "this key is read-only", "read_only_key", "", "api_key", key.id)
            body = await read_body(request, operation)
            entry.warnings += [
                f"unknown key {name!r} in the body is ignored" for name in body.model_extra or ()
            ]
            call = Call(request, self._platform, account, key, body, entry.warnings)
            response = await operation.handler(call)
        except Refusal as refusal:
            response = problem(refusal, request.scope["path"])
        except ClientDisconnect:
            response = Response(status_code=CLIENT_CLOSED_REQUEST)
        except Exception:
            services.log(f"{request.method} {request.scope['path']} failed:\n{traceback.format_exc()}")
            response = problem(
                Refusal(500, "the emulator failed; its log has the traceback. Please report it."),
                request.scope["path"],
            )
        entry.status = response.status_code
        add_common_headers(response, rate)
        return response


def add_common_headers(response: Response, rate: tuple[int, int, int]) -> None:
    """On every response of the API, refusals included."""
    limit, remaining, reset = rate
    response.raw_headers += [
        (b"x-request-id", b"req_" + secrets.token_hex(8).encode("ascii")),
        (b"x-ratelimit-limit", b"%d" % limit),
        (b"x-ratelimit-remaining", b"%d" % remaining),
        (b"x-ratelimit-reset", b"%d" % reset),
    ]


def bearer(request: Request) -> str:
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        raise Refusal(401, "no API key: send `Authorization: Bearer <key>`")
    return secret.strip()


async def read_body(request: Request, operation: Operation) -> Body:
    if operation.body is None:
        return NoBody()
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limits.BODY_BYTES:
            raise Refusal(413, f"the body is larger than {limits.BODY_BYTES // 1024**2} MiB")
        chunks.append(chunk)
    raw = b"".join(chunks)
    try:
        return operation.body.model_validate_json(raw.strip() or b"{}")
    except ValidationError as error:
        raise invalid(_describe(error)) from None


def _describe(error: ValidationError) -> str:
    """The first fault, naming its field: `cpus: Input should be a valid integer`."""
    fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(str(part) for part in fault["loc"] if part != "[key]") or "body"
    return f"{where}: {fault['msg']}"
