"""Shared by the tests of stubs."""

from __future__ import annotations

import pytest

#: For tests of shims as programs.
isolated = pytest.mark.parametrize("emulator", ["auto"], indirect=True)
#: For tests that depend on how shims are put into the sandbox.
at_every_level = pytest.mark.parametrize("emulator", ["namespace", "bwrap", "process"], indirect=True)
