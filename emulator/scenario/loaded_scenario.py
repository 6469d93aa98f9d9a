"""The result of a scenario."""

from __future__ import annotations

import re
from dataclasses import dataclass, field


@dataclass
class LoadedScenario:
    """The result of loading a scenario.

    Attributes:
        sandboxes: Ids of sandboxes by their `name`; one without a name is `sandbox-1`, `sandbox-2`, … by its position.
        keys: Secrets of API keys by their `name`.
        added: Paths to DELETE below `/_emulator` to remove its controls (also `/clock`), oldest first.
    """

    sandboxes: dict[str, str] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    added: list[str] = field(default_factory=list)

    def variables(self) -> dict[str, str]:
        """The same as environment variables: CAGED_SANDBOX_WEB, CAGED_KEY_READER."""
        every = [("CAGED_SANDBOX", self.sandboxes), ("CAGED_KEY", self.keys)]
        return {
            f"{prefix}_{re.sub('[^A-Z0-9]', '_', name.upper())}": value
            for prefix, made in every
            for name, value in made.items()
        }
