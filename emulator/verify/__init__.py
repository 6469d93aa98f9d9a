"""Verify that a server conforms to the platform's contract: the API itself, an older emulator, or this one.

    from caged.emulator.verify import verify

    report = verify("http://127.0.0.1:4747", "caged_sk_local")
    print("\\n".join(report.lines()))

`check.py` defines a check, `checks/` has them by resource, `context.py` what they share, `cleanup.py` the removal of
what they create, `raw_client.py` the raw wire, and `run.py` runs them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .check import Check
    from .checks import CHECKS
    from .errors import Mismatch, SkipCheck, VerificationError
    from .report import Report, Result
    from .run import verify

__all__ = ["CHECKS", "Check", "Mismatch", "Report", "Result", "SkipCheck", "VerificationError", "verify"]

_MODULES = {"CHECKS": "checks", "Check": "check", "Report": "report", "Result": "report", "verify": "run"}


def __getattr__(name: str) -> Any:
    # Loaded on first use: `caged-emulator` lists its commands without loading what they need.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_MODULES.get(name, 'errors')}"), name)
