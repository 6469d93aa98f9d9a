"""An agent service: an agent repairs a repository until its tests pass, in a sandbox, within a budget."""

from __future__ import annotations

from dataclasses import dataclass, field

from caged import BoundSandbox, Caged, CagedAgentError, CagedSandboxError, LogEntry


@dataclass
class Repair:
    """What came out of it.

    Attributes:
        passed: Whether the tests pass.
        prompts: How many prompts the agent got.
        diff: What it changed, with `passed` only.
        cost: US dollars, machine time included.
        problem: Why it was given up.
        log: The sandbox's log, if it was given up.
    """

    passed: bool = False
    prompts: int = 0
    diff: str = ""
    cost: float = 0.0
    problem: str = ""
    log: list[LogEntry] = field(default_factory=list)


def repair(
    caged: Caged, repo: str, *, tests: str = "python3 -m unittest", prompts: int = 3, budget: float = 2.0
) -> Repair:
    """Let the agent repair a repository.

    Args:
        prompts: How often it may try; each try begins with the files of the first.
        budget: US dollars, above 0.
    """
    result = Repair()
    with caged.sandboxes.open(template="python-312", repo=repo, agents=["claude"], budget=budget) as box:
        try:
            attempt(box, tests, prompts, result)
        except (CagedAgentError, CagedSandboxError) as problem:  # the second, when the budget is used up
            result.problem = str(problem)
        result.cost = box.info().total_cost
        if not result.passed:
            result.log = box.logs()
    return result


def attempt(box: BoundSandbox, tests: str, prompts: int, result: Repair) -> None:
    run = box.run(tests, timeout=600)
    clean = box.snapshot("before the agent")
    while not run.ok:
        if result.prompts == prompts:
            result.problem = f"the tests fail after {prompts} prompts"
            return
        if result.prompts:
            box.restore(clean)
        result.prompts += 1
        prompt = f"Repair this, change no test:\n$ {tests}\n{(run.stdout + run.stderr)[-8000:]}"
        box.agent("claude").ask(prompt, timeout=900)
        run = box.run(tests, timeout=600)
    result.passed, result.diff = True, box.diff().diff
