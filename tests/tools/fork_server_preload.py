"""What the process of the fork server imports and does before its first fork, so that each program finds it done."""

from __future__ import annotations

import contextlib
import gc
import importlib
import inspect
import os
import pkgutil
import sys
import tempfile
import types
from typing import Any

#: Allocations between two collections of the youngest objects, here and in the processes that run tests. With the
#: default of 700, a thirtieth of their time goes into collections that find hardly anything.
GC_ALLOCATIONS = 20_000
#: Modules of the libraries that are imported where they are first used.
_LIBRARIES = (
    "concurrent.futures.thread",
    "encodings.idna",
    "httpcore",
    "uvicorn.lifespan.off",
    "websockets.asyncio.client",
    "websockets.sync.client",
    "xdist.dsession",
    "xdist.remote",
    "xdist.workermanage",
)


class _PluginModules:
    """A plugin of pytest that imports the modules of our plugin, as rewritten as they are in any run of pytest."""

    def pytest_collection(self) -> None:
        import caged.pytest_plugin

        for module in pkgutil.walk_packages(caged.pytest_plugin.__path__, "caged.pytest_plugin."):
            importlib.import_module(module.name)


def _keep_metadata_of_packages() -> None:
    """Let forks find the metadata of installed packages parsed. Each start of pytest reads those of all packages, which
    is a quarter of its time, and no program of the server installs a package."""
    from importlib.metadata import PathDistribution

    def keep(name: str) -> property:
        read = getattr(PathDistribution, name).fget
        kept: dict[str, Any] = {}

        def get(distribution: Any) -> Any:
            place = str(distribution._path)
            if place not in kept:
                kept[place] = read(distribution)
            return kept[place]

        return property(get)

    for name in ("entry_points", "files", "metadata"):
        setattr(PathDistribution, name, keep(name))


class _NamesOfFixtures:
    """The names of a module that may be fixtures, kept for the modules of plugins. Each start of pytest looks at every
    name of each plugin, which is a seventh of its time, and no program of the server adds a fixture to a plugin."""

    def __init__(self) -> None:
        from _pytest import fixtures

        self._kept: dict[types.ModuleType, list[str]] = {}
        self._is_keeping = True
        self._fixture = getattr(fixtures, "FixtureFunctionDefinition", None)
        if self._fixture is not None:  # older releases of pytest recognize a fixture in another way
            fixtures.dir = self._names  # type: ignore[attr-defined]

    def keep_no_more(self) -> None:
        """Look at the modules of later plugins each time: they may be those of a test."""
        self._is_keeping = False

    def _names(self, holder: object) -> list[str]:
        if not isinstance(holder, types.ModuleType):
            return dir(holder)
        if holder in self._kept:
            return self._kept[holder]
        names = dir(holder)
        if self._is_keeping:
            self._kept[holder] = [name for name in names if self._may_be_fixture(vars(holder).get(name))]
        return names

    def _may_be_fixture(self, value: object) -> bool:
        try:
            # pytest warns of a fixture in a wrapper.
            return type(value) is self._fixture or hasattr(value, "__wrapped__")
        except Exception:
            return True


def preload() -> None:
    """Import what the programs import. First pytest's plugins by a run without tests, because it warns of any that was
    imported before and so without rewritten assertions."""
    gc.disable()  # nearly all that imports make stays
    import pytest

    _keep_metadata_of_packages()
    names_of_fixtures = _NamesOfFixtures()
    with tempfile.TemporaryDirectory() as empty, open(os.devnull, "w") as nowhere:
        before = os.getcwd()
        os.chdir(empty)
        with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
            options = ["--collect-only", "-p", "no:cacheprovider", f"--rootdir={empty}"]
            pytest.main(options, plugins=[_PluginModules()])
        os.chdir(before)
    names_of_fixtures.keep_no_more()
    import caged

    for module in pkgutil.walk_packages(caged.__path__, "caged."):
        # caged._spans imports OpenTelemetry, after which each call would have a span; an integration its framework.
        is_left_out = ".inside" in module.name or module.name.startswith("caged.integrations.")
        if not is_left_out and not module.name.endswith(("__main__", "._spans")):
            importlib.import_module(module.name)
    for name in _LIBRARIES:
        with contextlib.suppress(ImportError):  # another release of a library does not have it
            importlib.import_module(name)
    with tempfile.TemporaryDirectory() as tempfile.tempdir, contextlib.suppress(Exception):
        _run_emulator_once()  # a test of what does not work reports it
    _clear_caches()
    tempfile.tempdir = None  # each program has its own TMPDIR
    # pytest does this for the first failure that it shows: the paths of all modules, kept by the module `inspect`.
    inspect.getmodule(compile("", "no file", "exec"))
    gc.collect()
    gc.freeze()  # the forks share these pages for longer
    gc.set_threshold(GC_ALLOCATIONS)
    gc.enable()


def _run_emulator_once() -> None:
    """Do what most programs do with an emulator, so that forks find it done: expressions of routes are compiled, types
    of requests are resolved, and modules are imported that are needed only then. That takes a tenth of the processor
    time of a run of pytest with one sandbox. No thread, process or file of it is left."""
    from caged import Caged
    from caged.emulator import Emulator

    with Emulator(isolation="process", cache=False, allow_unused=True) as emulator:
        with Caged(api_key=emulator.api_key, base_url=emulator.base_url) as client:
            sandbox = client.sandboxes.create(template="minimal")
            client.sandboxes.exec(sandbox.id, "true")
            client.files.write(sandbox.id, "/workspace/file", "text")
            client.files.read(sandbox.id, "/workspace/file")
            with emulator.faults.add("sandboxes.list", status=503, optional=True):
                pass
            emulator.journal.requests()
            client.sandboxes.destroy(sandbox.id)
            client.billing.get_subscription()  # an operation that few programs use


def _clear_caches() -> None:
    """Let no program use what the server found out about its own rights: it may go on as another user."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "caged":
            for value in list(vars(module).values()):
                if callable(getattr(value, "cache_clear", None)):
                    value.cache_clear()
