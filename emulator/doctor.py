"""A report of what the emulator can do on this machine."""

from __future__ import annotations

import asyncio
import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Optional

from caged import __version__

from .cage.cgroups import MemoryGroups
from .cage.inside.limits import kernel_counts
from .cage.isolation import LEVELS, ROOT_DESCRIPTIONS, IsolationLevel
from .cage.probe import is_automatic, probe
from .cage.probe_result import ProbeResult
from .cage.toolchains import LANGUAGE, Toolchains
from .cage.zygote import Zygote
from .config import ConfigError
from .platform.limits import PROCESSES, TEMPLATES
from .platform.package_downloads import reason_not_kept_of
from .run_directory import RunDirectory, base_directory


@dataclass(frozen=True)
class LevelReport:
    """Whether an isolation level works here.

    Attributes:
        level: Its name.
        works: Whether it does.
        reason: Why it does not; for one that works, what it consists of.
        fix: What to do where it does not.
        root: How the root of a sandbox is made (`isolation.ROOTS`); "" at level `process`.
        root_refused: Why it is not made in the better way; "" if it is.
        root_fix: What to do where it is not.
    """

    level: str
    works: bool
    reason: str
    fix: str
    root: str
    root_refused: str
    root_fix: str


@dataclass(frozen=True)
class TemplateReport:
    """The programs of a template.

    Attributes:
        template: Its name.
        exact: Whether they have the version that the template names; None where it names none.
        programs: What they are.
        downloads_not_kept: Why the cache keeps no packages that pip has downloaded; "" if it does.
    """

    template: str
    exact: Optional[bool]
    programs: str
    downloads_not_kept: str


@dataclass(frozen=True)
class Report:
    """What the emulator can do on this machine.

    Attributes:
        version: That of caged.
        python: That of Python.
        executable: The interpreter.
        platform: The system.
        user: `root` or the id of the user.
        directory: Where sandboxes live; None where there is no place.
        directory_error: Why there is none.
        isolation: The levels, the strongest first.
        isolation_in_use: The level that is chosen unless one is selected; None if one has to be.
        users: Which users a sandbox has at that level; "" at level `process`.
        limits: What is enforced, and how, by the name of the limit.
        templates: The templates.
        shell: The shell of sandboxes.
        git: The git program; None without one.
    """

    version: str
    python: str
    executable: str
    platform: str
    user: str
    directory: Optional[str]
    directory_error: str
    isolation: list[LevelReport]
    isolation_in_use: Optional[str]
    users: str
    limits: dict[str, str]
    templates: list[TemplateReport]
    shell: str
    git: Optional[str]


def examine() -> Report:
    """Find out what works here. Each isolation level is tried, so this takes up to some seconds."""
    directory, directory_error = None, ""
    try:
        directory = str(base_directory(None))
    except ConfigError as error:
        directory_error = str(error)
    results = asyncio.run(_probe_levels())
    in_use = next((one for one in results if is_automatic(one)), None)
    chains = Toolchains()
    return Report(
        version=__version__,
        python=platform.python_version(),
        executable=sys.executable,
        platform=platform.platform(),
        user="root" if os.geteuid() == 0 else f"uid {os.geteuid()}",
        directory=directory,
        directory_error=directory_error,
        isolation=[_report_level(one) for one in results],
        isolation_in_use=in_use.level if in_use else None,
        users=_describe_users(in_use) if in_use else "",
        limits={
            "memory_mb": _describe_memory_limit(),
            "cpus": "by affinity",
            "disk_gb": "of one file by RLIMIT_FSIZE; of a whole sandbox by watching it, reported in its log",
            "processes": f"{PROCESSES} at a time, {_describe_process_limit(in_use)}",
        },
        templates=[_report_template(chains, template) for template in TEMPLATES],
        shell=str(chains.shell),
        git=str(chains.git) if chains.git else None,
    )


def _report_level(result: ProbeResult) -> LevelReport:
    return LevelReport(
        result.level, result.works, result.reason, result.fix, result.root, result.root_refused, result.root_fix
    )


def _report_template(chains: Toolchains, template: str) -> TemplateReport:
    chain = chains.find(template)
    exact = chain.exact if template in LANGUAGE else None
    return TemplateReport(template, exact, chain.summary, reason_not_kept_of(chain))


def lines_of(report: Report) -> Iterator[str]:
    """Yield the lines of a report."""
    yield f"caged {report.version}, Python {report.python} ({report.executable}), {report.platform}"
    yield f"user: {report.user}"
    yield f"sandboxes live in: {report.directory or f'nowhere. {report.directory_error}'}"
    yield ""
    yield "isolation"
    for one in report.isolation:
        yield f"  {one.level:<10} {'yes' if one.works else 'no ':<4} {one.reason}"
        if one.fix:
            yield f"  {'':<10}      to change that: {one.fix}"
        if one.root:
            yield f"  {'':<10}      {ROOT_DESCRIPTIONS[one.root]}"
        if one.root_refused:
            yield f"  {'':<10}      overlays cannot be mounted: {one.root_refused}"
            yield f"  {'':<10}      to change that: {one.root_fix}"
    unusable = "none: `process` lets a command end every process of root, so it has to be selected"
    yield f"  in use: {report.isolation_in_use or unusable}"
    if report.users:
        yield f"  users:  {report.users}"
    yield ""
    yield "limits (off with --no-limits)"
    for name, text in report.limits.items():
        yield f"  {name:<10} {text}"
    yield ""
    yield "templates"
    for template in report.templates:
        mark = {None: "     ", True: "exact", False: "other"}[template.exact]
        yield f"  {template.template:<11} {mark}  {template.programs}"
        if template.downloads_not_kept:
            yield f"  {'':<11}        downloads of packages are not kept: {template.downloads_not_kept}"
    yield f"  shell: {report.shell}, git: {report.git or 'none (repo= and git diff will not work)'}"


async def _probe_levels() -> list[ProbeResult]:
    """Try every isolation level."""
    run_dir = RunDirectory.create(None)
    zygote = Zygote(run_dir.path)
    try:
        return [await probe(level, zygote, run_dir.path) for level in LEVELS]
    finally:
        await zygote.stop()
        run_dir.remove()


def _describe_users(result: ProbeResult) -> str:
    if result.level == "process":
        return ""
    if not IsolationLevel(result.level).in_user_namespace:
        return "a sandbox has all users: chown, su and package managers work as on the machine itself"
    if result.ids is not None:
        return (
            f"a sandbox has {result.ids.count:,} users, root and those of /etc/subuid and /etc/subgid: chown, su and"
            " sudo -u work; packages of the host cannot be upgraded. To change that: run the emulator as root"
        )
    reason = "bwrap maps no other" if result.level == "bwrap" else result.ids_refused
    fixes = [*([result.ids_fix] if result.ids_fix else []), "run the emulator as root"]
    return (
        f"a sandbox has root alone{f' ({reason})' if reason else ''}: chown to another user and su fail there, and"
        f" packages of the host cannot be upgraded. To change that: {'; or '.join(fixes)}"
    )


def _describe_process_limit(in_use: Optional[ProbeResult]) -> str:
    has_users = in_use is not None and in_use.ids is not None
    counted = kernel_counts(os.geteuid() != 0 and not has_users)
    how = {"nproc": "RLIMIT_NPROC", "pid_max": "pid_max of its process table"}.get(counted)
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
