"""Which emulator a run works with: one of its own, one that runs already, or one that xdist's workers share."""

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
    """For this process. pytest.UsageError when one that runs already cannot be used."""
    if target.emulator_url is not None:
        from ._attached import attached

        with attached(target) as remote:
            yield remote
        return
    from caged.emulator import Emulator

    # Each test and each factory account reports its own.
    with Emulator(isolation=target.isolation, allow_unused=True) as emulator:
        yield emulator


def share(config: pytest.Config, workerinput: dict[str, Any]) -> None:
    """In the controller of xdist, for each worker: tells it of the emulator, which the first one starts."""
    target = config.stash[TARGET]
    if target.live or target.emulator_url is not None:
        return
    emulator = config.stash.get(_SHARED, None)
    if emulator is None:
        from caged.emulator import Emulator

        emulator = config.stash[_SHARED] = Emulator(isolation=target.isolation).start()
        config.add_cleanup(emulator.stop)
    workerinput[EMULATOR_INPUT] = (emulator.base_url, emulator.admin_key)
