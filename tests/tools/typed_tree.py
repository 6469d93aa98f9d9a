"""A virtual environment for static checkers in which the three folders are as in an installation.

An editable installation finds `caged.emulator` by an import hook, which checkers do not run; and checkers ignore
`py.typed` in the source directories that they are given.
"""

from __future__ import annotations

import shutil
import sysconfig
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def make(target: Path) -> Path:
    """Make the environment at `target`, over the packages of the running one, and return its interpreter."""
    venv.create(target, symlinks=True, with_pip=False)
    (site,) = target.glob("lib/python*/site-packages")
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "caged", site / "caged", ignore=ignore)
    shutil.copytree(ROOT / "emulator", site / "caged" / "emulator", ignore=ignore)
    shutil.copytree(ROOT / "pytest_plugin", site / "caged" / "pytest_plugin", ignore=ignore)
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return target / "bin" / "python"
