"""Trials with scripted answers in place of a model's."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import program
from harbor.models.trial.config import AgentConfig, EnvironmentConfig, TaskConfig, TrialConfig
from harbor.trial.trial import Trial

COUNT = Path(__file__).parent / "count"


class ScriptedEngineer(program.Engineer):
    """Takes its commands from `answers`, one when each is needed, and keeps what the model would have read."""

    answers: ClassVar[Iterator[str]] = iter(())
    said: ClassVar[list[str]] = []

    async def next_command(self, said: list[str]) -> str:
        ScriptedEngineer.said = said
        return next(ScriptedEngineer.answers)


def run_trial(answers: Iterator[str], folder: Path) -> tuple[Any, list[str]]:
    """Run the task. Returns Harbor's result, and what the model has read."""
    ScriptedEngineer.answers = answers
    config = TrialConfig(
        task=TaskConfig(path=COUNT),
        trials_dir=folder,
        agent=AgentConfig(import_path="scripted:ScriptedEngineer"),
        environment=EnvironmentConfig(import_path="caged.integrations.harbor:CagedEnvironment"),
    )

    async def run() -> Any:
        return await (await Trial.create(config)).run()

    return asyncio.run(run()), ScriptedEngineer.said
