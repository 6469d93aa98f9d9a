"""The client of a sandbox's MCP server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Callable, Optional, TypeVar, Union

from .. import _arguments as arguments
from .._call import ClientDefault
from .._closeable import AsyncCloseable
from .._constants import SOCKET_CLOSE_TIMEOUT
from .._errors import CagedConnectionError, CagedError, CagedTimeoutError, MCPError
from .._models.mcp import MCPPrompt, MCPResource, MCPTool
from .._naming import public
from .._tracebacks import short_tracebacks
from .._version import __version__
from .handlers import Handlers, report_to_loop

if TYPE_CHECKING:
    from .channel import AsyncChannel

OnNotification = TypeVar("OnNotification", bound=Callable[[str, Any], Any])
OnClose = TypeVar("OnClose", bound=Callable[[], Any])
Timeout = Union[float, ClientDefault, None]

PROTOCOL_VERSION = "2024-11-05"


@public
@short_tracebacks
class MCPClient(AsyncCloseable):
    """A connection to a sandbox's MCP server: its tools, resources and prompts.

    Every request takes a ``timeout`` in seconds, None for no limit; the default is the client's. All raise
    `MCPError` when the server answers with an error or the connection is closed, and `CagedTimeoutError` when
    it does not answer. Several requests may wait at once.
    """

    def __init__(self, channel: AsyncChannel, timeout: Optional[float]) -> None:
        self._channel = channel
        self._timeout = timeout
        self._last_id = 0
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._notifications: Handlers[Callable[[str, Any], Any]] = Handlers(report_to_loop)
        self._closes: Handlers[Callable[[], Any]] = Handlers(report_to_loop)
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended = False
        self._reader = asyncio.ensure_future(self._read())

    @property
    def closed(self) -> bool:
        """True once either side has closed it."""
        return self._ended or self._channel.closed

    async def initialize(self, *, timeout: Timeout = ClientDefault.TIMEOUT) -> dict[str, Any]:
        """Introduce the client, which `sandboxes.mcp` has done already, and return what the server says of itself.

        Args:
            timeout: Seconds, None for no limit; the default is the client's.
        """
        params = {
            "protocolVersion": PROTOCOL_VERSION,
            "capabilities": {},
            "clientInfo": {"name": "caged-python", "version": __version__},
        }
        return await self._request("initialize", params, timeout)

    async def list_tools(self, *, timeout: Timeout = ClientDefault.TIMEOUT) -> list[MCPTool]:
        """List the tools.

        Args:
            timeout: Seconds, None for no limit; the default is the client's.
        """
        return MCPTool.list_from_api(_objects(await self._request("tools/list", {}, timeout), "tools"))

    async def call_tool(
        self,
        name: str,
        arguments: Optional[Mapping[str, Any]] = None,
        *,
        timeout: Timeout = ClientDefault.TIMEOUT,
    ) -> dict[str, Any]:
        """Call a tool.

        Args:
            name: The tool's name.
            arguments: Its arguments; none by default.
            timeout: Seconds, None for no limit; the default is the client's.

        Returns:
            The whole result. A tool that failed says so in ``isError`` and does not raise.
        """
        return await self._request("tools/call", _named(name, arguments), timeout)

    async def list_resources(self, *, timeout: Timeout = ClientDefault.TIMEOUT) -> list[MCPResource]:
        """List the resources.

        Args:
            timeout: Seconds, None for no limit; the default is the client's.
        """
        result = await self._request("resources/list", {}, timeout)
        return MCPResource.list_from_api(_objects(result, "resources"))

    async def read_resource(self, uri: str, *, timeout: Timeout = ClientDefault.TIMEOUT) -> dict[str, Any]:
        """Read a resource, and return the whole result.

        Args:
            uri: The resource's URI.
            timeout: Seconds, None for no limit; the default is the client's.
        """
        return await self._request("resources/read", {"uri": arguments.text("uri", uri)}, timeout)

    async def list_prompts(self, *, timeout: Timeout = ClientDefault.TIMEOUT) -> list[MCPPrompt]:
        """List the prompts.

        Args:
            timeout: Seconds, None for no limit; the default is the client's.
        """
        result = await self._request("prompts/list", {}, timeout)
        return MCPPrompt.list_from_api(_objects(result, "prompts"))

    async def get_prompt(
        self,
        name: str,
        arguments: Optional[Mapping[str, Any]] = None,
        *,
        timeout: Timeout = ClientDefault.TIMEOUT,
    ) -> dict[str, Any]:
        """Fill in a prompt, and return the whole result.

        Args:
            name: The prompt's name.
            arguments: Its arguments; none by default.
            timeout: Seconds, None for no limit; the default is the client's.
        """
        return await self._request("prompts/get", _named(name, arguments), timeout)

    async def ping(self, *, timeout: Timeout = ClientDefault.TIMEOUT) -> None:
        """Check that the server answers.

        Args:
            timeout: Seconds, None for no limit; the default is the client's.
        """
        await self._request("ping", {}, timeout)

    def on_notification(self, handler: OnNotification) -> OnNotification:
        """Call a handler for each notification of the server.

        Args:
            handler: A function or coroutine function that is called as `handler(method, params)`; `params` may be
                None.

        Returns:
            The handler, so that the method can be a decorator.
        """
        self._notifications.add(handler)
        return handler

    def on_close(self, handler: OnClose) -> OnClose:
        """Call a handler once, when either side closes the connection; at once if it is closed.

        Args:
            handler: A function or coroutine function without parameters.

        Returns:
            The handler, so that the method can be a decorator.
        """
        if self._ended:
            late: Handlers[OnClose] = Handlers(report_to_loop)
            late.add(handler)
            self._keep(late.start())
        else:
            self._closes.add(handler)
        return handler

    async def close(self) -> None:
        """Close the connection; requests that wait fail. May be called twice, and by a handler."""
        await self._channel.close()
        if asyncio.current_task() is not self._reader:
            await asyncio.wait({self._reader}, timeout=SOCKET_CLOSE_TIMEOUT)

    async def _request(self, method: str, params: Mapping[str, Any], timeout: Timeout) -> dict[str, Any]:
        if isinstance(timeout, ClientDefault):
            limit = self._timeout
        else:
            limit = arguments.seconds("timeout", timeout)
        self._channel.check_loop()
        if self.closed:
            raise _closed()
        self._last_id += 1
        number = self._last_id
        request = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        try:
            message = json.dumps(request, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as problem:
            raise CagedError(f"MCP {method}: the request cannot be written as JSON: {problem}") from None
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            result = await asyncio.wait_for(self._exchange(message, answer), limit)
        except CagedConnectionError:
            raise _closed() from None
        except asyncio.TimeoutError:
            raise CagedTimeoutError(f"MCP {method} timed out after {limit}s: no answer", timeout=limit) from None
        finally:
            del self._waiting[number]
        return dict(result) if isinstance(result, Mapping) else {}

    async def _exchange(self, message: str, answer: asyncio.Future[Any]) -> Any:
        try:
            await self._channel.send(message)
        except BaseException:
            answer.cancel()  # it is not awaited any more
            raise
        return await answer

    async def _read(self) -> None:
        try:
            while True:
                message = await self._channel.receive()
                if message is None:
                    break
                self._take(message)
        finally:
            self._ended = True
            for answer in self._waiting.values():
                if not answer.done():
                    answer.set_exception(_closed())
            self._keep(self._closes.start())

    def _take(self, text: str) -> None:
        try:
            message = json.loads(text)
        except (ValueError, RecursionError):
            return
        if not isinstance(message, dict):
            return
        method, number = message.get("method"), message.get("id")
        # A request of the server may have the number of one of ours; an answer has no method.
        if isinstance(method, str) and "result" not in message and "error" not in message:
            self._keep(self._notifications.start(method, message.get("params")))
        elif isinstance(number, int) and not isinstance(number, bool):
            answer = self._waiting.get(number)
            if answer is not None and not answer.done():
                _settle(answer, message)

    def _keep(self, tasks: list[asyncio.Task[None]]) -> None:
        for task in tasks:  # the event loop holds tasks weakly
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)


def _settle(answer: asyncio.Future[Any], message: Mapping[str, Any]) -> None:
    error = message.get("error")
    if not isinstance(error, dict):
        answer.set_result(message.get("result"))
        return
    code, sentence = error.get("code"), error.get("message")
    if isinstance(code, bool) or not isinstance(code, int):
        code = -1
    if not isinstance(sentence, str):
        sentence = "the server gave no reason"
    answer.set_exception(MCPError(code, sentence, error.get("data")))


def _closed() -> MCPError:
    return MCPError(-1, "the connection is closed; open a new one with sandboxes.mcp")


def _named(name: str, given: Optional[Mapping[str, Any]]) -> dict[str, Any]:
    if given is not None and not isinstance(given, Mapping):
        raise CagedError(f"arguments must be a dict, not {type(given).__name__}")
    return {"name": arguments.text("name", name), "arguments": dict(given or {})}


def _objects(result: Mapping[str, Any], key: str) -> list[Any]:
    """The objects in a list of the result; servers that send something else have none."""
    items = result.get(key)
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
