"""Tasks as ``harbor init`` makes them, run by ``harbor run``: with the verifier in the same sandbox, and in another.

Harbor has no suite for environments.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from caged import Caged

HARBOR = str(Path(sys.executable).with_name("harbor"))
SOLUTION = "#!/bin/bash\necho 42 >answer.txt\n"
VERIFIER = """\
#!/bin/bash
if [ "$(cat /app/answer.txt)" = 42 ]; then echo 1; else echo 0; fi >/logs/verifier/reward.txt
"""


def harbor(*arguments: str, cwd: Path) -> str:
    environment = {**os.environ, "HARBOR_TELEMETRY": "0"}
    command = [HARBOR, *arguments]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def write(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def make_task(folder: Path, verifier: str, *options: str) -> Path:
    harbor("init", "demo/task", "--task", "--no-pytest", "--verifier-mode", verifier, *options, cwd=folder)
    settings = folder / "task" / "task.toml"
    # The verifier in another sandbox gets what is listed here.
    settings.write_text(settings.read_text().replace("artifacts = []", 'artifacts = ["/app/answer.txt"]'))
    return folder / "task"


def run(task: Path, agent: str) -> dict[str, Any]:
    environment = "caged.integrations.harbor:CagedEnvironment"
    harbor("run", "-p", str(task), "-a", agent, "--env", environment, "-o", "jobs", "--quiet", "--yes", cwd=task.parent)
    [result] = list(task.parent.glob("jobs/*/*/result.json"))
    read: dict[str, Any] = json.loads(result.read_text())
    return read


@pytest.mark.parametrize("verifier", ["shared", "separate"])
@pytest.mark.parametrize(("agent", "reward"), [("oracle", 1), ("nop", 0)])
def test_task_gets_the_reward(caged: Caged, tmp_path: Path, verifier: str, agent: str, reward: int) -> None:
    task = make_task(tmp_path, verifier)
    write(task / "solution" / "solve.sh", SOLUTION)
    write(task / "tests" / "test.sh", VERIFIER)

    result = run(task, agent)

    assert result["exception_info"] is None
    assert result["verifier_result"]["rewards"] == {"reward": reward}
    assert caged.sandboxes.list() == []


def test_task_of_two_steps(caged: Caged, tmp_path: Path) -> None:
    task = make_task(tmp_path, "shared", "--steps", "2")
    for number, step in enumerate(sorted((task / "steps").iterdir())):
        write(step / "solution" / "solve.sh", f"#!/bin/bash\necho step {number} >>/app/steps\n")
        expected = "\\n".join(f"step {done}" for done in range(number + 1))
        check = f"""[ "$(cat /app/steps)" = "$(printf '{expected}')" ]"""
        write(step / "tests" / "test.sh", f"#!/bin/bash\n{check} && echo 1 >/logs/verifier/reward.txt\n")

    result = run(task, "oracle")

    assert result["exception_info"] is None
    assert [step["verifier_result"]["rewards"] for step in result["step_results"]] == [{"reward": 1}] * 2
    assert caged.sandboxes.list() == []


def test_network_of_a_task(caged: Caged, caged_emulator: Any, tmp_path: Path) -> None:
    task = make_task(tmp_path, "shared")
    settings = task / "task.toml"
    settings.write_text(settings.read_text().replace('network_mode = "public"', 'network_mode = "no-network"'))
    write(task / "solution" / "solve.sh", SOLUTION)
    write(task / "tests" / "test.sh", VERIFIER)

    assert run(task, "oracle")["verifier_result"]["rewards"] == {"reward": 1}

    [created] = caged_emulator.journal.requests(operation="sandboxes.create")
    assert created.json()["network_mode"] == "none"
