"""The service of service.py for asyncio."""

from __future__ import annotations

from service import Repair

from caged import AsyncBoundSandbox, AsyncCaged, CagedAgentError, CagedSandboxError


async def repair(
    caged: AsyncCaged, repo: str, *, tests: str = "python3 -m unittest", prompts: int = 3, budget: float = 2.0
) -> Repair:
    """Let the agent repair a repository.

    Args:
        prompts: How often it may try; each try begins with the files of the first.
        budget: US dollars, above 0.
    """
    result = Repair()
    async with caged.sandboxes.open(template="python-312", repo=repo, agents=["claude"], budget=budget) as box:
        try:
            await attempt(box, tests, prompts, result)
        except (CagedAgentError, CagedSandboxError) as problem:  # the second, when the budget is used up
            result.problem = str(problem)
        result.cost = (await box.info()).total_cost
        if not result.passed:
            result.log = await box.logs()
    return result


async def attempt(box: AsyncBoundSandbox, tests: str, prompts: int, result: Repair) -> None:
    run = await box.run(tests, timeout=600)
    clean = await box.snapshot("before the agent")
    while not run.ok:
        if result.prompts == prompts:
            result.problem = f"the tests fail after {prompts} prompts"
            return
        if result.prompts:
            await box.restore(clean)
        result.prompts += 1
        prompt = f"Repair this, change no test:\n$ {tests}\n{(run.stdout + run.stderr)[-8000:]}"
        await box.agent("claude").ask(prompt, timeout=900)
        run = await box.run(tests, timeout=600)
    result.passed, result.diff = True, (await box.diff()).diff
