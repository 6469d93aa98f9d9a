"""Your code asks again until the agent is done, or gives up after three times."""

from typing import Optional

from caged import Caged, Sandbox
from caged.emulator import AccountView, Reply


def until_done(client: Caged, box: Sandbox, prompt: str) -> Optional[int]:  # code under test
    for tries in range(1, 4):
        if client.sandboxes.exec(box.id, f'claude -p "{prompt}"').output == "DONE\n":
            return tries
    return None


def test_it_asks_until_the_agent_is_done(caged: Caged, caged_emulator: AccountView) -> None:
    box = caged.sandboxes.create(agents=["claude"])
    caged_emulator.agent("claude").replies(["Which file?", Reply("overloaded", exit_code=1), "DONE"])
    assert until_done(caged, box, "Fix it") == 3


def test_it_gives_up(caged: Caged, caged_emulator: AccountView) -> None:
    box = caged.sandboxes.create(agents=["claude"])
    caged_emulator.agent("claude").reply("Which file?")
    assert until_done(caged, box, "Fix it") is None
    assert len(caged_emulator.agent("claude").prompts) == 3
