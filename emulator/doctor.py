"""A report of what the emulator can do on this machine."""

from __future__ import annotations

import asyncio
import os
import platform
import sys
from collections.abc import Iterator

from caged import __version__

from .cage.cgroups import MemoryGroups
from .cage.inside.limits import kernel_counts
from .cage.isolation import LEVELS, ROOT_DESCRIPTIONS, IsolationLevel, ProbeResult
from .cage.probe import is_automatic, probe
from .cage.probe_failures import overlay_remedy
from .cage.toolchains import LANGUAGE, Toolchains
from .cage.zygote import Zygote
from .config import ConfigError
from .platform.limits import PROCESSES, TEMPLATES
from .run_directory import RunDirectory, base_directory


def report() -> Iterator[str]:
    """Yield the lines of the report. Each isolation level is tried, so this takes up to some seconds."""
    yield f"caged {__version__}, Python {platform.python_version()} ({sys.executable}), {platform.platform()}"
    yield f"user: {'root' if os.geteuid() == 0 else 'uid ' + str(os.geteuid())}"
    try:
        yield f"sandboxes live in: {base_directory(None)}"
    except ConfigError as error:
        yield f"sandboxes live in: nowhere. {error}"
    yield ""
    yield "isolation"
    probe_results = asyncio.run(_probe_levels())
    for probe_result in probe_results:
        yield f"  {probe_result.level:<10} {'yes' if probe_result.works else 'no ':<4} {probe_result.reason}"
        if probe_result.fix:
            yield f"  {'':<10}      to change that: {probe_result.fix}"
        if probe_result.root:
            yield f"  {'':<10}      {ROOT_DESCRIPTIONS[probe_result.root]}"
        if probe_result.root_refused:
            yield f"  {'':<10}      overlays cannot be mounted: {probe_result.root_refused}"
            yield f"  {'':<10}      to change that: {overlay_remedy(base_directory(None))}"
    automatic = next((probe_result.level for probe_result in probe_results if is_automatic(probe_result)), None)
    unusable = "none: `process` lets a command end every process of root, so it has to be selected"
    yield f"  in use: {automatic or unusable}"
    if automatic in ("namespace", "bwrap"):
        yield f"  users:  {_describe_users(IsolationLevel(automatic).in_user_namespace)}"
    yield ""
    yield "limits (off with --no-limits)"
    yield f"  memory_mb  {_describe_memory_limit()}"
    yield "  cpus       by affinity"
    yield "  disk_gb    of one file by RLIMIT_FSIZE; of a whole sandbox by watching it, reported in its log"
    yield f"  processes  {PROCESSES} at a time, {_describe_process_limit(os.geteuid() == 0)}"
    yield ""
    yield "templates"
    chains = Toolchains()
    for template in TEMPLATES:
        chain = chains.find(template)
        mark = "     " if template not in LANGUAGE else ("exact" if chain.exact else "other")
        yield f"  {template:<11} {mark}  {chain.summary}"
    yield f"  shell: {chains.shell}, git: {chains.git or 'none (repo= and git diff will not work)'}"


async def _probe_levels() -> list[ProbeResult]:
    """Try every isolation level."""
    run_dir = RunDirectory.create(None)
    zygote = Zygote(run_dir.path)
    try:
        return [await probe(level, zygote, run_dir.path) for level in LEVELS]
    finally:
        await zygote.stop()
        run_dir.remove()


def _describe_users(in_user_namespace: bool) -> str:
    if not in_user_namespace:
        return "a sandbox has all users: chown, su and package managers work as on the machine itself"
    return (
        "a sandbox has root alone: chown to another user and su fail there, and packages of the host cannot be"
        " upgraded. To change that: run the emulator as root"
    )


def _describe_process_limit(is_root: bool) -> str:
    how = {"nproc": "RLIMIT_NPROC", "pid_max": "pid_max of its process table"}.get(kernel_counts(not is_root))
    return (f"in namespace isolation by {how}, " if how else "") + "by the sandbox's init otherwise"


def _describe_memory_limit() -> str:
    run_dir = RunDirectory.create(None)
    try:
        groups = MemoryGroups.find(run_dir.path)
    finally:
        run_dir.remove()
    if groups is None:
        return "of each process, by RLIMIT_DATA (--memory-limit sandbox does not work here: no control groups)"
    where = f"control groups (version {groups.version}) in {groups.parent}"
    return f"of each process, by RLIMIT_DATA; with --memory-limit sandbox of all together, by {where}"
