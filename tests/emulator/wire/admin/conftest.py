"""The fixtures of tests of controls, for those of the admin API."""

from control_fixtures import *  # noqa: F403
