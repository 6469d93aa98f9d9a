"""The fixtures of tests of controls, for those of the controls."""

from control_fixtures import *  # noqa: F403
