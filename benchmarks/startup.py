"""python benchmarks/startup.py: what importing and starting costs, against what cannot be avoided."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

from _timing import Row, alternate, report

ROUNDS = 15
DEPENDENCIES = (
    "import click, pydantic, uvicorn, uvicorn.server, uvicorn.protocols.http.h11_impl, "
    "starlette.applications, starlette.routing, starlette.responses; pydantic.BaseModel"
)


def python(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], check=True)


def serve_and_answer() -> None:
    """From the start of the command to its first answer; the stop is not part of it but has to happen."""
    process = subprocess.Popen(
        [sys.executable, "-m", "caged.emulator", "serve", "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "CAGED_EMULATOR_LOCATOR_DIR": locators.name},
    )
    running.append(process)
    assert process.stdout is not None
    url = next(word for word in process.stdout.readline().split() if word.startswith("http://"))
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(f"{url}/healthz", timeout=10) as answer:
        answer.read()


running: list[subprocess.Popen[str]] = []
locators = tempfile.TemporaryDirectory()  # none of them is to be found at the user's


def stop_all() -> None:
    for process in running:
        process.send_signal(signal.SIGTERM)
    for process in running:
        process.communicate(timeout=30)
    running.clear()


def suite_without_fixtures(folder: Path) -> None:
    lines = "\n".join(f"def test_{number}():\n    assert {number} >= 0\n" for number in range(300))
    (folder / "test_plain.py").write_text(lines, encoding="utf-8")


def pytest(folder: str, *options: str) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", *options, folder]
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": ""}
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment, cwd=folder)


def main() -> int:
    ours, theirs = alternate(
        ROUNDS, lambda: python("import caged; caged.Caged"), lambda: python("import httpx"), warm=2
    )
    rows = [Row("import caged", ours, theirs, "import httpx", 1.25)]
    try:
        ours, theirs = alternate(ROUNDS, serve_and_answer, lambda: python(DEPENDENCIES), warm=2)
    finally:
        stop_all()
    rows.append(Row("serve to first answer", ours, theirs, "importing its dependencies", 2.0))
    with tempfile.TemporaryDirectory() as folder:
        suite_without_fixtures(Path(folder))
        ours, theirs = alternate(ROUNDS, lambda: pytest(folder), lambda: pytest(folder, "-p", "no:caged"), warm=2)
    rows.append(Row("pytest, no fixture used", ours, theirs, "-p no:caged", 1.05))
    return report(rows)


if __name__ == "__main__":
    sys.exit(main())
