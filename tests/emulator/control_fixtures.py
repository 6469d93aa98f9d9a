"""Fixtures of the folders whose tests use controls, for their conftest.py: one emulator per worker for all of them, and
an account of its own per test, so that no control of a test applies to another test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from scoped import ScopedEmulator

from caged import Caged, _timing
from caged.emulator import AccountInfo, Emulator
from caged.emulator.control_client.base_emulator import BaseEmulator
from caged.emulator.control_client.remote import RemoteEmulator

__all__ = (
    "account",
    "admin",
    "api",
    "box",
    "client",
    "double",
    "either",
    "emulator",
    "new_account",
    "other",
    "patient",
    "remote_emulator",
)


@pytest.fixture(scope="session")
def emulator(controlled_emulator: Emulator) -> Emulator:
    return controlled_emulator


@pytest.fixture(scope="session")
def remote_emulator(emulator: Emulator) -> Iterator[RemoteEmulator]:
    """The same one, by its URL."""
    with RemoteEmulator(emulator.base_url, emulator.admin_key) as remote:
        yield remote


@pytest.fixture
def new_account(emulator: Emulator) -> Iterator[Callable[[], AccountInfo]]:
    """Makes accounts that are gone after the test."""
    made: list[AccountInfo] = []

    def make() -> AccountInfo:
        made.append(emulator.create_account())
        return made[-1]

    yield make
    for account in made:
        emulator.remove_account(account.id)


@pytest.fixture
def account(new_account: Callable[[], AccountInfo]) -> AccountInfo:
    return new_account()


@pytest.fixture
def other(new_account: Callable[[], AccountInfo]) -> AccountInfo:
    """Another account on the same emulator."""
    return new_account()


@pytest.fixture
def double(emulator: Emulator, account: AccountInfo) -> ScopedEmulator:
    """The emulator, with the controls of the account."""
    return ScopedEmulator(emulator, account)


@pytest.fixture(params=["local", "remote"])
def either(request: pytest.FixtureRequest, emulator: Emulator, account: AccountInfo) -> ScopedEmulator:
    """`double`, held in this process and then by URL."""
    chosen: BaseEmulator = emulator if request.param == "local" else request.getfixturevalue("remote_emulator")
    return ScopedEmulator(chosen, account)


def raw_client(emulator: BaseEmulator, key: str, **options: Any) -> httpx.Client:
    headers = {"Authorization": f"Bearer {key}"}
    options = {"timeout": 60, "trust_env": False, "verify": False, **options}
    return httpx.Client(base_url=emulator.base_url, headers=headers, **options)


@pytest.fixture
def client(emulator: Emulator, account: AccountInfo) -> Iterator[Caged]:
    """The SDK as the account. Without retries, so that one call is one call."""
    with Caged(account.api_key, emulator.base_url, timeout=60, max_retries=0) as caged:
        yield caged


@pytest.fixture
def patient(
    emulator: Emulator, account: AccountInfo, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Caged, list[float]]]:
    """The SDK as it comes, with retries; and how long it would have waited before each."""
    waits: list[float] = []
    monkeypatch.setattr(_timing, "sleep", waits.append)
    with Caged(account.api_key, emulator.base_url, timeout=60) as caged:
        yield caged, waits


@pytest.fixture
def api(emulator: Emulator, account: AccountInfo) -> Iterator[httpx.Client]:
    """The wire as the account; paths begin with /v1."""
    with raw_client(emulator, account.api_key) as raw:
        yield raw


@pytest.fixture
def admin(emulator: Emulator, account: AccountInfo) -> Iterator[httpx.Client]:
    """The emulator's own calls, about the account; paths begin with /_emulator."""
    with raw_client(emulator, emulator.admin_key, params={"account": account.id}) as raw:
        yield raw


@pytest.fixture
def box(client: Caged) -> str:
    """A running sandbox."""
    return client.sandboxes.create(template="minimal").id
