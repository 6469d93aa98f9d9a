"""Runs of pytest whose traces a test reads."""

from __future__ import annotations

import base64
import gzip
import json
import os
import re
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import fork_server
from unused_plugins import leave_out_unused

from caged.emulator.control.step import Step
from caged.emulator.trace.file import Trace
from caged.emulator.trace.otlp import build_otlp
from caged.emulator.trace.summary import markdown

CACHED = Path(".pytest_cache/d/caged-traces")
_DATA = re.compile(r'<script type="text/plain" id="trace-data">([^<]*)</script>|id="trace-data"[^>]*>([^<]*)<')


@dataclass
class Run:
    """A finished run of pytest in its own directory."""

    directory: Path
    code: int
    output: str

    def traces(self, where: Path = CACHED) -> dict[str, Trace]:
        """The traces that were written, by file name without the suffix."""
        return {path.stem: Trace.read(path) for path in sorted((self.directory / where).glob("*.jsonl"))}

    def trace(self, test: str, where: Path = CACHED) -> Trace:
        """The trace of the test with a name."""
        found = [one for one in self.traces(where).values() if one.header.title.endswith(f"::{test}")]
        assert len(found) == 1, (test, list(self.traces(where)), self.output)
        return found[0]

    def artifacts(self) -> dict[str, str]:
        """The text of each file that it has written, also what a page has packed, its output, and what a trace can be
        converted to."""
        found = {"output": self.output}
        for path in self.directory.rglob("*"):
            if path.is_file() and path.suffix not in (".py", ".pyc"):
                text = path.read_text(encoding="utf-8", errors="replace")
                name = str(path.relative_to(self.directory))
                found[name] = text + unpacked(text)
                if path.suffix == ".jsonl" and text.startswith('{"type": "trace"'):
                    trace = Trace.read(path)
                    found[f"{name} as OTLP"] = json.dumps(build_otlp(trace), ensure_ascii=False)
                    found[f"{name} as Markdown"] = markdown(trace)
        return found


def unpacked(page: str) -> str:
    """Return the compressed data of a page."""
    found = _DATA.search(page)
    return gzip.decompress(base64.b64decode(found[1] or found[2])).decode() if found else ""


def run(directory: Path, files: dict[str, str], *options: str, env: Optional[dict[str, str]] = None) -> Run:
    """Write files into a directory and run pytest there, without settings from outside."""
    (directory / "pytest.ini").write_text("[pytest]\n")
    for name, source in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(source), encoding="utf-8")
    kept = {name: value for name, value in os.environ.items() if _is_passed_on(name)}
    if not any(option.startswith("--caged-target=live") for option in options):
        kept["CAGED_ISOLATION"] = "process"  # the start of an emulator takes a third less time
    done = fork_server.run(
        [sys.executable, "-m", "pytest", "-p", "no:randomly", *leave_out_unused(options), "-W", "error", *options],
        cwd=directory,
        env={**kept, "PYTHONPATH": str(directory), **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
    )
    print(done.stdout)  # for the report of a failed test
    return Run(directory, done.returncode, done.stdout)


def _is_passed_on(name: str) -> bool:
    if name.startswith("CAGED_"):
        return name == "CAGED_EMULATOR_LOCATOR_DIR"
    return name not in ("CI", "BUILD_NUMBER", "GITHUB_STEP_SUMMARY")


def only(trace: Trace, **wanted: Any) -> Step:
    """Return the only step with these attributes; `title` may be a part of the step's title."""
    found = matching(trace, **wanted)
    assert len(found) == 1, (wanted, [(step.kind, step.title, step.status) for step in trace.steps])
    return found[0]


def matching(trace: Trace, title: str = "", **wanted: Any) -> list[Step]:
    """Return all steps with these attributes; `title` may be a part of the step's title."""
    return [
        step
        for step in trace.steps
        if title in step.title and all(getattr(step, name) == value for name, value in wanted.items())
    ]


def ancestors(trace: Trace, step: Step) -> list[Step]:
    """Return the steps that caused a step, the nearest first."""
    by_id, found = {one.id: one for one in trace.steps}, []
    while step.parent:
        step = by_id[step.parent]
        found.append(step)
    return found
