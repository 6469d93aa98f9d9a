"""For tests of the controls: an account view with the other attributes of the emulator."""

from __future__ import annotations

from typing import Any

from caged.emulator.control_client.base_emulator import AccountView


class ScopedEmulator(AccountView):
    """Controls of the account, and all other attributes of the emulator."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.emulator, name)
