"""Imported first by the scripts that are written in Python: they continue in the project's virtualenv."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def enter_venv() -> None:
    """Continue in .venv (or $VENV), which `scripts/install` makes or brings up to date first."""
    venv = Path(os.environ.get("VENV") or ROOT / ".venv")
    if os.environ.get("CAGED_SCRIPT_IN_VENV") == str(venv):
        del os.environ["CAGED_SCRIPT_IN_VENV"]
        return
    subprocess.run([ROOT / "scripts" / "install"], check=True)
    os.environ["CAGED_SCRIPT_IN_VENV"] = str(venv)
    python = str(venv / "bin" / "python")
    os.execv(python, [python, *sys.argv])


enter_venv()
