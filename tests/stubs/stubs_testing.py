"""What the tests of stubs share."""

from __future__ import annotations

import pytest

#: For tests in which it matters how the emulator's programs come into the sandbox.
at_every_level = pytest.mark.parametrize("emulator", ["namespace", "bwrap", "process"], indirect=True)
