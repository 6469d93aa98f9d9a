"""What the tests of the `caged-emulator` command share: running it, in processes of its own."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Any

import fork_server
import httpx
from emulator_testing import eventually

from caged.emulator.cli import main

COMMAND = [sys.executable, "-m", "caged.emulator"]


class Served:
    """A running `serve`, with its output. `tmp`: its temporary directory."""

    def __init__(self, tmp: Path, *options: str, env: dict[str, str]) -> None:
        tmp.mkdir(exist_ok=True)
        self.process = fork_server.Process(
            [*COMMAND, "serve", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**env, "TMPDIR": str(tmp)},
        )
        self.lines: list[str] = []
        self.errors: list[str] = []
        self._threads = [
            threading.Thread(target=into.extend, args=(pipe,))
            for into, pipe in ((self.lines, self.process.stdout), (self.errors, self.process.stderr))
        ]
        for thread in self._threads:
            thread.start()

    def exports(self) -> dict[str, str]:
        eventually(lambda: len(self.lines) >= 5 or self.process.poll() is not None, "serve to announce itself")
        assert len(self.lines) >= 5, self.errors
        return dict(line.strip()[len("export ") :].split("=", 1) for line in self.lines if line.startswith("export "))

    def get(self, path: str) -> httpx.Response:
        exports = self.exports()
        headers = {"Authorization": f"Bearer {exports['CAGED_API_KEY']}"}
        return httpx.get(
            f"{exports['CAGED_BASE_URL']}{path}", headers=headers, trust_env=False, verify=False, timeout=60
        )

    def post(self, path: str, body: object) -> httpx.Response:
        exports = self.exports()
        headers = {"Authorization": f"Bearer {exports['CAGED_API_KEY']}"}
        return httpx.post(
            f"{exports['CAGED_BASE_URL']}{path}", headers=headers, json=body, trust_env=False, timeout=60, verify=False
        )

    def end(self, limit: float = 60) -> int:
        code = self.process.wait(limit)
        for thread in self._threads:
            thread.join(60)
        self.process.stdout.close()  # type: ignore[union-attr]
        self.process.stderr.close()  # type: ignore[union-attr]
        return code


def run(*arguments: str, env: dict[str, str], **options: Any) -> subprocess.CompletedProcess[str]:
    return fork_server.run(
        [*COMMAND, *arguments], capture_output=True, text=True, timeout=100, check=False, env=env, **options
    )


def next_line(pipe: IO[str], seconds: float = 60) -> str:
    """The next line of a program's output; an empty string at its end. Fails when none comes in time."""
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.append(pipe.readline()), daemon=True)
    reader.start()
    reader.join(seconds)
    assert not reader.is_alive(), f"waited {seconds} s for a line of output"
    return lines[0]


def call(*arguments: str) -> subprocess.CompletedProcess[str]:
    """As `run`, but in this process: the start of an interpreter is most of the time that a small command takes."""
    said, complained = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(complained):
        try:
            main(list(arguments), prog_name="caged-emulator")
        except SystemExit as ending:
            return subprocess.CompletedProcess(arguments, int(ending.code or 0), said.getvalue(), complained.getvalue())
    raise AssertionError("a command ends by SystemExit")
