"""The files of a sandbox, and its git diff (wire-contract.md 3.3)."""

from __future__ import annotations

from starlette.responses import Response

from ..cage.paths import WORKSPACE
from ..cage.safe_files import Entry
from ..control.clock import rfc3339
from ..platform import limits
from .client_disconnect import cancel_on_disconnect
from .large_bodies import LargeJson, json_array
from .operation import Body, Call, EmptyBody, Model, Operations, json_reply

operations = Operations()


class FileOut(Model):
    name: str
    path: str
    type: str
    size: int
    mod_time: str


class WriteFile(Body):
    sizes = {"content": limits.BODY_BYTES}

    content: str


class Written(Model):
    status: str
    path: str


class ChangedFile(Model):
    path: str
    status: str


class GitDiffOut(Model):
    files: list[ChangedFile]
    diff: str
    staged_diff: str


#: The JSON of a longer listing is made in a thread.
ENTRIES_MADE_AT_ONCE = 500


def _serialize(entries: list[Entry]) -> bytes:
    return json_array(
        {"name": e.name, "path": e.path, "type": e.kind, "size": e.size, "mod_time": rfc3339(e.mtime)} for e in entries
    )


@operations.add(
    "GET", "/v1/sandboxes/{id}/files", "files.list", reply=list[FileOut], query={"path": str}, errors=[409, 507]
)
async def list_directory(call: Call[EmptyBody]) -> Response:
    path = call.query("path") or WORKSPACE
    entries = await call.platform.files.entries(call.account, call.param("id"), path)
    if len(entries) > ENTRIES_MADE_AT_ONCE:
        return LargeJson(await call.platform.workers.walk.run(_serialize, entries))
    return json_reply(
        [FileOut(name=e.name, path=e.path, type=e.kind, size=e.size, mod_time=rfc3339(e.mtime)) for e in entries]
    )


@operations.add(
    "GET",
    "/v1/sandboxes/{id}/files/content",
    "files.read",
    reply=str,
    query={"path": str},
    required=["path"],
    errors=[409, 507],
)
async def read(call: Call[EmptyBody]) -> Response:
    content = await call.platform.files.read(call.account, call.param("id"), call.query("path") or "")
    return Response(content, media_type="text/plain; charset=utf-8")


@operations.add(
    "PUT",
    "/v1/sandboxes/{id}/files/content",
    "files.write",
    WriteFile,
    reply=Written,
    query={"path": str},
    required=["path"],
    errors=[409, 507],
)
async def write(call: Call[WriteFile]) -> Response:
    path = call.query("path") or ""
    await call.platform.files.write(call.account, call.param("id"), path, call.body.content)
    return json_reply(Written(status="ok", path=path))


@operations.add(
    "GET", "/v1/sandboxes/{id}/git/diff", "files.git_diff", reply=GitDiffOut, query={"path": str}, errors=[409, 507]
)
async def git_diff(call: Call[EmptyBody]) -> Response:
    work = call.platform.files.diff(call.account, call.param("id"), call.query("path") or WORKSPACE)
    found = await cancel_on_disconnect(call.request, work)
    files = [ChangedFile(path=path, status=status) for path, status in found.files]
    return json_reply(GitDiffOut(files=files, diff=found.unstaged, staged_diff=found.staged))
