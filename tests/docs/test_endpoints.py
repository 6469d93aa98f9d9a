"""docs/endpoints.md is what scripts/endpoints would write, as far as that can be known without running all tests."""

from __future__ import annotations

from pathlib import Path

from cases import each
from contract_endpoints import ENDPOINTS
from endpoints import files_in, page, serving

TOP = Path(__file__).parents[2]
PAGE = (TOP / "docs" / "endpoints.md").read_text(encoding="utf-8")
ALL = [endpoint for _section, endpoints in ENDPOINTS for endpoint in endpoints]


def test_the_table_is_not_stale() -> None:
    assert page(files_in(PAGE)) == PAGE, "run scripts/endpoints"


def test_no_endpoint_stands_there_twice() -> None:
    assert len(set(ALL)) == len(ALL)


@each("endpoint", ALL)
def test_every_endpoint_of_the_contract_is_answered_and_tested(endpoint: str) -> None:
    operation = serving(endpoint)
    assert operation is not None, f"nothing serves {endpoint}"
    files = files_in(PAGE)[operation.name]
    assert files, f"no test had {endpoint} succeed; write one and run scripts/endpoints"
    assert [file for file in files if not (TOP / file).is_file()] == [], "run scripts/endpoints"
