"""What the tests of steps share: the steps of an account, each checked against docs/trace-schema.json, and more."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, Optional

from emulator_testing import Api, eventually
from jsonschema_rs import Draft202012Validator
from sockets import Term, streamed

from caged.emulator.control.step import Step

SCHEMA = Path(__file__).resolve().parents[2] / "docs" / "trace-schema.json"


@cache
def validator() -> Draft202012Validator:
    """Return the validator of a step of a trace."""
    return Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8"))["oneOf"][1])


def check(step: Step) -> Step:
    """Assert that a step is one that the schema describes."""
    line = json.loads(json.dumps({"type": "step", **vars(step)}))
    error = next(validator().iter_errors(line), None)
    assert error is None, f"{error}\n{line}"
    return step


def steps_of(api: Api, sandbox: Optional[str] = None, **query: Any) -> list[Step]:
    """The steps of the account of `api`."""
    return [check(step) for step in api.emulator.journal.steps(sandbox, account=api.account_id, **query)]


def only(steps: Iterable[Step], kind: str, title: str = "") -> Step:
    """The one step of a kind whose title contains a text."""
    found = [step for step in steps if step.kind == kind and title in step.title]
    assert len(found) == 1, [(step.kind, step.title) for step in steps]
    return found[0]


def ancestors(step: Step, steps: Iterable[Step]) -> list[str]:
    """The kinds of the steps above a step, the nearest first."""
    by_id = {one.id: one for one in steps}
    found = []
    while step.parent in by_id:
        step = by_id[step.parent]
        found.append(step.kind)
    return found


def output(step: Step) -> str:
    """What a command printed, as far as it is kept."""
    return "".join(text for _seconds, text in step.detail["output"])


def texts(steps: Iterable[Step]) -> str:
    """Everything in steps, as text."""
    return json.dumps([vars(step) for step in steps], ensure_ascii=False)


def stream(api: Api, box: str, command: str) -> tuple[str, Any]:
    with Term(api.emulator.base_url, box, api.key, "?quiet=1") as term:
        return streamed(term, command)


def host_file(api: Api, box: str, name: str) -> Path:
    """A file of a workspace on the host. To create it there is no request, and no step."""
    return api.emulator.run_dir / "sandboxes" / box / "workspace" / name


def ended(api: Api, sandbox: Any = None) -> list[Step]:
    """The steps, when none of them runs any more."""

    def look() -> Any:
        found = steps_of(api, sandbox)
        return found if all(step.status != "running" for step in found) else None

    steps: list[Step] = eventually(look, "the end of every step")
    return steps


def pieces_of(api: Api, box: str) -> list[Any]:
    """The pieces of output of all commands, as steps show them."""
    return [piece for step in steps_of(api, box) for piece in step.detail.get("output", ())]
