"""The modules that run inside a sandbox are copied into it together with their bytecode."""

from __future__ import annotations

import marshal
import subprocess
import sys
from pathlib import Path

import pytest

from caged.emulator.cage import inside
from caged.emulator.cage.paths import Layout

#: Bytes before the code in a file of bytecode.
HEADER = 16


def test_bytecode_of_copied_modules_is_used_by_python(tmp_path: Path) -> None:
    source = Path(inside.__file__).parent
    layout = Layout(tmp_path / "box", mounted=True)
    layout.make()
    assert layout.copy_library() == "/opt/caged/lib"
    library = layout.opt / "lib" / "inside"
    assert {path.name for path in library.glob("*.py")} == {path.name for path in source.glob("*.py")}
    for module in source.glob("*.py"):
        cache = Path("__pycache__", f"{module.stem}.{sys.implementation.cache_tag}.pyc")
        if (source / cache).exists():
            copied, compiled = (library / cache).read_bytes(), (source / cache).read_bytes()
            assert copied[:HEADER] == compiled[:HEADER]
            # Not by their bytes: another process may have compiled it since, and the marks of references differ then.
            assert marshal.loads(copied[HEADER:]) == marshal.loads(compiled[HEADER:])
        # Python compares the time in whole seconds, and the size.
        copy, original = (library / module.name).stat(), module.stat()
        assert (copy.st_mtime_ns, copy.st_size) == (original.st_mtime_ns, original.st_size)


@pytest.mark.parametrize("modules", [("shim",), ("fetch",), ()], ids=" ".join)
def test_copied_modules_can_be_imported_without_their_origin(tmp_path: Path, modules: tuple[str, ...]) -> None:
    layout = Layout(tmp_path / "box", mounted=True)
    layout.make()
    layout.copy_library(*modules)
    path = str(layout.opt / "lib")
    module = modules[0] if modules else "startup"
    code = f"import sys; sys.path.insert(0, {path!r}); from inside import {module} as it; print(it.__file__)"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, timeout=60, check=True, cwd="/"
    )
    assert done.stdout.strip() == str(layout.opt / "lib" / "inside" / f"{module}.py")
    if modules:
        copied = {path.stem for path in (layout.opt / "lib" / "inside").glob("*.py")}
        assert copied == {"__init__", *modules}


def test_copying_more_modules_keeps_earlier_ones(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "box", mounted=True)
    layout.make()
    library = layout.opt / "lib" / "inside"
    layout.copy_library("shim")
    first = (library / "shim.py").stat().st_ino
    layout.copy_library("fetch")
    layout.copy_library()
    assert (library / "shim.py").stat().st_ino == first, "a module that is there may be in use"
    assert (library / "startup.py").exists()
    assert not [path for path in library.iterdir() if path.suffix not in (".py", ".pl", "")]
