"""A task whose model works in a sandbox, and whose scorer runs there what it has written.

Run it with ``inspect eval program.py --model anthropic/claude-opus-5-5``.
"""

from __future__ import annotations

from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.scorer import CORRECT, INCORRECT, Score, Scorer, Target, accuracy, scorer
from inspect_ai.solver import TaskState, generate, use_tools
from inspect_ai.tool import bash
from inspect_ai.util import sandbox

WORDS = Sample(
    input="Write answer.sh. It has to print the number of lines of words.txt.",
    target="3",
    files={"words.txt": "one\ntwo\nthree\n"},
)


@scorer(metrics=[accuracy()])
def prints() -> Scorer:
    async def score(state: TaskState, target: Target) -> Score:
        result = await sandbox().exec(["sh", "answer.sh"], timeout=60)
        return Score(value=CORRECT if result.stdout.strip() == target.text else INCORRECT, explanation=result.stderr)

    return score


@task
def count() -> Task:
    return Task(
        dataset=[WORDS],
        solver=[use_tools(bash(timeout=60)), generate()],
        scorer=prints(),
        sandbox="caged",
    )
