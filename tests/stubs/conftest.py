"""One emulator per worker and isolation level. Each test has its own account, to which the emulator's controls
apply."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Callable

import pytest
from levels import need
from scoped import ScopedEmulator

from caged import Caged
from caged.emulator import AccountInfo, Emulator, EmulatorError

Emulators = Callable[[str], Emulator]


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the emulator wait longer for the rest of a streamed command: a busy machine may pause between its lines."""
    monkeypatch.setattr("caged.emulator.platform.stream_transcript.LINES_SECONDS", 60.0)


@pytest.fixture(scope="session")
def emulators() -> Iterator[Emulators]:
    """Return the emulator of a level, started when first requested. Skips if this machine cannot have the level."""
    started: dict[str, Emulator] = {}

    def emulator(level: str) -> Emulator:
        if level not in started:
            if level != "auto":
                need(level)
            try:
                started[level] = Emulator(isolation=level).start()
            except EmulatorError as error:
                if level in ("auto", "process"):
                    raise
                pytest.skip(f"{level} isolation does not work here: {str(error).splitlines()[0]}")
        return started[level]

    yield emulator
    for emulator in started.values():
        emulator.stop()


@pytest.fixture(params=["process"])
def emulator(request: pytest.FixtureRequest, emulators: Emulators) -> Iterator[ScopedEmulator]:
    """The emulator with the controls of the test's account.

    What a stub does is the same at each level. For what depends on the level, tests parametrize this.
    """
    running = emulators(request.param)
    account = running.create_account()
    yield ScopedEmulator(running, account)
    running.remove_account(account.id)


@pytest.fixture
def account(emulator: ScopedEmulator) -> AccountInfo:
    return AccountInfo(emulator.id, emulator.api_key)


@pytest.fixture
def client(emulator: ScopedEmulator, account: AccountInfo) -> Iterator[Caged]:
    with emulator.client(account.api_key) as made:
        yield made


@pytest.fixture
def box(client: Caged) -> str:
    """A running sandbox."""
    return client.sandboxes.create(template="minimal").id
