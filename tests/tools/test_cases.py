"""Cases that share a test."""

from __future__ import annotations

import pytest
from cases import each

SUITE = """
import pytest
from cases import each

ran = []

class Fresh(list):
    begin_case = list.clear

@pytest.fixture
def fresh():
    return Fresh()

@each("n", [1, pytest.param(2, id="two"), 3])
@each(("text", "size"), [("a", 1), ("bc", 2)])
def test_all(fresh, n, text, size):
    ran.append((n, text))
    fresh.append(n)
    assert fresh == [n]
    assert len(text) == size

def test_each_case_ran():
    assert ran == [(n, text) for n in (1, 2, 3) for text in ("a", "bc")]

@each("n", [1, 2, 3])
def test_fails(n):
    assert n != 2
"""


def test_failure_shows_its_case_and_its_own_line(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SUITE)
    result = pytester.runpytest_inprocess("-p", "no:randomly")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines([">*assert n != 2", "*Captured stdout call*", "case: n=2"])
    result.stdout.no_fnmatch_line("case: n=[13]")


def test_case_of_a_wrong_size_or_with_a_mark_is_refused() -> None:
    with pytest.raises(AssertionError, match="is not 2 values"):
        each("a, b", [(1, 2), (1, 2, 3)])
    with pytest.raises(AssertionError, match="no case for a"):
        each("a", [])
    with pytest.raises(AssertionError, match="has marks"):
        each("a", [pytest.param(1, marks=pytest.mark.skip)])
    with pytest.raises(AssertionError, match="does not take"):
        each("a", [1])(lambda b: None)
