"""python benchmarks/trace_page.py: size of the page of a trace with 200 steps and 1 MB of output, and how long Chromium
takes to open it."""

from __future__ import annotations

import importlib.util
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from caged.emulator.control.step import Step
from caged.emulator.trace.file import Trace, TraceHeader
from caged.emulator.trace.page import build_page

STEPS, OUTPUT = 200, 1_000_000
MOST_BYTES, MOST_SECONDS = 1_500_000, 1.0
ROUNDS = 9
_CHROMIUM = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def trace() -> Trace:
    """Requests, each with a command below it. What is printed is words and numbers in a random order, as logs are."""
    chance = random.Random(7)
    words = ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(2, 9))) for _ in range(4000)]
    steps, line_number, left = [], 0, OUTPUT
    for number in range(STEPS):
        is_command = number % 2 == 1
        pieces: list[tuple[float, str]] = []
        share = left // ((STEPS - number) // 2 + 1) if is_command else 0
        while share > 0:
            line_number += 1
            line = f"{line_number} {' '.join(chance.choices(words, k=9))}\n"
            pieces.append((len(pieces) / 1000, line[:share]))
            share -= len(line)
            left -= len(pieces[-1][1])
        detail = {"command": f"step {number}", "source": "exec", "exit_code": 0, "output": pieces}
        request = {"method": "POST", "path": "/v1/sandboxes/cage_1/exec", "operation": "sandboxes.exec", "status": 200}
        steps.append(
            Step(
                id=f"s{number}",
                kind="command" if is_command else "request",
                title=f"$ step {number}" if is_command else "POST /v1/sandboxes/cage_1/exec",
                account="acc_1",
                at="2026-01-01T00:00:00Z",
                wall="2026-01-01T00:00:00Z",
                start=number * 0.02,
                parent=f"s{number - 1}" if is_command else "",
                sandbox="cage_1",
                status="ok",
                duration_ms=15.0,
                detail=detail if is_command else request,
            )
        )
    header = TraceHeader(title="tests/test_large.py::test_large", outcome="failed", duration_ms=STEPS * 20.0)
    return Trace(header, steps)


def opened(file: Path, chromium: str) -> float:
    """Seconds until Chromium shows the steps, the median of several windows."""
    from playwright.sync_api import sync_playwright

    times = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for turn in range(ROUNDS + 1):
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            begun = time.perf_counter()
            page.goto(file.as_uri())
            page.wait_for_selector("[role=treeitem]")
            if turn:  # the first also starts processes of the browser
                times.append(time.perf_counter() - begun)
            page.close()
        browser.close()
    return statistics.median(times)


def main() -> int:
    made = trace()
    printed = sum(len(text) for step in made.steps for _at, text in step.detail.get("output", ()))
    page = build_page(made).encode()
    print(f"page of {len(made.steps)} steps and {printed / 1e6:.2f} MB of output: {len(page) / 1e6:.2f} MB", end="")
    print(f"  bound {MOST_BYTES / 1e6:g} MB  {'ok' if len(page) <= MOST_BYTES else 'TOO LARGE'}")
    failed = len(page) > MOST_BYTES
    chromium = os.environ.get("CAGED_TEST_CHROMIUM") or next(filter(None, map(shutil.which, _CHROMIUM)), None)
    if importlib.util.find_spec("playwright") is None:
        print("time to open it: not measured, because the package playwright is not installed")
    elif not chromium:
        print("time to open it: not measured, because there is no Chromium (CAGED_TEST_CHROMIUM may name one)")
    else:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "trace.html"
            file.write_bytes(page)
            seconds = opened(file, chromium)
        print(f"time to open it: {seconds:.3f} s  bound {MOST_SECONDS:g} s", end="")
        print(f"  {'ok' if seconds <= MOST_SECONDS else 'TOO SLOW'}")
        failed = failed or seconds > MOST_SECONDS
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
