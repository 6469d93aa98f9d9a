"""A local emulator of the Caged platform: the same HTTP API, sandboxes as real processes in temp directories.

    from caged.emulator import Emulator

    with Emulator() as emulator:
        sandbox = emulator.client().sandboxes.create()

Needs the extra: `pip install 'caged[emulator]'`.
"""

from __future__ import annotations

try:
    import pydantic as _pydantic  # noqa: F401
    import starlette as _starlette  # noqa: F401
    import uvicorn as _uvicorn  # noqa: F401
except ImportError as _error:
    raise ImportError(
        f"the emulator needs {_error.name!r}; install it with: pip install 'caged[emulator]'"
    ) from _error

from .config import ConfigError, EmulatorConfig
from .double.double import Account
from .double.link import EmulatorError
from .double.remote import RemoteEmulator
from .emulator import Emulator

__all__ = ["Account", "ConfigError", "Emulator", "EmulatorConfig", "EmulatorError", "RemoteEmulator"]
