"""POST /v1/sandboxes/{id}/exec: wire-contract.md 3.2."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, Optional, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from ..platform.refusal import invalid
from .operation import Body, Call, Model, Operations, json_reply

operations = Operations()
T = TypeVar("T")


class Exec(Body):
    command: str


class ExecOut(Model):
    """`error` is there only when the command could not be run at all."""

    output: str
    exit_code: int
    error: Optional[str]
    duration_ms: int
    truncated: bool

    def model_dump_json(self, **_options: Any) -> str:
        return super().model_dump_json(exclude_none=True)


@operations.add("POST", "/v1/sandboxes/{id}/exec", "sandboxes.exec", Exec, reply=ExecOut)
async def run(call: Call[Exec]) -> Response:
    if "\0" in call.body.command:
        raise invalid("command: must not contain a NUL character")
    work = call.platform.execs.run(call.account, call.param("id"), call.body.command)
    outcome = await unless_hung_up(call.request, work)
    return json_reply(
        ExecOut(
            output=outcome.output,
            exit_code=outcome.exit_code,
            error=outcome.error,
            duration_ms=outcome.duration_ms,
            truncated=outcome.truncated,
        )
    )


async def unless_hung_up(request: Request, work: Awaitable[T]) -> T:
    """The result of `work`, which is cancelled when the client goes away first. Raises ClientDisconnect then."""
    me = asyncio.current_task()
    assert me is not None
    watcher = asyncio.ensure_future(_hung_up(request))
    gone = False

    def cancel(_: object) -> None:
        nonlocal gone
        if not watcher.cancelled():
            gone = True
            me.cancel()

    watcher.add_done_callback(cancel)
    try:
        return await work
    except asyncio.CancelledError:
        if gone:
            raise ClientDisconnect from None
        raise
    finally:
        watcher.remove_done_callback(cancel)
        watcher.cancel()


async def _hung_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
