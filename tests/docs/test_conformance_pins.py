"""Everything that is installed for a framework's suite is pinned (tests/conformance/NAME/pins.txt)."""

from __future__ import annotations

from importlib.metadata import requires

import pytest
from integrations_page import NAMES, requirements
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

#: Those that the suites can be run with.
PYTHONS = ["3.12", "3.13"]


def is_pinned(line: str) -> bool:
    """Whether a requirement allows one version only."""
    try:
        requirement = Requirement(line)
    except InvalidRequirement:
        return False
    allowed = [(one.operator, one.version.endswith(".*")) for one in requirement.specifier]
    return allowed == [("==", False)] and not requirement.url


def versions(name: str, python: str) -> dict[str, str]:
    """The pinned version of each package that is installed on Linux.

    Raises:
        ValueError: A package is pinned twice.
    """
    found: dict[str, str] = {}
    for requirement in map(Requirement, requirements(name, "pins.txt")):
        environment = {"python_version": python, "python_full_version": f"{python}.0", "sys_platform": "linux"}
        if requirement.marker is None or requirement.marker.evaluate(environment):
            package = canonicalize_name(requirement.name)
            if package in found:
                raise ValueError(f"{name}/pins.txt: {package} is pinned twice for Python {python}")
            found[package] = next(iter(requirement.specifier)).version
    return found


@pytest.mark.parametrize("name", NAMES)
def test_each_suite_has_pins_and_each_is_of_one_version(name: str) -> None:
    pins = requirements(name, "pins.txt")
    assert len(pins) > len(requirements(name))
    assert [line for line in pins if not is_pinned(line)] == []


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("name", NAMES)
def test_pins_are_of_what_the_suite_and_the_extras_require(name: str, python: str) -> None:
    wanted = [Requirement(line) for line in requirements(name)]
    for extra in ("", "emulator", name.replace("_", "-")):
        environment = {"python_version": python, "python_full_version": f"{python}.0", "extra": extra}
        for requirement in map(Requirement, requires("caged") or []):
            if requirement.marker is None or requirement.marker.evaluate(environment):
                wanted.append(requirement)
    pinned = versions(name, python)
    missing = [
        str(requirement)
        for requirement in wanted
        if not requirement.specifier.contains(pinned.get(canonicalize_name(requirement.name), "0"), prereleases=True)
    ]
    assert missing == [], f"run scripts/conformance --update-pins {name}"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("anyio==4.16.0", True),
        ("anyio==4.16.0 ; sys_platform == 'win32'", True),
        ("anyio", False),
        ("anyio>=4.16.0", False),
        ("anyio==4.*", False),
        ("anyio==4.16.0,!=4.16.0", False),
        ("anyio @ https://example.invalid/anyio.whl", False),
        ("-r other.txt", False),
    ],
)
def test_requirement_that_allows_several_versions_is_not_pinned(line: str, expected: bool) -> None:
    assert is_pinned(line) is expected
