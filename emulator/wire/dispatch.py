"""From a request to an operation and back: authentication, body, limits, refusals, headers, journal."""

from __future__ import annotations

import functools
import logging
import secrets
import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Optional
from urllib.parse import unquote

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ..control.current_account import act_for
from ..control.records import RequestRecord
from ..platform.errors import ApiError, invalid
from ..platform.platform import Platform
from ..store import Account
from . import fault_injection
from .bodies import NAME_CHARACTERS, UNKNOWN_NAMED, parse_body, read_body, unknown_keys
from .operation import Body, Call, Operation
from .other_accounts import note_foreign
from .problem import problem

logger = logging.getLogger(__name__)

CLIENT_CLOSED_REQUEST = 499
_NOBODY = Account("", "", "", "", "")
_OF_SANDBOXES = ("/v1/sandboxes/", "/v1/trust/sandboxes/")


class Dispatcher:
    """The ASGI endpoint of one path: picks the operation by method and runs it."""

    def __init__(self, platform: Platform, operations: Mapping[str, Operation]) -> None:
        self._platform = platform
        self._operations = operations

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        with ExitStack() as over:
            response = await self._respond(request, over)
            try:
                await response(scope, receive, send)
            except ClientDisconnect:
                pass  # it hung up while a large answer was on its way

    async def _respond(self, request: Request, over: ExitStack) -> Response:
        """`over`: closed when the answer was sent."""
        method = "GET" if request.method == "HEAD" else request.method
        operation = self._operations[method]
        act_for("")  # a request that came together with another inherits from that
        if operation.admin:
            return await self._administer(request, operation)
        platform = self._platform
        started = time.perf_counter()
        entry = platform.journal.add(
            RequestRecord(
                at=platform.clock.timestamp(),
                method=request.method,
                path=request.scope["path"],
                operation=operation.name,
                query=request.scope["query_string"].decode("latin-1"),
                sandbox=_sandbox_of(request),
            )
        )
        rate = self._platform.accounts.rate_window()
        injection, raw = None, b""
        try:
            account, key = _NOBODY, None
            if operation.owner is not None:
                account = operation.owner(self._platform, _identifier(request)) or _NOBODY
                act_for(account.id)
            elif not operation.public:
                account, key = self._platform.accounts.authenticate(bearer(request))
            if account.id:
                platform.journal.assign(entry, account.id, platform.clock.timestamp())
            if key is not None:
                rate = self._platform.accounts.rate_window(account)
                rate = self._platform.accounts.count_request(account)
                if key.scope == "read_only" and method != "GET":
                    raise ApiError(403, "this key is read-only", "read_only_key", "", "api_key", key.id)
            raw = await read_body(request, operation, platform.turns)
            injection = platform.faults.take(
                account.id,
                operation.name,
                request.method,
                entry.path,
                entry.sandbox,
                functools.partial(setattr, entry, "fault"),
            )
            response = None
            if injection is not None:
                over.callback(injection.release)
                response = await fault_injection.before(injection, request)
            if response is not None:
                injection = None  # the fault has had its effect
            else:
                body = parse_body(raw, operation)
                platform.journal.hide(account.id, body.hidden())
                entry.warnings += unknown_keys(body)
                entry.warnings += unused_parts(request, operation)
                call = Call(request, self._platform, account, key, body, entry.warnings, injection)
                response = await operation.handler(call)
        except ApiError as refusal:
            note_foreign(self._platform, entry, account, refusal, request.path_params.values())
            response = problem(refusal)
        except ClientDisconnect:
            response = Response(status_code=CLIENT_CLOSED_REQUEST)
        except Exception:
            logger.exception("%s %s failed", request.method, request.scope["path"])
            response = problem(ApiError(500, "the emulator failed; its log has the traceback. Please report it."))
        add_common_headers(response, self._platform, rate)
        if platform.is_persistent:
            response = self._durable(response, request)
        if injection is not None and response.status_code != CLIENT_CLOSED_REQUEST:
            passed, response = response, fault_injection.after(injection, response, request)
            if response is passed:
                injection.release()  # the effect cannot happen any more
        entry.status = response.status_code
        entry.duration_ms = round((time.perf_counter() - started) * 1000, 3)
        platform.journal.finish(entry, self._kept(operation, account, raw), getattr(response, "body", b""))
        return response

    def _kept(self, operation: Operation, account: Account, raw: bytes) -> bytes:
        """What the journal may have of a body. One that may hold secrets has to be understood for that."""
        if operation.body is None or operation.body.hidden is Body.hidden:
            return raw
        try:
            self._platform.journal.hide(account.id, parse_body(raw, operation).hidden())
        except ApiError:
            return b""
        return raw

    async def _administer(self, request: Request, operation: Operation) -> Response:
        """A call about the emulator itself: by the admin key, about the account that `?account=` names."""
        platform = self._platform
        try:
            if not secrets.compare_digest(bearer(request).encode(), platform.admin_key.encode()):
                raise ApiError(401, "not the admin key; `caged-emulator serve` prints it, and --admin-key sets it")
            _check_query(request, operation)
            await _check_no_body(request, operation)
            account = platform.accounts.administered(request.query_params.get("account"))
            raw = await read_body(request, operation, platform.turns)
            body = parse_body(raw, operation, unknown_keys=False)
            response = await operation.handler(Call(request, platform, account, None, body))
        except ApiError as refusal:
            response = problem(refusal)
        except ClientDisconnect:
            response = Response(status_code=CLIENT_CLOSED_REQUEST)
        except Exception:
            logger.exception("%s %s failed", request.method, request.scope["path"])
            response = problem(ApiError(500, "the emulator failed; its log has the traceback."))
        add_common_headers(response, platform, admin=True)
        if platform.is_persistent:
            response = self._durable(response, request)
        return response

    def _durable(self, response: Response, request: Request) -> Response:
        """The response, once all that it may tell of is durable."""
        try:
            self._platform.commit()
        except OSError as error:
            logger.error("%s %s: %s", request.method, request.scope["path"], error)
            response = problem(ApiError(507, str(error)))
            add_common_headers(response, self._platform)
        return response


