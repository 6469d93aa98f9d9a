"""Snapshots (wire-contract.md 3.4, platform-behaviour.md A, Snapshots)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Optional

from pydantic import ConfigDict
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from ..platform.errors import invalid
from ..platform.limits import DOWNLOAD_SECONDS
from ..store import Snapshot
from ..workers import Pool
from .client_disconnect import cancel_on_disconnect
from .operation import Body, Call, EmptyBody, Model, Operations, json_reply, no_content

if TYPE_CHECKING:
    from ..cage.gzip_stream import GzipStream

operations = Operations()


class CreateSnapshot(Body):
    name: Optional[str] = None
    description: Optional[str] = None


def _has_field(field: str) -> dict[str, Any]:
    """The JSON schema of a body that has the field."""
    return {"properties": {field: {"type": "string", "minLength": 1}}, "required": [field]}


class RestoreSnapshot(Body):
    """`sandbox_id` is the documentation's older spelling of `target_sandbox_id`."""

    model_config = ConfigDict(json_schema_extra={"anyOf": [_has_field("target_sandbox_id"), _has_field("sandbox_id")]})

    target_sandbox_id: Optional[str] = None
    sandbox_id: Optional[str] = None


class SnapshotOut(Model):
    """A snapshot. `completed_at` is absent until it is complete."""

    id: str
    sandbox_id: str
    name: str
    description: str
    status: str
    trigger: str
    size_bytes: int
    created_at: str
    completed_at: Optional[str]

    def model_dump_json(self, **_options: Any) -> str:
        return super().model_dump_json(exclude_none=True)


class Restored(Model):
    status: str


class Download(Model):
    url: str
    expires_in_seconds: int


def serialize(snapshot: Snapshot) -> SnapshotOut:
    """The snapshot as clients read it."""
    return SnapshotOut(
        id=snapshot.id,
        sandbox_id=snapshot.sandbox_id,
        name=snapshot.name,
        description=snapshot.description,
        status=snapshot.status,
        trigger=snapshot.trigger,
        size_bytes=snapshot.size_bytes,
        created_at=snapshot.created_at,
        completed_at=snapshot.completed_at,
    )


@operations.add("GET", "/v1/sandboxes/{id}/snapshots", "snapshots.list", reply=list[SnapshotOut])
async def list_of_sandbox(call: Call[EmptyBody]) -> Response:
    return json_reply([serialize(snap) for snap in call.platform.snapshots.of_sandbox(call.account, call.param("id"))])


@operations.add(
    "POST",
    "/v1/sandboxes/{id}/snapshots",
    "snapshots.create",
    CreateSnapshot,
    reply=SnapshotOut,
    status=201,
    errors=[409],
)
async def create(call: Call[CreateSnapshot]) -> Response:
    sandbox = call.platform.sandboxes.get(call.account, call.param("id"))
    name, description = call.body.name or "", call.body.description or ""
    snapshot = call.platform.snapshots.create(sandbox, name, description, lambda: call.injected_failure("failed"))
    return json_reply(serialize(snapshot), 201)


@operations.add("GET", "/v1/snapshots/{id}", "snapshots.get", reply=SnapshotOut)
async def get(call: Call[EmptyBody]) -> Response:
    return json_reply(serialize(call.platform.snapshots.get(call.account, call.param("id"))))


@operations.add("DELETE", "/v1/snapshots/{id}", "snapshots.delete")
async def delete(call: Call[EmptyBody]) -> Response:
    call.platform.snapshots.delete(call.platform.snapshots.get(call.account, call.param("id")))
    return no_content()


@operations.add(
    "POST", "/v1/snapshots/{id}/restore", "snapshots.restore", RestoreSnapshot, reply=Restored, errors=[409, 507]
)
async def restore(call: Call[RestoreSnapshot]) -> Response:
    snapshot = call.platform.snapshots.get(call.account, call.param("id"))
    target_id = call.body.target_sandbox_id or call.body.sandbox_id
    if not target_id:
        raise invalid("target_sandbox_id required")
    if not call.body.target_sandbox_id:
        call.warnings.append("`sandbox_id` is deprecated; the platform wants `target_sandbox_id`")
    elif call.body.sandbox_id and call.body.sandbox_id != target_id:
        call.warnings.append("sandbox_id has no effect: target_sandbox_id is set")
    target = call.platform.sandboxes.get(call.account, target_id)
    async with call.platform.sandboxes.active(target):
        await cancel_on_disconnect(call.request, call.platform.snapshots.restore(snapshot, target))
    return json_reply(Restored(status="restored"))


@operations.add("GET", "/v1/snapshots/{id}/download", "snapshots.download", reply=Download, errors=[409])
async def download(call: Call[EmptyBody]) -> Response:
    snapshot = call.platform.snapshots.get(call.account, call.param("id"))
    base = f"{call.request.url.scheme}://{call.request.headers['host']}"
    path = call.platform.snapshots.sign_download(snapshot)
    return json_reply(Download(url=base + path, expires_in_seconds=DOWNLOAD_SECONDS))


@operations.add(
    "GET",
    "/v1/snapshots/{id}/download/content",
    "snapshots.content",
    public=True,
    reply=bytes,
    media="application/gzip",
    query={"expires": str, "signature": str},
    required=["expires", "signature"],
    owner=lambda platform, identifier: platform.snapshots.owner(identifier),
)
async def content(call: Call[EmptyBody]) -> Response:
    identifier = call.param("id")
    pieces = call.platform.snapshots.signed_content(
        identifier, call.query("expires") or "", call.query("signature") or ""
    )
    return _Content(pieces, call.platform.workers.copy, f'attachment; filename="{identifier}.tar.gz"')


async def _iterate(pieces: GzipStream, threads: Pool) -> AsyncIterator[bytes]:
    """Read each piece in a thread by a call of its own.

    So a download takes turns with the other copies of the account, and ends after the piece during which its client
    disconnected.
    """
    remaining = iter(pieces)
    while True:
        piece = await threads.run(next, remaining, None)
        if piece is None:
            return
        yield piece


class _Content(StreamingResponse):
    """The content of a snapshot. Its file is closed also when the client disconnects before the end."""

    def __init__(self, pieces: GzipStream, threads: Pool, disposition: str) -> None:
        headers = {"Content-Disposition": disposition}
        super().__init__(_iterate(pieces, threads), media_type="application/gzip", headers=headers)
        self.close = pieces.close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self.close()
