"""/_emulator/prepared: prepared sandboxes. `control/prepared.py` describes the options."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Optional

from starlette.responses import Response

from ...cage import disk
from ...cage.paths import Layout
from ...control.description import build
from ...control.names import suggestion
from ...control.prepared import MOST_BYTES, PreparedInfo, PreparedSandbox
from ...control.schema import options_model, record_model, values_in
from ...platform.errors import ApiError, invalid
from ...platform.prepared_sandboxes import require_complete
from ...platform.sandbox_starter import SetupError
from ..operation import Body, Call, EmptyBody, Model, no_content
from .controls import add_operations, refusing, reply_with
from .operations import AdminOperations
from .transfer import ARCHIVE, receive

operations = AdminOperations()
AddPrepared = options_model(
    "AddPrepared",
    PreparedSandbox,
    Body,
    "`from_archive` is the name under which the archive was uploaded to /_emulator/prepared-archives/NAME.",
)
PreparedOut = record_model("PreparedOut", PreparedInfo, Model)
_UPLOAD = re.compile(r"[0-9a-f]{32}")
#: Uploaded archives that wait for their preparation.
MOST_UPLOADS = 8
#: Seconds without a change after which an upload counts as abandoned.
ABANDONED_SECONDS = 600.0


@operations.call(
    "POST", "/prepared", "prepared.add", AddPrepared, reply=PreparedOut, status=201, most_bytes=2 * MOST_BYTES
)
async def add(call: Call[Body]) -> Response:
    """Build the file system of a sandbox once. `POST /v1/sandboxes` takes its name as `template`."""
    with refusing():
        options = values_in(PreparedSandbox, call.body)
        try:
            async with _archived(call, options) as extract:
                control = await call.platform.prepared_sandboxes.add(call.account, options, extract)
        except (SetupError, OSError) as error:
            raise invalid(str(error)) from None
    return reply_with(PreparedOut, control, 201)


@operations.call("POST", "/prepared-archives/{name}", "prepared.upload", errors=[400, 409], upload=ARCHIVE)
async def upload(call: Call[EmptyBody]) -> Response:
    """Upload an archive for one preparation. The name has 32 hexadecimal digits, which the client chooses."""
    path = _uploaded(call, call.param("name"))
    _make_room(path)
    try:
        await receive(call.request.stream(), path)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return no_content()


add_operations(
    operations,
    "prepared",
    "prepared sandbox",
    PreparedOut,
    lambda platform: platform.prepared,
    lambda platform, control: platform.prepared_sandboxes.remove(control),
)


def _uploaded(call: Call[Any], name: str) -> Path:
    if _UPLOAD.fullmatch(name) is None:
        raise invalid("from_archive: must be the name of an uploaded archive, which has 32 hexadecimal digits")
    return Path(call.platform.run_dir, f"prepare-{name}.tar.gz")


def _make_room(path: Path) -> None:
    """Remove abandoned uploads. Raises a 409 when there are too many that are not."""
    waiting = 0
    for other in path.parent.glob("prepare-*.tar.gz"):
        try:
            age = time.time() - other.stat().st_mtime
        except FileNotFoundError:  # used meanwhile
            continue
        if age > ABANDONED_SECONDS:
            other.unlink(missing_ok=True)
        elif other != path:
            waiting += 1
    if waiting >= MOST_UPLOADS:
        raise ApiError(
            409,
            f"{waiting} uploaded archives wait for their preparation already, which is the most; prepare from them, or"
            f" upload again after {ABANDONED_SECONDS / 60:g} minutes, when what is not used is removed",
        )


@asynccontextmanager
async def _archived(call: Call[Any], options: dict[str, Any]) -> AsyncIterator[Optional[Any]]:
    """Unpack the archive that the options name. Yields a function that makes a sandbox's directory of it; None where
    they name none."""
    if options["from_archive"] is None:
        yield None
        return
    from ...persistence.archive_export import work_directory
    from ...persistence.archive_file import extract_sandbox, unpack

    path = _uploaded(call, options["from_archive"])
    workers = call.platform.workers
    work = work_directory(call.platform, "prepare")
    try:
        build(PreparedSandbox, options, id="", account="").check()
        if not path.exists():
            raise invalid("from_archive: no archive was uploaded under this name, or it was used already")
        path.touch()  # in use, so that it does not count as abandoned
        await workers.copy.run(unpack, path, work)
        path.unlink(missing_ok=True)  # makes room for the next upload
        source = _sandbox_in(work, options["archive_sandbox"])

        def extract(layout: Layout) -> None:
            require_complete("from_archive: the archive", layout.as_root(extract_sandbox, layout, source))

        yield extract
    finally:
        path.unlink(missing_ok=True)
        await workers.walk.run(disk.remove, work)


def _sandbox_in(work: Path, wanted: Optional[str]) -> Path:
    """The directory with the files of a sandbox in an unpacked archive. Raises ValueError."""
    folder = work / "sandboxes"
    known = sorted(one.name for one in folder.iterdir()) if folder.is_dir() else []
    if wanted is not None and wanted not in known:
        raise ValueError(f"archive_sandbox: the archive has no sandbox {wanted!r}{suggestion(wanted, known)}")
    if not known:
        raise ValueError("from_archive: the archive holds no sandbox")
    if wanted is None and len(known) > 1:
        raise ValueError(f"archive_sandbox: the archive holds several sandboxes; name one of {', '.join(known)}")
    return folder / (wanted or known[0])
