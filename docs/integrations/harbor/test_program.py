"""The agent works in a sandbox of the emulator, with scripted answers: no tokens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from program import DONE
from scripted import run_trial

from caged import Caged


def test_agent_solves_the_task(caged: Caged, tmp_path: Path) -> None:
    def answers() -> Iterator[str]:
        yield "pwd; wc -l <words.txt >answer.txt"
        yield DONE

    result, said = run_trial(answers(), tmp_path)

    assert result.exception_info is None
    assert result.verifier_result.rewards == {"reward": 1}
    assert said[1].endswith("exit code 0\n/app\n")
    assert caged.sandboxes.list() == []  # it is destroyed


def test_wrong_answer_gets_no_reward(caged: Caged, tmp_path: Path) -> None:
    def answers() -> Iterator[str]:
        yield "echo 4 >answer.txt"
        yield DONE

    result, _ = run_trial(answers(), tmp_path)

    assert result.verifier_result.rewards == {"reward": 0}
