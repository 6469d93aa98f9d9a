"""Which level works on this machine: decided by building it, not by looking at version numbers."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

from . import disk
from .chosen_isolation import ChosenIsolation
from .isolation import LEVELS, IsolationLevel, ProbeResult, explain, isolation_for
from .process import SandboxGone
from .provisioning import Provisioner, SandboxSpec
from .zygote import Zygote, ZygoteError

LIMIT = 5.0

_REASONS = {
    "namespace": "mount, process, IPC, hostname and network namespaces, built by the emulator itself",
    "bwrap": "the same namespaces, built by bwrap",
    "process": "temp directory and process tree; paths are rewritten",
}


class IsolationUnavailable(Exception):
    """The level that was asked for does not work here; the text says why and what to do."""


#: Levels that were found to work in this process, with the directory of the emulator that tried: a fact about the
#: machine that its emulators share. One that does not work is tried again: somebody may have followed the advice.
_working: dict[tuple[str, Path], ProbeResult] = {}


async def probe(level: str, zygote: Zygote, run_dir: Path) -> ProbeResult:
    """Whether the isolation of a level work here, as found when the first emulator asked."""
    known = _working.get((level, run_dir.parent))
    probe_result = known or await _try(level, zygote, run_dir)
    if probe_result.works and probe_result.confined:
        _working[level, run_dir.parent] = probe_result
    return probe_result


async def _try(level: str, zygote: Zygote, run_dir: Path) -> ProbeResult:
    """Builds the isolation, runs a command that writes and looks around, and tears them down again."""
    if level == "process":
        return await _try_process(zygote, run_dir)
    isolation = isolation_for(level, run_dir)
    if level == "bwrap" and not isolation.bwrap:
        return explain(level, "no bwrap")
    directory = run_dir / f"probe-{level}"
    try:
        cage = await asyncio.wait_for(
            Provisioner(run_dir, zygote, ChosenIsolation(isolation), "/bin/sh").open(
                directory, SandboxSpec("caged-probe", network="none")
            ),
            LIMIT,
        )
        try:
            command = 'echo "$PWD $$" > /workspace/probe && cat /workspace/probe && ! touch /etc/caged-probe'
            result = await asyncio.wait_for(cage.shell(command, {}), LIMIT)
        finally:
            await cage.kill()
        seen = (directory / "workspace" / "probe").read_text() if result.code == 0 else ""
        if not seen.startswith("/workspace "):
            said = result.error or result.output.decode("utf-8", "replace").strip()
            return explain(level, f"the isolation works, but a command in them failed: {said}")
        return ProbeResult(level, True, _REASONS[level])
    except (SandboxGone, ZygoteError, OSError, asyncio.TimeoutError) as error:
        return explain(level, str(error) or type(error).__name__)
    finally:
        disk.remove(directory)


async def _try_process(zygote: Zygote, run_dir: Path) -> ProbeResult:
    """`process` works everywhere; whether a command's signals stay in its sandbox is tried with signal 0, which does
    nothing to the one that gets it."""
    directory = run_dir / "probe-process"
    provisioner = Provisioner(run_dir, zygote, ChosenIsolation(isolation_for("process", run_dir)), "/bin/sh")
    try:
        cage = await asyncio.wait_for(provisioner.open(directory, SandboxSpec("caged-probe")), LIMIT)
        try:
            check = f"kill -0 $$ && ! kill -0 {os.getpid()} 2>/dev/null"
            confined = (await asyncio.wait_for(cage.shell(check, {}), LIMIT)).code == 0
        finally:
            await cage.kill()
    except (SandboxGone, ZygoteError, OSError, asyncio.TimeoutError):
        confined = False
    finally:
        disk.remove(directory)
    reach = "its own processes" if confined else f"every process of {_user()} on this machine"
    fix = "" if confined else "Linux 6.12 with Landlock, or one of the levels above"
    return ProbeResult("process", True, f"{_REASONS['process']}; a command can signal {reach}", fix, confined)


def _user() -> str:
    return "root" if os.geteuid() == 0 else "the emulator's user"


def is_automatic(probe_result: ProbeResult) -> bool:
    """Whether `auto` may take a level: not one in which a command can end every process of root."""
    return probe_result.works and (probe_result.confined or os.geteuid() != 0)


async def choose(
    wanted: str, zygote: Zygote, run_dir: Path, key_directories: Sequence[str] = ()
) -> tuple[IsolationLevel, list[ProbeResult]]:
    """The isolation to use, and what was found on the way. `auto` takes the strongest that works; a level by name
    never gives a weaker one: IsolationUnavailable. `key_directories`: where the emulator writes its keys."""
    candidates = LEVELS if wanted == "auto" else ("namespace", "bwrap") if wanted == "namespace" else (wanted,)
    probe_results = []
    for level in candidates:
        probe_results.append(await probe(level, zygote, run_dir))
        if is_automatic(probe_results[-1]) or (probe_results[-1].works and level == wanted):
            return isolation_for(level, run_dir, key_directories), probe_results
    advice = ""
    if probe_results[-1].works:
        advice = (
            ". Sandboxes at level 'process' would run as root and could end every process of root: run the emulator as"
            " an ordinary user, or accept that with --isolation process (or CAGED_ISOLATION=process)"
        )
    raise IsolationUnavailable(
        f"isolation {wanted!r} does not work here: " + "; ".join(map(describe, probe_results)) + advice
    )


def describe(probe_result: ProbeResult) -> str:
    fix = f". To change that: {probe_result.fix}" if probe_result.fix else ""
    return f"{probe_result.level}: {probe_result.reason}{fix}"
