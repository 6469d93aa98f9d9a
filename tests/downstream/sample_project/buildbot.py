"""A build bot: runs a project's checks in a Caged sandbox and keeps the workspace of a failed one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Optional

from caged import AsyncCaged, Caged


@dataclass(frozen=True)
class Build:
    passed: bool
    log: str
    snapshot_id: Optional[str] = None


def build(files: Mapping[str, str], command: str, env: Optional[Mapping[str, str]] = None) -> Build:
    """Run one command on the files. Uses the account that CAGED_API_KEY names, as a user's own code does."""
    with Caged() as caged:
        sandbox = caged.sandboxes.create(template="python", env=dict(env or {}))
        for path, text in files.items():
            caged.files.write(sandbox.id, path, text)
        result = caged.sandboxes.exec(sandbox.id, command)
        if result.ok:
            caged.sandboxes.destroy(sandbox.id)
            return Build(True, result.output)
        snapshot = caged.snapshots.create(sandbox.id, name="failed-build")
        kept = caged.snapshots.wait(snapshot.id, timeout=30)
        # The sandbox of a failed build is kept for its author.
        return Build(False, result.output, kept.id)


async def build_all(commands: Iterable[str]) -> list[Build]:
    """Run the commands concurrently, each in its own sandbox."""
    async with AsyncCaged() as caged:

        async def one(command: str) -> Build:
            sandbox = await caged.sandboxes.create(template="python")
            try:
                result = await caged.sandboxes.exec(sandbox.id, command)
            finally:
                await caged.sandboxes.destroy(sandbox.id)
            return Build(result.ok, result.output)

        return list(await asyncio.gather(*(one(command) for command in commands)))
