"""Imports go one way: no layer imports one above it, and no modules import each other in a circle.

All imports count, also those inside of functions and below `if TYPE_CHECKING`. The layers are described in
docs/architecture.md.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = {"caged": "caged", "emulator": "caged.emulator", "pytest_plugin": "caged.pytest_plugin"}

#: The lowest layer first. A name is a package below caged.emulator or a module of it; `sdk` is all of caged but its
#: emulator and plugin, `api` the names that `import caged.emulator` offers. A layer may import itself and those below.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("sdk",),
    ("verify", "cage.inside", "cache.location", "truncation"),
    (
        "history",
        "json_values",
        "pace",
        "descriptors",
        "control",
        "logfile",
        "listener",
        "connections",
        "browser",
        "output_file",
        "regular_file",
        "writes",
    ),
    ("emulator_log", "trace"),
    ("workers", "discovery"),
    ("repositories",),
    ("cage",),
    ("cache", "config", "store"),
    ("platform", "listening_socket", "run_directory"),
    ("persistence", "composition", "doctor", "isolation_choice", "scenario"),
    ("wire", "half_closed", "http_protocol", "websocket_protocol"),
    ("inspector",),
    ("app", "server"),
    ("control_client",),
    ("runtime",),
    ("emulator",),
    ("api",),
    ("demo",),
    ("cli",),
    ("__main__", "plugin"),
)


def _modules() -> dict[str, Path]:
    found = {}
    for folder, package in FOLDERS.items():
        for path in (ROOT / folder).rglob("*.py"):
            parts = [package, *path.relative_to(ROOT / folder).with_suffix("").parts]
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = _modules()


def _module(name: str) -> str:
    """The module that a name is in; empty when it is not one of ours."""
    while name and name not in MODULES:
        name = name.rpartition(".")[0]
    return name


def _imported_names(module: str, path: Path) -> Iterator[str]:
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{source}.{alias.name}" for alias in node.names)


@functools.cache
def _imports() -> dict[str, set[str]]:
    graph = {}
    for module, path in MODULES.items():
        names = (name for name in _imported_names(module, path) if name.split(".")[0] == "caged")
        graph[module] = {_module(name) for name in names} - {module, ""}
    return graph


def layer_name(module: str) -> str:
    parts = module.split(".")
    if parts[:2] == ["caged", "pytest_plugin"]:
        return "plugin"
    if parts[:2] != ["caged", "emulator"]:
        return "sdk"
    if len(parts) == 2:
        return "api"
    part = ".".join(parts[2:4])
    return part if part in ("cage.inside", "cache.location") else parts[2]


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The groups of modules that import each other, directly or through others."""
    reachable = {module: _reachable(graph, module) for module in graph}
    groups = {
        tuple(sorted(other for other in reachable[module] if module in reachable.get(other, ())))
        for module in graph
        if module in reachable[module]
    }
    return [list(group) for group in sorted(groups)]


def _reachable(graph: dict[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    open_ends = [start]
    while open_ends:
        for module in graph.get(open_ends.pop(), ()):
            if module not in seen:
                seen.add(module)
                open_ends.append(module)
    return seen


def test_every_module_has_a_layer() -> None:
    known = {name for layer in LAYERS for name in layer}
    unknown = sorted({layer_name(module) for module in MODULES} - known)
    assert unknown == [], f"not in LAYERS of {Path(__file__).name}: {', '.join(unknown)}; add them where they belong"


def test_every_layer_has_a_module() -> None:
    stale = sorted({name for layer in LAYERS for name in layer} - {layer_name(module) for module in MODULES})
    assert stale == [], f"LAYERS names modules that do not exist: {', '.join(stale)}; remove them"
    names = [name for layer in LAYERS for name in layer]
    assert len(names) == len(set(names)), "a name stands in two layers; the higher one would count"


def test_modules_import_their_own_layer_and_those_below() -> None:
    level = {name: number for number, layer in enumerate(LAYERS) for name in layer}
    upwards = [
        f"{module} imports {imported}: layer {layer_name(imported)!r} is above {layer_name(module)!r}"
        for module, imports in sorted(_imports().items())
        for imported in sorted(imports)
        if level[layer_name(imported)] > level[layer_name(module)]
    ]
    assert upwards == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert circles(_imports()) == []


def test_a_circle_is_found() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}
    assert circles(graph) == [["b", "c"]]


def test_imports_in_functions_and_for_type_checkers_count(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .store import Store\n"
        "def f():\n    from ..app import build\n    import caged.emulator.config\n"
    )
    names = set(_imported_names("caged.emulator.platform.module", path))
    assert names >= {"caged.emulator.platform.store.Store", "caged.emulator.app.build", "caged.emulator.config"}
