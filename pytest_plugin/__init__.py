"""The pytest plugin of Caged: fixtures that point a test suite at the emulator, or at the real API.

Fixtures: `caged`, `async_caged`, `caged_sandbox`, `caged_emulator` of one test; `caged_factory` for fixtures of wider
scope. Markers: `caged(...)` with the options of `caged_sandbox`, `caged_emulator_only`, `caged_live_only`,
`caged_needs("namespace")`. The target comes from `--caged-target`, else from `CAGED_TARGET`, else from the ini option
`caged_target`; without any it is the emulator.

pytest imports this module in every run of every suite, so it imports pytest and the standard library only:
the SDK and the emulator are imported when a fixture first needs them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import pytest

from . import _markers, _policy, _scope_mismatch
from ._factory import CagedFactory
from ._fixtures import _caged_running, _caged_scope, async_caged, caged, caged_emulator, caged_factory, caged_sandbox
from ._isolation import _caged_isolation, require_isolation
from ._policy import LEAKS, POLICY, REPORT, TRACE, UNUSED
from ._summary import collect, write
from ._target import RUN_INPUT, TARGET, resolve, settings_without_effect

__all__ = [
    "CagedFactory",
    "_caged_isolation",
    "_caged_running",
    "_caged_scope",
    "async_caged",
    "caged",
    "caged_emulator",
    "caged_factory",
    "caged_sandbox",
]

# marker -> (whether its tests run in live runs, the reason's text)
_ONLY = {
    "caged_emulator_only": (False, "needs the emulator"),
    "caged_live_only": (True, "needs the real API"),
}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("caged", "Caged sandboxes")
    group.addoption(
        "--caged-target",
        choices=("emulator", "live"),
        help="where the caged fixtures point: the emulator (default) or the real API (env CAGED_TARGET)",
    )
    group.addoption("--caged-api-key", metavar="KEY", help="API key of live runs (env CAGED_API_KEY)")
    group.addoption(
        "--caged-base-url", metavar="URL", help="API of live runs, if not the public one (env CAGED_BASE_URL)"
    )
    group.addoption("--caged-isolation", metavar="LEVEL", help="isolation level of the emulator (env CAGED_ISOLATION)")
    group.addoption(
        "--caged-emulator-url",
        metavar="URL",
        help="use the emulator that runs there instead of starting one (env CAGED_EMULATOR_URL)",
    )
    group.addoption("--caged-emulator-admin-key", metavar="KEY", help="its admin key (env CAGED_EMULATOR_ADMIN_KEY)")
    group.addoption("--caged-shared", action="store_true", help="one emulator for all workers of xdist")
    group.addoption(
        "--caged-leaks",
        choices=LEAKS,
        help="when a test leaves sandboxes, snapshots or sockets open: ignore (default), warn at the end of the run, "
        "or fail the test (error) (env CAGED_LEAKS)",
    )
    group.addoption(
        "--caged-unused",
        choices=UNUSED,
        help="when faults, stubs or replies of a test were never used: fail it (error, the default), warn at the end "
        "of the run, or ignore (env CAGED_UNUSED)",
    )
    group.addoption(
        "--caged-keep-failed",
        action="store_true",
        help="keep the sandboxes of failed tests, and print how to open a shell in them",
    )
    group.addoption(
        "--caged-trace",
        choices=TRACE,
        help="write a trace, an HTML page and a .jsonl file, of each failed test (retain-on-failure, the default), of "
        "each test (on) or of none (off) (env CAGED_TRACE)",
    )
    group.addoption(
        "--caged-trace-dir",
        metavar="DIRECTORY",
        help="where traces are written, by default in pytest's cache directory (env CAGED_TRACE_DIR)",
    )
    group.addoption(
        "--caged-report",
        choices=REPORT,
        help="what the report of a failed test shows: a timeline of at most 40 lines (short, the default), all of it "
        "with requests and logs (full), or nothing (none) (env CAGED_REPORT)",
    )
    parser.addini("caged_target", "emulator (default) or live, see --caged-target")
    parser.addini("caged_isolation", "isolation level of the emulator, see --caged-isolation")
    parser.addini("caged_shared", "one emulator for all workers of xdist, see --caged-shared", type="bool")
    parser.addini("caged_leaks", "ignore (default), warn or error, see --caged-leaks")
    parser.addini("caged_unused", "error (default), warn or ignore, see --caged-unused")
    parser.addini("caged_trace", "retain-on-failure (default), on or off, see --caged-trace")
    parser.addini("caged_trace_dir", "where traces are written, relative to the root directory, see --caged-trace-dir")
    parser.addini("caged_report", "short (default), full or none, see --caged-report")


def pytest_configure(config: pytest.Config) -> None:
    for marker in (
        "caged(template=..., agents=..., env=..., ...): options of the sandbox that caged_sandbox creates, "
        "as for client.sandboxes.create; the nearest marker wins, option by option",
        "caged_emulator_only: skip in live runs",
        "caged_live_only: skip unless this is a live run",
        "caged_needs(level): skip where the emulator's isolation is weaker than `namespace`, with the reason",
    ):
        config.addinivalue_line("markers", marker)
    config.stash[TARGET] = resolve(config)
    policy = config.stash[POLICY] = _policy.resolve(config)
    if policy.keep_failed and not hasattr(config, "workerinput"):
        from . import _kept_sandboxes

        _kept_sandboxes.clear(config)


def pytest_report_header(config: pytest.Config) -> list[str]:
    target = config.stash[TARGET]
    if target.live:
        unused = settings_without_effect(config)
        return [
            f"caged: target=live, base_url={target.base_url}",
            f"caged: run={target.run}",
            *([f"caged: without effect in a live run: {', '.join(unused)}"] if unused else []),
        ]
    if target.emulator_url is not None:
        return [f"caged: target=emulator, running at {target.emulator_url}"]
    shared = ", shared by all workers" if target.shared else ""
    return [f"caged: target=emulator, isolation={target.isolation}{shared}"]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: Sequence[pytest.Item]) -> None:
    live = config.stash[TARGET].live
    for item in items:
        names = {marker.name for marker in item.iter_markers() if marker.name.startswith("caged")}
        if names:
            _markers.check(item)
        for name, (for_live, needs) in _ONLY.items():
            if for_live is not live and name in names and _markers.has_valid_markers(item):
                reason = f"{name}: {needs}, and the caged target is {'live' if live else 'emulator'}"
                item.add_marker(pytest.mark.skip(reason=reason))
        if "caged_needs" in names and not live and _markers.has_valid_markers(item):
            require_isolation(item)
    _scope_mismatch.register(config, items)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    """Remove the traces of the run before, in the process that no other one precedes."""
    config = session.config
    if config.stash[POLICY].trace != "off" and not hasattr(config, "workerinput") and not config.option.collectonly:
        from . import _trace_files

        _trace_files.remove_earlier(config)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Send an xdist worker that is about to start the run's id, and the address of a shared emulator."""
    target = node.config.stash[TARGET]
    node.workerinput[RUN_INPUT] = target.run
    if target.shared:
        from . import _emulator_source

        _emulator_source.share(node.config, node.workerinput)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Add what an xdist worker that has ended says in the summary."""
    collect(node.config, getattr(node, "workeroutput", {}))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    write(terminalreporter, config)
    if "GITHUB_STEP_SUMMARY" in os.environ and not hasattr(config, "workerinput"):
        from . import _step_summary

        _step_summary.write(terminalreporter, config)