def _check_query(request: Request, operation: Operation) -> None:
    """400 for a query parameter that the call does not know, and for one that is given twice."""
    seen: set[str] = set()
    for name, _ in request.query_params.multi_items():
        if name not in operation.query:
            known = ", ".join(operation.query)
            raise invalid(f"{name}: is not a query parameter of this call; known are {known}")
        if name in seen:
            raise invalid(f"{name}: is given more than once; send one request for each value")
        seen.add(name)


async def _check_no_body(request: Request, operation: Operation) -> None:
    """400 for a body where the call takes none: its keys would be without effect."""
    if operation.body is not None or operation.upload:
        return
    start = b""
    async for chunk in request.stream():
        start = (start + chunk.strip())[:3]
    if start not in (b"", b"{}"):
        raise invalid("the call takes no body; an account is named in the query: ?account=ID, or * for all")


def _identifier(request: Request) -> str:
    """The id in the path, decoded; empty where there is none."""
    return unquote(request.path_params.get("id", ""), errors="replace")


def _sandbox_of(request: Request) -> str:
    """The sandbox that a path is about, if it says so."""
    return _identifier(request) if request.scope["path"].startswith(_OF_SANDBOXES) else ""


def add_common_headers(
    response: Response, platform: Platform, rate: Optional[tuple[int, int, int]] = None, admin: bool = False
) -> None:
    """On every response of the API, refusals included. `rate`: None for one that counts for nobody. `admin`:
    a call about the emulator, which changes no id that a seed makes repeatable."""
    limit, remaining, reset = rate or platform.accounts.rate_window()
    response.raw_headers += [
        (b"x-request-id", b"req_%016x" % platform.randomness.bits("admin" if admin else "req", 64)),
        (b"x-ratelimit-limit", b"%d" % limit),
        (b"x-ratelimit-remaining", b"%d" % remaining),
        (b"x-ratelimit-reset", b"%d" % reset),
    ]


def bearer(request: Request) -> str:
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        raise ApiError(401, "no API key: send `Authorization: Bearer <key>`")
    return secret.strip()


def unused_parts(request: Request, operation: Operation) -> list[str]:
    """What a request carries in vain, for the journal: query parameters that the call does not know, a body where it
    takes none."""
    known = f"known: {', '.join(operation.query)}" if operation.query else "the call has none"
    names = [name[:NAME_CHARACTERS] for name in request.query_params if name not in operation.query]
    unused = [f"unknown query parameter {name!r} is ignored ({known})" for name in names[:UNKNOWN_NAMED]]
    length = request.headers.get("content-length", "0")
    if operation.body is None and not operation.upload and length.isdigit() and int(length) > len("{}"):
        unused.append("the body is ignored: the call takes none")
    return unused
