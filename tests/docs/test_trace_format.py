"""docs/trace-schema.json and docs/trace-format.md are those of the code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from caged.emulator.control.step import FORMAT, KINDS, Step
from caged.emulator.control.step_log import DROPPED
from caged.emulator.trace.details import DETAILS
from caged.emulator.trace.file import Trace, TraceHeader, UnusedControl
from caged.emulator.trace.schema import schema, step_schema, tables

DOCS = Path(__file__).parents[2] / "docs"


def step(kind: str = "command", **more: Any) -> dict[str, Any]:
    fields = {"id": "s1", "kind": kind, "title": "x", "account": "a", "at": "", "wall": "", "start": 0.0, **more}
    return {"type": "step", **vars(Step(**fields))}


def errors(line: dict[str, Any]) -> list[Any]:
    return list(jsonschema_rs.Draft202012Validator(schema()).iter_errors(line))


def test_schema_is_that_of_the_code():
    assert json.loads((DOCS / "trace-schema.json").read_text(encoding="utf-8")) == schema(), "run scripts/trace-schema"


def test_tables_are_those_of_the_code():
    assert tables() in (DOCS / "trace-format.md").read_text(encoding="utf-8"), "run scripts/trace-schema"


def test_page_names_the_version():
    assert f"`format` in the header is {FORMAT}." in (DOCS / "trace-format.md").read_text(encoding="utf-8")


def test_schema_is_one():
    jsonschema_rs.meta.validate(schema())
    jsonschema_rs.meta.validate(step_schema())


def test_every_kind_has_a_detail():
    assert set(DETAILS) == set(KINDS)


def test_every_key_has_a_meaning():
    assert "|  |" not in tables()


@pytest.mark.parametrize(
    "line",
    [
        step(detail={"command": "x", "source": "exec"}),
        step(detail={"command": "x", "source": "exec", "exit_code": None, "output": [[0.1, "x"]]}),
        step(detail={"command": "x", "source": "exec", "output": [], "output_cut": {"after": 1, "characters": 2}}),
        step(detail={"command": "x", "source": "mcp", "changes": [{"path": "x", "change": "added"}]}),
        step(detail=dict(DROPPED)),
        step(detail={**DROPPED, "exit_code": 0}),
        step("call", detail={"call": "account.get", "source": {"path": "x", "line": 1, "code": [[1, "x"]]}}),
        step("test", detail={"phase": "setup", "outcome": "passed"}),
    ],
)
def test_line_that_the_schema_describes(line: dict[str, Any]):
    assert errors(line) == []


@pytest.mark.parametrize(
    "line",
    [
        step("comand"),
        step(detail={}),
        step(detail={"command": "x", "source": "shell"}),
        step(detail={"command": "x", "source": "exec", "more": 1}),
        step(detail={"command": "x", "source": "exec", "output": [["x", 0.1]]}),
        step(detail={"command": "x", "source": "exec", "changes": [{"path": "x", "change": "moved"}]}),
        step(status="failed", detail={"command": "x", "source": "exec"}),
        {**step(detail={"command": "x", "source": "exec"}), "type": "trace"},
        {"type": "trace", "format": FORMAT},
    ],
)
def test_line_that_the_schema_refuses(line: dict[str, Any]):
    assert errors(line)


def test_written_file_is_described(tmp_path: Path):
    header = TraceHeader("t.py::test", unused=[UnusedControl("fault_1", "fault", "t.py:1", ["x"])], kept={"a": "/b"})
    one = Step(**{name: value for name, value in step("test").items() if name != "type"})
    Trace(header, [one]).write(tmp_path / "t.jsonl")
    for line in (tmp_path / "t.jsonl").read_text(encoding="utf-8").splitlines():
        assert errors(json.loads(line)) == []
