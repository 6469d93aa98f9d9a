"""For tests of the controls: a view of an account that has the rest of the emulator, too."""

from __future__ import annotations

from typing import Any

from caged.emulator.control_client.base_emulator import AccountView


class ScopedEmulator(AccountView):
    """The controls are those of the account; everything else is the emulator's."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.emulator, name)
