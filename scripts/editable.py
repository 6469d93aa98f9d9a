"""Let static type checkers find an editable install: `python scripts/editable.py`, with the virtualenv's Python.

`pip install -e .` maps `caged.emulator` to the folder `emulator/` by an import hook, because the folders of the
checkout are not laid out as the packages are. mypy and pyright do not run import hooks. This script makes a directory
`caged` of symbolic links in the virtualenv (not in site-packages, where a later install would write through them), and
a `.pth` file leads checkers to it. Python itself goes on using the import hook, which the `.pth` file moves to the
front, so that tracebacks and debuggers name the files of the checkout.

Quick and harmless to repeat; `scripts/install` runs it each time, so that new files are linked.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: Sorts after setuptools' own `__editable__.caged-*.pth`, and so is executed after it.
PTH = "caged_editable.pth"
HOOK_FIRST = (
    "import sys; sys.meta_path.sort(key=lambda f: not getattr(f, '__module__', '').startswith('__editable___caged_'))\n"
)


def links(root: Path = ROOT) -> dict[str, Path]:
    """The entries of the package `caged` as it is installed, each with its place in the checkout."""
    entries = {path.name: path for path in (root / "caged").iterdir() if path.name != "__pycache__"}
    return {**entries, "emulator": root / "emulator", "pytest_plugin": root / "pytest_plugin"}


def link(prefix: Path, site_packages: Path, root: Path = ROOT) -> None:
    """Make the directory of links, or bring it up to date.

    Args:
        prefix: The virtualenv.
        site_packages: Its directory of packages.
        root: The checkout.
    """
    package = prefix / "checkout" / "caged"
    package.mkdir(parents=True, exist_ok=True)
    wanted = links(root)
    for entry in package.iterdir():
        if entry.is_symlink() and (entry.name not in wanted or Path(os.readlink(entry)) != wanted[entry.name]):
            entry.unlink()
    for name, target in wanted.items():
        if not (package / name).is_symlink():
            (package / name).symlink_to(target)
    pth, content = site_packages / PTH, f"{HOOK_FIRST}{package.parent}\n"
    if not pth.exists() or pth.read_text() != content:  # it may belong to another user
        pth.write_text(content)


if __name__ == "__main__":
    if sys.prefix == sys.base_prefix:
        raise SystemExit("run this with the Python of a virtualenv")
    link(Path(sys.prefix), Path(sysconfig.get_path("purelib")))
