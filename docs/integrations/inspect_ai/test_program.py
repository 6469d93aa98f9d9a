"""The task in a sandbox of the emulator, with a scripted model and no tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from inspect_ai import eval
from program import count
from scripted_model import answer, command, scripted

from caged import Caged


def test_model_solves_the_task_in_a_sandbox(caged: Caged, tmp_path: Path) -> None:
    model = scripted([command("echo 'wc -l <words.txt' >answer.sh; pwd"), answer("Done.")])

    [log] = eval(count(), model=model, display="none", log_dir=str(tmp_path))

    assert log.status == "success", log.error
    assert log.results
    assert log.samples
    assert log.results.scores[0].metrics["accuracy"].value == 1
    assert [message.text for message in log.samples[0].messages if message.role == "tool"] == ["/workspace\n"]
    assert caged.sandboxes.list() == []


def test_wrong_answer_is_scored_as_such(caged_emulator: Any, tmp_path: Path) -> None:
    [log] = eval(count(), model=scripted([answer("It is 3.")]), display="none", log_dir=str(tmp_path))

    assert log.results
    assert log.results.scores[0].metrics["accuracy"].value == 0
