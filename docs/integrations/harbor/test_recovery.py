"""The platform does not run a command, the model reads why, and runs it again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from program import DONE
from scripted import run_trial


@pytest.mark.parametrize("fault", [{"status": 503}, {"drop": "before"}, {"unreachable": True}])
def test_agent_repeats_a_command_that_the_platform_did_not_run(
    caged_emulator: Any, tmp_path: Path, fault: dict[str, Any]
) -> None:
    def answers() -> Iterator[str]:
        # Only now, when Harbor has set up the sandbox.
        caged_emulator.faults.add("sandboxes.exec", times=1, **fault)
        yield "wc -l <words.txt >answer.txt"
        yield "wc -l <words.txt >answer.txt"
        yield DONE

    result, said = run_trial(answers(), tmp_path)

    assert "The command was not run" in said[1]
    assert "exit code 0" in said[2]
    assert result.verifier_result.rewards == {"reward": 1}
