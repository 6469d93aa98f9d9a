"""A scenario: a file that says what an emulator has to start with."""

from .applying import Loaded, apply
from .reading import Scenario, ScenarioError, read

__all__ = ["Loaded", "Scenario", "ScenarioError", "apply", "read"]
