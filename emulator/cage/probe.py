"""Which level works on this machine: decided by building it, not by looking at version numbers."""

from __future__ import annotations

import asyncio
from pathlib import Path

from . import disk
from .isolation import LEVELS, Verdict, Walls, explain, walls_for
from .process import Gone
from .site import Plan, Site
from .zygote import Zygote, ZygoteError

LIMIT = 5.0

_REASONS = {
    "namespace": "mount, process, IPC, hostname and network namespaces, built by the emulator itself",
    "bwrap": "the same namespaces, built by bwrap",
    "process": "temp directory and process tree; paths are rewritten",
}


class NoWalls(Exception):
    """The level that was asked for does not work here; the text says why and what to do."""


#: Levels that were found to work in this process, with the directory of the emulator that tried: a fact about the
#: machine that its emulators share. One that does not work is tried again: somebody may have followed the advice.
_working: dict[tuple[str, Path], Verdict] = {}


async def probe(level: str, zygote: Zygote, run_dir: Path) -> Verdict:
    """Whether the walls of a level work here, as found when the first emulator asked."""
    known = _working.get((level, run_dir.parent))
    verdict = known or await _try(level, zygote, run_dir)
    if verdict.works:
        _working[level, run_dir.parent] = verdict
    return verdict


async def _try(level: str, zygote: Zygote, run_dir: Path) -> Verdict:
    """Builds the walls, runs a command that writes and looks around, and tears them down again."""
    if level == "process":
        return Verdict(level, True, _REASONS[level])
    walls = walls_for(level, run_dir)
    if level == "bwrap" and not walls.bwrap:
        return explain(level, "no bwrap")
    directory = run_dir / f"probe-{level}"
    try:
        cage = await asyncio.wait_for(
            Site(run_dir, zygote, walls, "/bin/sh").open(directory, Plan("caged-probe", network="none")), LIMIT
        )
        try:
            command = 'echo "$PWD $$" > /workspace/probe && cat /workspace/probe && ! touch /etc/caged-probe'
            result = await asyncio.wait_for(cage.shell(command, {}), LIMIT)
        finally:
            await cage.kill()
        seen = (directory / "workspace" / "probe").read_text() if result.code == 0 else ""
        if not seen.startswith("/workspace "):
            said = result.error or result.output.decode("utf-8", "replace").strip()
            return explain(level, f"the walls stand, but a command in them failed: {said}")
        return Verdict(level, True, _REASONS[level])
    except (Gone, ZygoteError, OSError, asyncio.TimeoutError) as error:
        return explain(level, str(error) or type(error).__name__)
    finally:
        disk.remove(directory)


async def choose(wanted: str, zygote: Zygote, run_dir: Path) -> tuple[Walls, list[Verdict]]:
    """The walls to use, and what was found on the way. `auto` takes the strongest that works; a level by name
    never gives a weaker one: NoWalls."""
    candidates = LEVELS if wanted == "auto" else ("namespace", "bwrap") if wanted == "namespace" else (wanted,)
    verdicts = []
    for level in candidates:
        verdicts.append(await probe(level, zygote, run_dir))
        if verdicts[-1].works:
            return walls_for(level, run_dir), verdicts
    raise NoWalls(f"isolation {wanted!r} does not work here: " + "; ".join(map(describe, verdicts)))


def describe(verdict: Verdict) -> str:
    fix = f". To change that: {verdict.fix}" if verdict.fix else ""
    return f"{verdict.level}: {verdict.reason}{fix}"
