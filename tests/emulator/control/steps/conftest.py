"""Clients with accounts of their own, whose steps the tests look at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from emulator_testing import Api, api_of

from caged.emulator import Emulator


@pytest.fixture
def new_api(emulator: Emulator) -> Iterator[Callable[[], Api]]:
    """Makes clients with accounts of their own, which are gone after the test."""
    made: list[Api] = []

    def make() -> Api:
        made.append(api_of(emulator))
        return made[-1]

    yield make
    for one in made:
        one.close()
        if any(account.id == one.account_id for account in emulator.accounts()):
            emulator.remove_account(one.account_id)


@pytest.fixture
def api(new_api: Callable[[], Api]) -> Api:
    return new_api()


@pytest.fixture
def box(api: Api) -> str:
    return api.sandbox()


@pytest.fixture
def controls(api: Api) -> Any:
    """The controls of the account."""
    return api.emulator.for_account(api.account_id)
