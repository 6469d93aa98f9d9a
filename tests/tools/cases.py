"""Many small cases in one test.

For each test pytest and xdist need 1.5 ms of processor time besides what the test does, which is more than a case of a
table takes that refuses one argument. `each` is written like `pytest.mark.parametrize`, for cases that need nothing of
their own from a fixture: the fixtures of the test are set up once for all of its cases. One with a method `begin_case`
is called before each case, to forget the one before.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterable, Sequence
from typing import Any, Callable, Union

Test = Callable[..., None]


def each(names: Union[str, Sequence[str]], cases: Iterable[Any]) -> Callable[[Test], Test]:
    """Run a test function with each of some cases, one after another, until one fails.

    The report of a failed test shows the case as its output.

    Args:
        names: Names of the arguments that a case gives: one with commas, or several.
        cases: A value for each name, or the value itself if there is one name. `pytest.param` is accepted, without
            marks. At least one case.
    """
    parted = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
    given = [_values(case, len(parted)) for case in cases]
    assert given, f"no case for {', '.join(parted)}"

    def decorate(function: Test) -> Test:
        signature = inspect.signature(function)
        others = [one for name, one in signature.parameters.items() if name not in parted]
        assert len(others) + len(parted) == len(signature.parameters), f"{function.__name__} does not take {parted}"

        @functools.wraps(function)
        def run(**fixtures: Any) -> None:
            for values in given:
                case = dict(zip(parted, values))
                for fixture in fixtures.values():
                    if hasattr(type(fixture), "begin_case"):
                        fixture.begin_case()
                try:
                    function(**fixtures, **case)
                except BaseException:
                    print("case:", ", ".join(f"{name}={value!r}" for name, value in case.items()))
                    raise

        run.__signature__ = signature.replace(parameters=others)  # type: ignore[attr-defined]
        return run

    return decorate


def _values(case: Any, count: int) -> Sequence[Any]:
    if hasattr(case, "marks"):  # of pytest.param
        assert not case.marks, f"{case} has marks, which a case cannot have"
        return tuple(case.values)
    if count == 1:
        return (case,)
    assert len(case) == count, f"{case} is not {count} values"
    return tuple(case)
