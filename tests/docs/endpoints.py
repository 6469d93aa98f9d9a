"""The table of docs/endpoints.md: each endpoint of the contract, what serves it, and which tests had it succeed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Optional

from contract_endpoints import ENDPOINTS

from caged.emulator.wire.all_operations import all_operations
from caged.emulator.wire.operation import Operation

NOT_EMULATED = 501
#: Tests of everything at once; a row says which test is about it.
GENERAL = (
    "tests/emulator/wire/test_all_operations_answers.py",
    "tests/emulator/wire/test_openapi.py",
    "tests/emulator/test_verify.py",
    "tests/isolation/test_contract.py",
)
#: Test files in a row: those that call it most often.
MOST = 3

HEAD = """\
# Endpoints

Every endpoint that a client of the platform calls, or its documentation names, and what the emulator does with it.
Written by `scripts/endpoints`, which runs the tests and notes which of them had an endpoint succeed (or, for what is
not emulated, had it say so); the three that call it most often are named. A test fails when an endpoint, its operation
or a test file named here is not there any more. The complete description is the emulator's own `/openapi.json`.

Sections are those of wire-contract.md, with a B those of platform-behaviour.md, Part B, and with an O those of
wire-other-clients.md. 501: not emulated, and the answer says so.
"""


def _shape(method: str, path: str) -> tuple[str, str]:
    """Whatever the parameters are called."""
    return ("GET" if method == "ws" else method), re.sub(r"{[^}]*}", "{}", path)


def serving(endpoint: str) -> Optional[Operation]:
    """What answers an endpoint of the contract, if anything does."""
    method, path = endpoint.split(" ")
    wanted = _shape(method, path)
    return next((found for found in all_operations() if _shape(found.method, found.path) == wanted), None)


def rows(tests: Mapping[str, Sequence[str]]) -> list[tuple[str, str, str, str]]:
    """(endpoint, status, operation, tests) of each endpoint. `tests`: files by the operation's name."""
    found = []
    for _section, endpoints in ENDPOINTS:
        for endpoint in endpoints:
            operation = serving(endpoint)
            name = f"`{operation.name}`" if operation else ""
            status = "missing" if operation is None else "501" if operation.status == NOT_EMULATED else "served"
            files = tests.get(operation.name, ()) if operation else ()
            found.append((f"`{endpoint}`", status, name, ", ".join(f"`{file}`" for file in files)))
    return found


def page(tests: Mapping[str, Sequence[str]]) -> str:
    lines = [HEAD]
    described = iter(rows(tests))
    for section, endpoints in ENDPOINTS:
        lines += [f"## {section}", "", "| endpoint | | operation | tests |", "|---|---|---|---|"]
        lines += [f"| {' | '.join(next(described))} |" for _ in endpoints]
        lines.append("")
    counts = [status for _, status, _, _ in rows(tests)]
    total = ", ".join(f"{counts.count(status)} {status}" for status in dict.fromkeys(counts))
    return "\n".join([*lines, f"{len(counts)} endpoints: {total}.", ""])


def files_in(text: str) -> dict[str, list[str]]:
    """What a page says about tests, by operation."""
    found = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 4 and cells[2].startswith("`"):
            found[cells[2].strip("`")] = re.findall(r"`([^`]+)`", cells[3])
    return found
