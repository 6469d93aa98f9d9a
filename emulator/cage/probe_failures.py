"""Why an isolation level does not work on this machine, and what to do about it."""

from __future__ import annotations

import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Optional

from .mount_table import mounts_below
from .probe_result import ProbeResult

#: How many mounts a reason names.
_SHOWN_MOUNTS = 3


@dataclass(frozen=True)
class _Symptom:
    """What is known of a failed probe."""

    error: str
    in_container: bool

    @property
    def no_namespaces(self) -> bool:
        """The words of bwrap, and ours: "clone into new namespaces", "writing /proc/self/uid_map"."""
        return "new namespace" in self.error or "uid map" in self.error or "/proc/self/" in self.error

    @property
    def no_mounts(self) -> bool:
        """The first mount has failed."""
        return "mount(b'', b'/')" in self.error

    @property
    def no_proc(self) -> bool:
        return "proc" in self.error and "not permitted" in self.error.lower()


@dataclass(frozen=True)
class _Cause:
    """A cause, how it is recognized, and its remedy."""

    applies: Callable[[_Symptom], bool]
    reason: str
    fix: str


#: The first of them that applies explains a failure to create namespaces or to mount.
_CAUSES = (
    _Cause(
        lambda symptom: _sysctl("kernel/apparmor_restrict_unprivileged_userns") == "1",
        "AppArmor refuses user namespaces to unprivileged programs",
        "install bubblewrap, or: sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0",
    ),
    _Cause(
        lambda symptom: _sysctl("kernel/unprivileged_userns_clone") == "0",
        "user namespaces are off for ordinary users",
        "sudo sysctl kernel.unprivileged_userns_clone=1",
    ),
    _Cause(
        lambda symptom: _sysctl("user/max_user_namespaces") == "0",
        "user namespaces are off",
        "sudo sysctl user.max_user_namespaces=15000",
    ),
    _Cause(
        lambda symptom: "No space left" in symptom.error or "ENOSPC" in symptom.error,
        "the limit of namespaces is reached",
        "end some sandboxes, or raise user.max_user_namespaces",
    ),
    _Cause(
        lambda symptom: symptom.no_mounts and symptom.in_container,
        "this container may not mount anything (AppArmor)",
        "docker run --security-opt apparmor=unconfined --security-opt systempaths=unconfined …",
    ),
    _Cause(
        lambda symptom: symptom.in_container,
        "this container may not create namespaces (seccomp)",
        "docker run --security-opt seccomp=unconfined --security-opt systempaths=unconfined …",
    ),
)

_MASKED = "a /proc of one's own cannot be mounted because parts of this one are masked"
#: The same for a failure to mount /proc, which needs neither of the two.
_PROC_CAUSES = (
    _Cause(lambda symptom: symptom.in_container, _MASKED, "docker run --security-opt systempaths=unconfined …"),
    _Cause(lambda symptom: True, _MASKED, "unmask /proc"),
)


def explain(level: str, error: str) -> ProbeResult:
    """Return the result of a failed probe, with a reason and a remedy where the cause is known.

    Args:
        level: The isolation level.
        error: The error of the probe, which the reason quotes.
    """
    if level == "bwrap" and not shutil.which("bwrap"):
        return ProbeResult(level, False, "there is no bwrap on this machine", "install bubblewrap")
    if sys.platform != "linux":
        return ProbeResult(level, False, "namespaces are Linux's", "run the emulator on Linux, or use `process`")
    symptom = _Symptom(error, _in_container())
    causes: tuple[_Cause, ...] = ()
    if symptom.no_namespaces or symptom.no_mounts:
        causes = _CAUSES
    elif symptom.no_proc:
        causes = _PROC_CAUSES
    for cause in causes:
        if cause.applies(symptom):
            return ProbeResult(level, False, f"{cause.reason} ({error})", cause.fix)
    return ProbeResult(level, False, error)


def fails_with_any_root(probe_result: ProbeResult) -> bool:
    """Return whether a probe failed before the form of the root mattered: no namespace could be created, by the words
    of bwrap or ours. Level `namespace` also needs its first mount for each form, and bwrap only for the first."""
    if probe_result.works:
        return False
    no_mounts = probe_result.level == "namespace" and _Symptom(probe_result.reason, in_container=False).no_mounts
    return no_mounts or "new namespace" in probe_result.reason


def explain_overlays(error: str, base: Path) -> tuple[str, str]:
    """Return why overlays cannot be mounted where a level works, and what to do about it.

    Args:
        error: The error of the probe, which the reason quotes.
        base: The directory that holds the emulators' own.
    """
    mounted = _mounts_in_layer(error)
    if mounted:
        shown = ", ".join(mounted[:_SHOWN_MOUNTS]) + (" and others" if len(mounted) > _SHOWN_MOUNTS else "")
        other = "run the emulator as root" if os.geteuid() != 0 else "use level `namespace`"
        top = "/" + mounted[0].split("/")[1]
        return (
            f"something is mounted below {top} ({shown}), and a user namespace may not use such a directory ({error})",
            f"start the emulator where nothing is mounted below {top}, or {other}",
        )
    return error, _overlay_remedy(base)


def _mounts_in_layer(error: str) -> list[str]:
    """Return where something is mounted in the directory of the host that the kernel refused as a layer of an overlay
    in a user namespace; empty when that was not the cause."""
    found = re.search(r"lowerdir=([^,]*),.*userxattr.*Invalid argument", error)
    return mounts_below(found[1].split(":")[-1]) if found else []


def _overlay_remedy(base: Path) -> str:
    if file_system_of(base) in ("overlay", "fuse", "nfs", "nfs4", "9p"):
        kind = file_system_of(base)
        return f"{base} is on {kind}; set TMPDIR to a directory on a disk (in a container: a volume or a tmpfs)"
    if os.geteuid() != 0:
        return "Linux 5.11 or newer, or run the emulator as root"
    return "load the kernel module overlay"


def file_system_of(path: Path) -> str:
    """Return the type of the file system that holds a path; "" when it cannot be found."""
    found, longest = "", 0
    try:
        lines = Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return ""
    for line in lines:
        fields, _, rest = line.partition(" - ")
        point = fields.split(" ")[4]
        if (str(path) == point or str(path).startswith(point.rstrip("/") + "/")) and len(point) >= longest:
            found, longest = rest.split(" ")[0], len(point)
    return found


def _sysctl(name: str) -> Optional[str]:
    try:
        return Path("/proc/sys", name).read_text().strip()
    except OSError:
        return None


def _in_container() -> bool:
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return False
    return "Seccomp:\t2" in status or os.path.exists("/.dockerenv") or os.path.exists("/run/.containerenv")
