"""What is done about leaks, unused controls, failed tests' sandboxes, traces and reports; read once when pytest is
configured."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import pytest

from ._target import choice, setting

#: The first is the default.
LEAKS = ("ignore", "warn", "error")
UNUSED = ("error", "warn", "ignore")
TRACE = ("retain-on-failure", "on", "off")
REPORT = ("short", "full", "none")


@dataclass(frozen=True)
class Policy:
    """The settings.

    Attributes:
        leaks: What is done about sandboxes, snapshots and sockets that a test left open; one of LEAKS.
        unused: What is done about faults, stubs and replies that were never used; one of UNUSED.
        keep_failed: Whether the sandboxes of failed tests are kept.
        trace: Of which tests a trace is kept; one of TRACE.
        trace_dir: The directory of the traces; None: one in pytest's cache directory.
        report: What the report of a failed test shows; one of REPORT.
    """

    leaks: str
    unused: str
    keep_failed: bool
    trace: str
    trace_dir: Optional[Path]
    report: str


POLICY = pytest.StashKey[Policy]()


def resolve(config: pytest.Config) -> Policy:
    """Read the settings from options, environment and ini file.

    Raises:
        pytest.UsageError: A setting has a value that is not allowed.
    """
    return Policy(
        leaks=choice(config, "caged_leaks", LEAKS, "caged_leaks"),
        unused=choice(config, "caged_unused", UNUSED, "caged_unused"),
        keep_failed=bool(config.getoption("caged_keep_failed", default=False)),
        trace=_trace(config),
        trace_dir=_trace_dir(config),
        report=choice(config, "caged_report", REPORT, "caged_report"),
    )


def _trace(config: pytest.Config) -> str:
    chosen = setting(config, "caged_trace", ini=True)
    trace = choice(config, "caged_trace", TRACE, "caged_trace")
    if chosen and trace != "off" and _trace_dir(config) is None and not hasattr(config, "cache"):
        raise pytest.UsageError(
            f"caged_trace={trace} writes to pytest's cache directory by default; run without -p no:cacheprovider, or "
            "pass --caged-trace-dir=DIRECTORY"
        )
    return trace


def _trace_dir(config: pytest.Config) -> Optional[Path]:
    """The directory that was chosen. An ini file's is relative to the root directory, another to the current one."""
    given = setting(config, "caged_trace_dir")
    if given:
        return Path(os.path.abspath(config.invocation_params.dir / os.path.expanduser(given)))
    in_ini = config.getini("caged_trace_dir")
    return Path(os.path.abspath(config.rootpath / os.path.expanduser(in_ini))) if in_ini else None
