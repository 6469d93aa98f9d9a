"""The tests of both forms of the service: real git, real commands, an agent with scripted replies."""

from __future__ import annotations

import asyncio
from typing import Any, Callable

import async_service
import pytest
import service
from service import Repair

from caged import CagedSandboxError
from caged.emulator import Reply

URL = "https://github.com/acme/calc"
WRONG = "def add(a, b):\n    return a - b\n"
RIGHT = "def add(a, b):\n    return a + b\n"
FILES = {
    "calc.py": WRONG,
    "test_calc.py": (
        "import unittest\nfrom calc import add\n\n\n"
        "class Test(unittest.TestCase):\n    def test(self):\n        self.assertEqual(add(2, 2), 4)\n"
    ),
}


@pytest.fixture(params=["blocking", "asyncio"])
def repair(request: pytest.FixtureRequest, caged: Any, async_caged: Any) -> Callable[..., Repair]:
    if request.param == "blocking":
        return lambda **options: service.repair(caged, URL, **options)
    return lambda **options: asyncio.run(async_service.repair(async_caged, URL, **options))


def test_second_prompt_succeeds_from_clean_files(repair: Any, caged_emulator: Any) -> None:
    caged_emulator.repos.add(URL, FILES)
    caged_emulator.agent("claude").reply(
        "Done.", files={"calc.py": "syntax error", "scrap.txt": ""}, cost_usd=0.2, times=1
    )
    caged_emulator.agent("claude").reply("Added.", files={"calc.py": RIGHT}, cost_usd=0.3)
    done = repair()
    assert (done.passed, done.prompts, done.problem) == (True, 2, "")
    assert "+    return a + b" in done.diff
    assert 0.5 <= done.cost < 0.6
    assert "AssertionError: 0 != 4" in caged_emulator.journal.prompts()[0].prompt
    assert caged_emulator.inventory.sandboxes() == []


def test_it_is_given_up_after_the_last_prompt(repair: Any, caged_emulator: Any) -> None:
    caged_emulator.repos.add(URL, FILES)
    caged_emulator.agent("claude").reply("I did nothing.")
    done = repair(prompts=2)
    assert (done.passed, done.prompts, done.problem) == (False, 2, "the tests fail after 2 prompts")
    assert done.log


def test_the_budget_ends_it(repair: Any, caged_emulator: Any) -> None:
    caged_emulator.repos.add(URL, FILES)

    def expensive(prompt: str, sandbox: Any) -> Reply:
        caged_emulator.spend(sandbox, 2.5)
        caged_emulator.clock.tick()  # the pause follows at once, not within a second
        return Reply("Expensive.")

    caged_emulator.agent("claude").reply(expensive)
    done = repair(budget=1.0)
    assert (done.passed, done.prompts) == (False, 1)
    assert "its budget of $1.00 was used up" in done.problem
    assert done.cost >= 2.5


def test_a_repository_that_cannot_be_cloned_is_an_error(repair: Any, caged_emulator: Any) -> None:
    caged_emulator.repos.add("https://github.com/acme/other", {"a": "b"}, optional=True)
    with pytest.raises(CagedSandboxError, match="acme/calc"):
        repair()
