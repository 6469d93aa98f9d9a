"""/_emulator/export and /_emulator/import: all accounts, or one, as an archive."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from starlette.background import BackgroundTask
from starlette.responses import FileResponse, Response

from ...platform.errors import invalid
from ..operation import Call, EmptyBody, Model, json_reply
from .operations import AdminOperations

operations = AdminOperations()
ARCHIVE = "application/gzip"
MOST_BYTES = 16 * 1024**3


class ImportedOut(Model):
    """Ids of what was imported, as they are here. Sandboxes are stopped; resume starts them."""

    accounts: list[str]
    sandboxes: list[str]
    snapshots: list[str]


def _temporary(call: Call[EmptyBody]) -> Path:
    made, name = tempfile.mkstemp(prefix="transfer-", suffix=".tar.gz", dir=call.platform.run_dir)
    os.close(made)
    return Path(name)


@operations.call("GET", "/export", "export", reply=bytes, media=ARCHIVE, errors=[400])
async def export(call: Call[EmptyBody]) -> Response:
    """Write a `.tar.gz` of all accounts; with `account`, of that one. It holds secrets."""
    from ...persistence.archive_export import export_archive
    from ...persistence.archive_file import TransferError

    path = _temporary(call)
    try:
        named = None if call.query("account") in (None, "*") else call.account.id
        await export_archive(call.platform, path, named)
    except (TransferError, OSError) as error:
        path.unlink(missing_ok=True)
        raise invalid(str(error)) from None
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return FileResponse(path, media_type=ARCHIVE, background=BackgroundTask(path.unlink, missing_ok=True))


@operations.call("POST", "/import", "import", reply=ImportedOut, status=201, errors=[400], upload=ARCHIVE)
async def import_(call: Call[EmptyBody]) -> Response:
    """Add what is in an archive. An account that exists already stays as it is and gets the rest; a sandbox, snapshot,
    session, alert or notification whose id exists gets another id. 400, and nothing has changed, when another account
    has the id, e-mail address or key of one in the archive."""
    from ...persistence.archive_file import TransferError
    from ...persistence.archive_import import import_archive

    path = _temporary(call)
    try:
        await receive(call.request.stream(), path)
        contents = await import_archive(call.platform, path)
    except (TransferError, OSError) as error:
        raise invalid(str(error)) from None
    finally:
        path.unlink(missing_ok=True)
    return json_reply(
        ImportedOut(accounts=contents.accounts, sandboxes=contents.sandboxes, snapshots=contents.snapshots), 201
    )


async def receive(pieces: AsyncIterator[bytes], path: Path) -> None:
    """Write an uploaded archive to a file. Raises ApiError when it is larger than MOST_BYTES."""
    size = 0
    with open(path, "wb") as file:  # noqa: ASYNC230  a temporary file of ours, opened in microseconds
        async for piece in pieces:
            size += len(piece)
            if size > MOST_BYTES:
                raise invalid(f"the archive is larger than {MOST_BYTES // 1024**3} GiB")
            await asyncio.to_thread(file.write, piece)
