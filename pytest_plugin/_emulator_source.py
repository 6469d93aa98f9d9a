"""Where a run's emulator comes from: started by this process, already running, or shared by xdist's workers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Union

import pytest

from ._target import EMULATOR_INPUT, TARGET, Target

if TYPE_CHECKING:
    from caged.emulator import Emulator, RemoteEmulator

    AnyEmulator = Union[Emulator, RemoteEmulator]

_SHARED: pytest.StashKey[Emulator] = pytest.StashKey()


@contextmanager
def opened(target: Target) -> Iterator[AnyEmulator]:
    """Start this process's emulator, or connect to the one that runs already.

    Raises:
        pytest.UsageError: The running one cannot be used; the text says why.
    """
    if target.emulator_url is not None:
        from ._attached_emulator import attached

        with attached(target) as remote:
            yield remote
        return
    from caged.emulator import Emulator

    # Each test and each factory account reports its own.
    with Emulator(isolation=target.isolation, allow_unused=True) as emulator:
        yield emulator


def share(config: pytest.Config, workerinput: dict[str, Any]) -> None:
    """Pass a worker of xdist the address of the shared emulator. Called in the controller, which starts it once."""
    target = config.stash[TARGET]
    if target.live or target.emulator_url is not None:
        return
    emulator = config.stash.get(_SHARED, None)
    if emulator is None:
        from caged.emulator import Emulator

        emulator = config.stash[_SHARED] = Emulator(isolation=target.isolation).start()
        config.add_cleanup(emulator.stop)
    workerinput[EMULATOR_INPUT] = (emulator.base_url, emulator.admin_key)
