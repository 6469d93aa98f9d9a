"""docs/workspace.md: its examples, run as they stand."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from caged.emulator import Emulator

PAGE = (Path(__file__).parents[2] / "docs" / "workspace.md").read_text(encoding="utf-8")
#: (line, source)
EXAMPLES = [
    (PAGE.count("\n", 0, found.start(1)) + 1, found[1])
    for found in re.finditer(r"^```python\n(.*?)^```$", PAGE, re.S | re.M)
]


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator(isolation="process") as running:
        yield running


@pytest.mark.parametrize(("line", "source"), EXAMPLES, ids=[f"line {line}" for line, _ in EXAMPLES])
def test_example_runs(emulator: Emulator, line: int, source: str) -> None:
    code = compile("\n" * (line - 1) + source, "docs/workspace.md", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    with emulator.client() as caged, caged.sandboxes.open(agents=["claude", "codex"]) as box:
        names: dict[str, Any] = {"caged": caged, "emulator": emulator, "box": box}

        async def run() -> None:
            async with emulator.async_client() as async_caged:
                names["async_caged"] = async_caged
                result = eval(code, names)
                if inspect.isawaitable(result):
                    await result

        asyncio.run(run())
