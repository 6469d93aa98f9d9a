"""A scenario: a file that describes what an emulator or an account starts with.

`read` checks the file and resolves the files that it names; `applying.apply` makes what it describes, on the emulator's
event loop."""

from .loaded_scenario import LoadedScenario
from .reading import Scenario, read
from .schema import ScenarioError

__all__ = ["LoadedScenario", "Scenario", "ScenarioError", "read"]
