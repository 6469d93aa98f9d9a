"""Git's smart HTTP protocol: the requests of one connection."""

from __future__ import annotations

import asyncio
import functools
import re
import zlib
from collections.abc import AsyncIterator
from typing import Optional
from urllib.parse import parse_qs, unquote, urlsplit

import h11

from ..control.repository_urls import of_parts
from .access import GitClient, ServedRepository
from .git_process import GitError, GitProcesses, environment, write_all
from .pushes import FLUSH, ProtocolError, packet, receive_push

#: Seconds in which a client has to send something, or the next request.
IDLE_SECONDS = 120.0
HEAD_BYTES = 64 * 1024
#: Bytes of a request of a fetch, decompressed: the names of the commits that the client has.
_FETCH_BYTES = 16 * 1024**2
_SERVICE = re.compile(r"(?P<path>/.+)/(?P<service>info/refs|git-upload-pack|git-receive-pack)")
_PROTOCOL = re.compile(r"[a-z0-9=.:]{1,60}")
_NO_CACHE = ("Cache-Control", "no-cache, max-age=0, must-revalidate")
#: What GitHub prints.
_WRONG_TOKEN = "Invalid username or token. Password authentication is not supported for Git operations."
_NO_TOKEN = "Repository not found."


class HttpSession:
    """Serves the requests of one connection.

    Args:
        reader, writer: The connection.
        client: Who is at its other end.
        git: Runs git.
        host: The host that the client believes to be connected to, with its port; empty: each request names it.
        usual_port: The port that URLs of the connection's scheme leave out.
        received: What was read of the first request already.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        client: GitClient,
        git: GitProcesses,
        host: str = "",
        usual_port: int = 80,
        received: bytes = b"",
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._client = client
        self._git = git
        self._host = host
        self._usual_port = usual_port
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES)
        if received:
            self._http.receive_data(received)

    async def serve(self) -> None:
        """Serve until the client disconnects."""
        try:
            while True:
                event = await self._next_event()
                if not isinstance(event, h11.Request):
                    return
                await self._answer(event)
                if self._http.their_state is h11.SEND_BODY:
                    self._http.next_event()  # the end of a request without a body: nothing has to be read for it
                if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
                    return
                self._http.start_next_cycle()
        except (h11.ProtocolError, ProtocolError, GitError, asyncio.TimeoutError, zlib.error):
            return  # what it sends is not HTTP or not git's, or git was killed: the client gets no complete answer

    # --- HTTP

    async def _next_event(self) -> object:
        while True:
            event = self._http.next_event()
            if event is not h11.NEED_DATA:
                return event
            if self._http.they_are_waiting_for_100_continue:
                await self._send(h11.InformationalResponse(status_code=100, headers=[]))
            self._http.receive_data(await asyncio.wait_for(self._reader.read(65536), IDLE_SECONDS))

    async def _send(self, event: h11.Event) -> None:
        data = self._http.send(event)
        if data:
            self._writer.write(data)
            await asyncio.wait_for(self._writer.drain(), IDLE_SECONDS)

    async def _send_data(self, data: bytes) -> None:
        await self._send(h11.Data(data=data))

    async def _begin(self, status: int, media: str, *headers: tuple[str, str]) -> None:
        await self._send(h11.Response(status_code=status, headers=[("Content-Type", media), _NO_CACHE, *headers]))

    async def _end(self) -> None:
        await self._send(h11.EndOfMessage())

    async def _refuse(self, status: int, text: str, *headers: tuple[str, str]) -> None:
        body = f"{text}\n".encode("utf-8", "replace")
        await self._begin(status, "text/plain; charset=utf-8", ("Content-Length", str(len(body))), *headers)
        await self._send_data(body)
        await self._end()

    async def _body(self, encoding: str) -> AsyncIterator[bytes]:
        inflater = zlib.decompressobj(16 + zlib.MAX_WBITS) if encoding in ("gzip", "x-gzip") else None
        while True:
            event = await self._next_event()
            if not isinstance(event, h11.Data):
                return
            data = bytes(event.data)
            if inflater is None:
                yield data
            while inflater is not None and data and not inflater.eof:
                yield inflater.decompress(data, 65536)
                data = inflater.unconsumed_tail

    # --- requests

    async def _answer(self, request: h11.Request) -> None:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in request.headers}
        url = urlsplit(request.target.decode("latin-1"))
        host = self._host or url.netloc.rpartition("@")[2] or headers.get("host", "")
        matched = _SERVICE.fullmatch(url.path)
        path = unquote(matched["path"] if matched else url.path)
        repository = self._find(host, path)
        if repository is None:
            name = host[: -len(f":{self._usual_port}")] if host.endswith(f":{self._usual_port}") else host
            hint = self._client.describe_unknown(name, path)
            await self._refuse(503, f"Could not resolve host: {name[:200]}: {hint}")
            return
        if matched is None:
            await self._refuse(404, f"{url.path[:200]} is not an address of git's smart HTTP protocol")
            return
        authorization = headers.get("authorization", "")
        if not repository.accepts(authorization):
            text = _WRONG_TOKEN if authorization else _NO_TOKEN
            if authorization:
                self._client.note_refusal(repository, "the token is wrong")
            await self._refuse(401, text, ("WWW-Authenticate", 'Basic realm="GitHub"'))
            return
        given = headers.get("git-protocol", "")
        protocol = given if _PROTOCOL.fullmatch(given) else ""
        encoding = headers.get("content-encoding", "").strip().lower()
        if request.method == b"GET" and matched["service"] == "info/refs":
            await self._advertise(repository, (parse_qs(url.query).get("service") or [""])[0], protocol)
        elif request.method == b"POST" and matched["service"] == "git-upload-pack":
            await self._upload(repository, protocol, encoding)
        elif request.method == b"POST" and matched["service"] == "git-receive-pack":
            await self._begin(200, "application/x-git-receive-pack-result")
            body = self._body(encoding)
            await receive_push(repository, self._client, self._git, body, self._send_data, True)
            async for _ in body:  # a request without commands: git tries whether it may push
                pass
            await self._end()
        else:
            await self._refuse(405, "the method is not one of git's smart HTTP protocol")

    def _find(self, host: str, path: str) -> Optional[ServedRepository]:
        try:
            return self._client.find(of_parts(host, path, self._usual_port))
        except ValueError:
            return None

    async def _advertise(self, repository: ServedRepository, service: str, protocol: str) -> None:
        if service not in ("git-upload-pack", "git-receive-pack"):
            await self._refuse(403, "the repository is served by git's smart HTTP protocol only; update git")
            return
        self._client.note_use(repository)
        if service == "git-receive-pack":
            protocol = ""  # there is no version 2 of it
        await self._begin(200, f"application/x-{service}-advertisement")
        if "version=2" not in protocol.split(":"):
            await self._send_data(packet(f"# service={service}\n".encode()) + FLUSH)
        arguments = [service[len("git-") :], "--stateless-rpc", "--advertise-refs", str(repository.bare.path)]
        await self._send_data(await self._git.run(arguments, env=environment(protocol)))
        await self._end()

    async def _upload(self, repository: ServedRepository, protocol: str, encoding: str) -> None:
        body, size = [], 0
        async for piece in self._body(encoding):
            size += len(piece)
            if size > _FETCH_BYTES:
                raise ProtocolError("the request of a fetch is too large")
            body.append(piece)
        request = b"".join(body)
        await self._begin(200, "application/x-git-upload-pack-result")
        arguments = ["upload-pack", "--stateless-rpc", "--strict", str(repository.bare.path)]
        feed = functools.partial(write_all, data=request)
        await self._git.relay(arguments, environment(protocol), feed, self._send_data)
        await self._end()
        if b"0009done" in request or b"0008done" in request:
            self._client.note_fetch(repository, is_clone=b"have " not in request)
