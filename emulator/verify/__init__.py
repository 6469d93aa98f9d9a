"""Whether a server that claims to be the platform keeps to the platform's contract: the API itself, an older emulator,
or this one.

    from caged.emulator.verify import verify

    report = verify("http://127.0.0.1:4747", "caged_sk_local")
    print("\\n".join(report.lines()))

`check.py` says what a check is, `checks/` has them by resource, `context.py` what they share and how it is undone,
`wire.py` the raw wire, `run.py` makes them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .check import CannotRun, Check, Different, Unchecked
    from .checks import CHECKS
    from .report import Report, Result
    from .run import verify

__all__ = ["CHECKS", "CannotRun", "Check", "Different", "Report", "Result", "Unchecked", "verify"]

_HOMES = {"CHECKS": "checks", "Report": "report", "Result": "report", "verify": "run"}


def __getattr__(name: str) -> Any:
    # When it is asked for: `caged-emulator` names its commands without loading what they need.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'check')}"), name)
