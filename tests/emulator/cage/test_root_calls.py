"""The process that works on files of a sandbox's users, apart from what needs mapped users."""

from __future__ import annotations

import errno
import os

import pytest

from caged.emulator.cage.root_calls import RootCalls
from caged.emulator.cage.subordinate_ids import SubordinateIds


def test_call_after_close_starts_no_process() -> None:
    calls = RootCalls(SubordinateIds(((0, os.geteuid(), 1),), ((0, os.getegid(), 1),), "/bin/false", "/bin/false"))
    calls.close()
    with pytest.raises(OSError, match="has ended") as raised:
        calls.call(os.getpid)
    assert raised.value.errno == errno.ECANCELED
