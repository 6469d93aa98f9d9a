"""The file of a trace."""

from __future__ import annotations

from pathlib import Path

import pytest

from caged.emulator.control.step import Step
from caged.emulator.trace.file import Trace, TraceError, TraceHeader, UnusedControl


def step(number: int, title: str = "x") -> Step:
    return Step(f"s{number}", "event", title, "acct", "", "", float(number))


def test_trace_is_read_as_it_was_written(tmp_path: Path):
    header = TraceHeader("t.py::test[a b]", "failed", unused=[UnusedControl("f", "fault", nearest=["x"])], notes=["ü"])
    trace = Trace(header, [step(1, "ünï ☃\u2028"), step(2)])
    trace.write(tmp_path / "t.jsonl")
    assert Trace.read(tmp_path / "t.jsonl") == trace


def test_text_that_is_not_unicode_can_be_written(tmp_path: Path):
    Trace(TraceHeader("\ud800"), [step(1, "\udcff")]).write(tmp_path / "t.jsonl")
    assert Trace.read(tmp_path / "t.jsonl").steps[0].title == "?"


def test_nothing_but_the_file_is_left(tmp_path: Path):
    for _ in range(2):
        Trace(TraceHeader("x"), []).write(tmp_path / "t.jsonl")
    assert [path.name for path in tmp_path.iterdir()] == ["t.jsonl"]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "is empty"),
        ("x\n", "line 1 is not one of a trace"),
        ("[]\n", "line 1"),
        ('{"type": "step"}\n', "first line is not the header"),
        ('{"type": "trace", "format": 99, "title": "x"}\n', "another format"),
        ('{"type": "trace", "format": 1}\n', "line 1"),
        ('{"type": "trace", "format": 1, "title": "x"}\n{"type": "step"}\n', "line 2"),
        ('{"type": "trace", "format": 1, "title": "x"}\n{"type"\n', "line 2"),
        ('{"type": "trace", "format": 1, "title": "x", "unused": [1]}\n', "line 1"),
        ('{"type": "trace", "format": 1, "title": "x", "unused": 5}\n', "line 1"),
    ],
)
def test_what_is_not_a_trace_is_refused(tmp_path: Path, text: str, error: str):
    path = tmp_path / "t.jsonl"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(TraceError, match=error):
        Trace.read(path)


def test_bytes_that_are_not_text_are_refused(tmp_path: Path):
    path = tmp_path / "t.jsonl"
    path.write_bytes(b'{"type": "trace", "format": 1, "title": "\xff"}\n')
    with pytest.raises(TraceError, match="line 1 is not one of a trace"):
        Trace.read(path)


def test_keys_of_a_later_version_are_ignored(tmp_path: Path):
    path = tmp_path / "t.jsonl"
    Trace(TraceHeader("x"), [step(1)]).write(path)
    path.write_text(path.read_text().replace('"title"', '"later": 1, "title"'), encoding="utf-8")
    assert Trace.read(path).steps == [step(1)]
