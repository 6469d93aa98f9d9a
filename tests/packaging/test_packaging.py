"""What a user gets: the files of sdist and wheel, and the metadata pip reads.

The real sdist and wheel are built once per run, in 1 to 2 s; xdist workers share them.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


def load_artifacts() -> ModuleType:
    spec = importlib.util.spec_from_file_location("artifacts", ROOT / "scripts" / "artifacts.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


artifacts = load_artifacts()


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the wheel and the sdist: the first worker to come builds, the others wait for it."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "packaging"
    shared.mkdir(exist_ok=True)
    with open(shared / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # bounded: the build it waits for has a timeout
        if not (shared / "dist").exists():
            build(shared)
    return shared / "dist"


def build(work: Path) -> None:
    """Build into work/dist, from a copy: building writes into the source tree."""
    source, built, unpacked = work / "source", work / "built", work / "unpacked"
    for directory in (source, built, unpacked):  # of a build that has failed
        shutil.rmtree(directory, ignore_errors=True)
    ignore = shutil.ignore_patterns("__pycache__", "*.pyc")
    # Tests are copied too: setuptools would pack tests/test*.py if it were not configured otherwise.
    for folder in (*artifacts.FOLDERS, "tests/packaging"):
        shutil.copytree(ROOT / folder, source / folder, ignore=ignore)
    (source / "tests" / "test_nothing.py").touch()
    for name in ("CHANGELOG.md", "LICENSE", "MANIFEST.in", "README.md", "pyproject.toml"):
        shutil.copy(ROOT / name, source / name)
    built.mkdir()
    unpacked.mkdir()
    sdist = call_backend("build_sdist", built, source)
    run(["tar", "-xzf", str(built / sdist), "-C", str(unpacked)], work)
    call_backend("build_wheel", built, unpacked / sdist[: -len(".tar.gz")])
    built.rename(work / "dist")


def call_backend(hook: str, directory: Path, source: Path) -> str:
    """Build as `python -m build` does, which starts four processes more."""
    program = f"import setuptools.build_meta as backend, sys; print(backend.{hook}(sys.argv[1]))"
    return run([sys.executable, "-c", program, str(directory)], source).splitlines()[-1]


def run(command: list[str], directory: Path) -> str:
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def wheel(dist: Path) -> Path:
    (path,) = dist.glob("*.whl")
    return path


@pytest.fixture(scope="session")
def metadata(wheel: Path) -> Message:
    return Parser().parsestr(read(wheel, "METADATA"))


def read(wheel: Path, name: str) -> str:
    with zipfile.ZipFile(wheel) as archive:
        (member,) = (n for n in archive.namelist() if n.endswith(f".dist-info/{name}"))
        return archive.read(member).decode()


def test_wheel_holds_exactly_the_three_folders(wheel: Path) -> None:
    assert artifacts.wheel_problems(wheel) == []


def test_sdist_holds_exactly_the_three_folders_and_what_building_needs(dist: Path) -> None:
    (sdist,) = dist.glob("*.tar.gz")
    assert artifacts.sdist_problems(sdist) == []


def test_a_file_too_many_and_a_file_too_few_are_both_reported(wheel: Path, tmp_path: Path) -> None:
    changed = tmp_path / wheel.name
    with zipfile.ZipFile(wheel) as source, zipfile.ZipFile(changed, "w") as target:
        for name in source.namelist():
            if name != "caged/py.typed":
                target.writestr(name, source.read(name))
        target.writestr("emulator/stray.py", "")
    assert artifacts.wheel_problems(changed) == [
        f"{wheel.name}: caged/py.typed is missing",
        f"{wheel.name}: emulator/stray.py does not belong there",
    ]


def test_wheel_puts_one_name_on_the_import_path_and_is_typed(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"caged"}
    assert "caged/py.typed" in names


def test_wheel_is_pure_python(wheel: Path) -> None:
    assert wheel.name.endswith("-py3-none-any.whl")


def test_entry_points_are_the_command_the_plugin_and_a_provider_of_sandboxes(wheel: Path) -> None:
    lines = [line for line in read(wheel, "entry_points.txt").splitlines() if line]
    assert lines == [
        "[console_scripts]",
        "caged-emulator = caged.emulator.cli:main",
        "[inspect_ai]",
        "caged = caged.integrations.inspect_ai",
        "[pytest11]",
        "caged = caged.pytest_plugin",
    ]


def test_metadata_names_versions_and_license(metadata: Message) -> None:
    assert metadata["Name"] == "caged"
    assert metadata["Requires-Python"] == ">=3.9"
    assert "MIT" in (metadata["License-Expression"] or metadata["License"])
    frameworks = ["deepagents", "harbor", "inspect-ai", "openai-agents", "pydantic-ai"]
    assert metadata.get_all("Provides-Extra") == ["emulator", "otel", *frameworks, "dev"]


def test_base_install_needs_only_httpx_and_websockets(metadata: Message) -> None:
    assert requirements(metadata, None) == ["httpx", "websockets"]


def test_otel_extra_is_the_api_of_opentelemetry(metadata: Message) -> None:
    assert requirements(metadata, "otel") == ["opentelemetry-api"]


def test_emulator_extra_is_starlette_uvicorn_pydantic_and_toml_for_old_pythons(metadata: Message) -> None:
    assert requirements(metadata, "emulator") == ["pydantic", "starlette", "tomli", "uvicorn"]


def requirements(metadata: Message, extra: str | None) -> list[str]:
    """The bare names required by one extra, or by the base when it is None."""
    found = []
    for line in metadata.get_all("Requires-Dist") or []:
        requirement, _, condition = line.partition(";")
        if (f'"{extra}"' in condition) if extra else not condition:
            found.append(requirement.split(">")[0].strip())
    return sorted(found)
