"""Choose the isolation level: the strongest that works on this machine, or the one that the settings name.

Each is tried out, because version numbers do not show what works.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Union

from . import disk
from .chosen_isolation import ChosenIsolation
from .init_client import SandboxGone
from .isolation import LEVELS, ROOTS, IsolationLevel, isolation_for
from .probe_failures import explain, explain_overlays, fails_with_any_root
from .probe_result import ProbeResult
from .provisioning import Provisioner, SandboxSpec
from .subordinate_ids import SubordinateIds, Unavailable
from .subordinate_ids import find as find_ids
from .zygote import Zygote, ZygoteError

LIMIT = 5.0
#: The forms of the root that are tried. Tests of the second one remove the first.
roots = ROOTS
#: Whether other users than root are mapped where that is possible. Tests that replace functions of this process clear
#: it, because the work on files is done in another process then.
maps_ids = True

_REASONS = {
    "namespace": "mount, process, IPC, hostname and network namespaces, built by the emulator itself",
    "bwrap": "the same namespaces, built by bwrap",
    "process": "temp directory and process tree; paths are rewritten",
}


class IsolationUnavailable(Exception):
    """The requested level does not work on this machine; the text says why and what to do."""


_Found = Union[SubordinateIds, Unavailable, None]
#: Levels that work, by the directory that holds the emulators' own: all emulators of this process share it. A level
#: that does not work is tried again, since the machine may have been changed meanwhile.
_working: dict[tuple[str, Path, tuple[str, ...], _Found], ProbeResult] = {}


async def probe(level: str, zygote: Zygote, run_dir: Path, key_directories: Sequence[str] = ()) -> ProbeResult:
    """Return whether a level works on this machine; tried once per process when it does. See `choose` for the
    arguments."""
    found = find_ids() if maps_ids and level == "namespace" and os.geteuid() != 0 else None
    key = level, run_dir.parent, roots, found
    probe_result = _working.get(key) or await _probe_level(level, zygote, run_dir, key_directories, found)
    if probe_result.works and probe_result.confined:
        _working[key] = probe_result
    return probe_result


async def _probe_level(
    level: str, zygote: Zygote, run_dir: Path, key_directories: Sequence[str], found: _Found
) -> ProbeResult:
    """Try a level with each form of the root, best first, until one works; each with all users that can be mapped, then
    with root alone.

    Args:
        found: What can be mapped at level `namespace`; None for other levels, and without a user namespace.
    """
    if level == "process":
        return await _probe_process_level(zygote, run_dir)
    if level == "bwrap" and not isolation_for(level, run_dir).bwrap:
        return explain(level, "no bwrap")
    refused, root_fix = "", ""
    ids = found if isinstance(found, SubordinateIds) else None
    why_no_ids, fix = (found.reason, found.fix) if isinstance(found, Unavailable) else ("", "")
    for root in roots:
        if ids is not None:
            probe_result = await _try(isolation_for(level, run_dir, key_directories, root, ids), zygote, run_dir)
            if probe_result.works:
                return replace(probe_result, root_refused=refused, root_fix=root_fix)
            why_no_ids = why_no_ids or probe_result.reason
        probe_result = await _try(isolation_for(level, run_dir, key_directories, root), zygote, run_dir)
        if probe_result.works:
            found_root = replace(probe_result, root_refused=refused, root_fix=root_fix)
            return replace(found_root, ids_refused=why_no_ids, ids_fix=fix)
        if fails_with_any_root(probe_result):
            break  # to make another root takes half of the time of a start
        if not refused:
            refused, root_fix = explain_overlays(probe_result.reason, run_dir.parent)
    return probe_result


async def _try(isolation: IsolationLevel, zygote: Zygote, run_dir: Path) -> ProbeResult:
    """Build the isolation, run a command that writes and reads in it, and remove it again."""
    level = isolation.level
    directory = run_dir / f"probe-{level}"
    try:
        cage = await asyncio.wait_for(
            Provisioner(run_dir, zygote, ChosenIsolation(isolation), "/bin/sh").open(
                directory, SandboxSpec("caged-probe", network="none")
            ),
            LIMIT,
        )
        try:
            writable = "/usr /var /etc" if isolation.root == "overlays" else "/etc"
            written = " ".join(f"{place}/caged-probe" for place in ("/workspace", *writable.split()))
            owned = "touch /tmp/owned && chown 65534:65534 /tmp/owned && " if isolation.ids is not None else ""
            echo = 'echo "$PWD $$" > /workspace/probe && cat /workspace/probe'
            command = f"{owned}{echo} && touch {written} && rm {written}"
            result = await asyncio.wait_for(cage.shell(command, {}), LIMIT)
        finally:
            await cage.kill()
        seen = (directory / "workspace" / "probe").read_text() if result.code == 0 else ""
        if not seen.startswith("/workspace "):
            failure = result.error or result.output.decode("utf-8", "replace").strip()
            return explain(level, f"the isolation can be built, but a command in it failed: {failure}")
        return ProbeResult(level, True, _REASONS[level], root=isolation.root, ids=isolation.ids)
    except (SandboxGone, ZygoteError, OSError, asyncio.TimeoutError) as error:
        return explain(level, str(error) or f"it was not ready, or no command ended in it, within {LIMIT:g} s")
    finally:
        disk.remove(directory)


async def _probe_process_level(zygote: Zygote, run_dir: Path) -> ProbeResult:
    """Find out whether a command's signals stay in its sandbox at level `process`, which works everywhere. Signal 0 has
    no effect on the process that gets it."""
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
    """Whether `auto` may choose a level: not one in which a command can end every process of root."""
    return probe_result.works and (probe_result.confined or os.geteuid() != 0)


async def choose(
    wanted: str, zygote: Zygote, run_dir: Path, key_directories: Sequence[str] = ()
) -> tuple[IsolationLevel, list[ProbeResult]]:
    """Choose the isolation level.

    Args:
        wanted: "auto" for the strongest level that works, or a level. "namespace" includes "bwrap", which isolates as
            well; apart from that, a level by name never results in a weaker one.
        zygote: Starts the processes that are tried.
        run_dir: The emulator's directory.
        key_directories: Directories in which the emulator writes keys.

    Returns:
        The level, and the results of all that were tried.

    Raises:
        IsolationUnavailable: The level does not work on this machine.
    """
    candidates = LEVELS if wanted == "auto" else ("namespace", "bwrap") if wanted == "namespace" else (wanted,)
    probe_results = []
    for level in candidates:
        probe_results.append(await probe(level, zygote, run_dir, key_directories))
        if is_automatic(probe_results[-1]) or (probe_results[-1].works and level == wanted):
            root, ids = probe_results[-1].root, probe_results[-1].ids
            return isolation_for(level, run_dir, key_directories, root, ids, zygote.held), probe_results
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
