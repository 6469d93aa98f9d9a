"""The fixtures of tests of controls, for those of scenarios."""

from control_fixtures import *  # noqa: F403
