"""The platform fails while the model works. The model sees it as an error of its tool, and tries again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import eval
from inspect_ai.model import ModelOutput
from program import count
from scripted_model import answer, command, scripted


@pytest.mark.parametrize("fault", [{"status": 503}, {"drop": "before"}, {"unreachable": True}])
def test_model_tries_again_after_a_fault(caged_emulator: Any, tmp_path: Path, fault: dict[str, Any]) -> None:
    def outputs() -> Iterator[ModelOutput]:
        # Only now, when Inspect has set up the sandbox.
        caged_emulator.faults.add("sandboxes.exec", times=1, **fault)
        yield command("echo 'wc -l <words.txt' >answer.sh")
        yield command("echo 'wc -l <words.txt' >answer.sh")
        yield answer("Done.")

    [log] = eval(count(), model=scripted(outputs()), display="none", log_dir=str(tmp_path))

    assert log.status == "success", log.error
    assert log.results
    assert log.samples
    assert log.results.scores[0].metrics["accuracy"].value == 1
    results = [message for message in log.samples[0].messages if message.role == "tool"]
    assert [message.error and message.error.type for message in results] == ["sandbox_unavailable", None]
