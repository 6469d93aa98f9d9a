"""The cost of a sandbox, and the marks of its budget. `scheduler.py` acts on the marks: alerts, pause, destroy."""

from __future__ import annotations

import math

from ..store import AgentSession, Sandbox
from . import limits


def per_second(sandbox: Sandbox) -> float:
    """Return USD per second of running."""
    return (
        limits.CPU_RATE * sandbox.cpus
        + limits.MEMORY_RATE * sandbox.memory_mb / 1024
        + limits.DISK_RATE * sandbox.disk_gb
    ) / 3600


def compute(sandbox: Sandbox, now: float) -> float:
    """Return USD of machine time. Only running costs."""
    running = 0.0 if sandbox.running_since is None else max(0.0, now - sandbox.running_since)
    return sandbox.spent_compute + running * per_second(sandbox)


def running_seconds(sandbox: Sandbox, now: float) -> float:
    """Return how long it has been running so far, without pauses."""
    return compute(sandbox, now) / per_second(sandbox)


def spend(sandbox: Sandbox, session: AgentSession, tokens_in: int, tokens_out: int, llm_cost: float) -> None:
    """Count what a model took, in tokens and USD."""
    session.tokens_in += max(0, tokens_in)
    session.tokens_out += max(0, tokens_out)
    session.llm_cost += max(0.0, llm_cost)
    sandbox.spent_llm += max(0.0, llm_cost)


def total(sandbox: Sandbox, now: float) -> float:
    """Return USD of machine time and of models."""
    return compute(sandbox, now) + sandbox.spent_llm


def start(sandbox: Sandbox, now: float) -> None:
    """Begin a stretch of running."""
    sandbox.running_since = now


def stop(sandbox: Sandbox, now: float) -> None:
    """End a stretch of running."""
    sandbox.spent_compute = compute(sandbox, now)
    sandbox.running_since = None


def exceeded(sandbox: Sandbox, now: float) -> bool:
    """Whether the budget is used up."""
    return sandbox.budget is not None and total(sandbox, now) >= sandbox.budget


def until_marks(sandbox: Sandbox, now: float) -> list[float]:
    """Return the seconds of running until each mark of the budget that was not reported yet."""
    return [until_share(sandbox, now, mark) for mark in limits.BUDGET_MARKS if mark not in sandbox.budget_marks]


def until_share(sandbox: Sandbox, now: float, percent: float) -> float:
    """Return the seconds of running until so much of the budget is used; a little more, so that it is reached."""
    if not sandbox.budget or sandbox.running_since is None:
        return math.inf
    missing = sandbox.budget * percent / 100 - total(sandbox, now)
    return max(missing, 0.0) / per_second(sandbox) + 0.001


def newly_reached(sandbox: Sandbox, now: float) -> tuple[list[int], bool]:
    """Return the percentages of the budget that are reached and not reported yet, which count as reported now, and
    whether the budget is used up."""
    if sandbox.budget is None:
        return [], False
    share = 100 * total(sandbox, now) / sandbox.budget
    reached = [mark for mark in limits.BUDGET_WARNINGS if share >= mark and mark not in sandbox.budget_marks]
    sandbox.budget_marks.update(reached)
    return reached, share >= 100
