"""An editable install: what a contributor has after `pip install -e .` and `scripts/editable.py`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("caged", "emulator", "pytest_plugin")
BUILD = "import setuptools.build_meta as backend, sys; print(backend.build_editable(sys.argv[1]))"
SECONDS = 300


class Checkout:
    """A copy of the repository, installed into a virtualenv of its own."""

    def __init__(self, work: Path) -> None:
        self.root = work / "source"
        self.elsewhere = work / "elsewhere"
        self.elsewhere.mkdir()
        ignore = shutil.ignore_patterns("__pycache__", "*.pyc")
        for folder in (*FOLDERS, "scripts"):
            shutil.copytree(ROOT / folder, self.root / folder, ignore=ignore)
        for name in ("CHANGELOG.md", "LICENSE", "MANIFEST.in", "README.md", "pyproject.toml"):
            shutil.copy(ROOT / name, self.root / name)
        self.python = work / "venv" / "bin" / "python"
        venv.create(work / "venv", symlinks=True, with_pip=False)
        # What pip does with it, without pip, which would need an index.
        built = run([sys.executable, "-c", BUILD, str(work)], self.root).stdout.splitlines()[-1]
        self.site_packages = Path(
            run([str(self.python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], work).stdout.strip()
        )
        with zipfile.ZipFile(work / built) as wheel:
            wheel.extractall(self.site_packages)

    def link(self) -> None:
        run([str(self.python), "scripts/editable.py"], self.root)

    def unlink(self) -> None:
        (self.site_packages / "caged_editable.pth").unlink(missing_ok=True)

    def files_of(self, *modules: str, directory: Path) -> list[str]:
        program = f"import {', '.join(modules)}\n" + "\n".join(f"print({module}.__file__)" for module in modules)
        return run([str(self.python), "-c", program], directory).stdout.splitlines()

    def types(self, checker: list[str], directory: Path) -> str:
        """The output of a checker over a program that uses names of each of the three folders."""
        program = self.elsewhere / "program.py"
        program.write_text(
            "from caged import Sandbox\n"
            "from caged.emulator.discovery import find_running\n"
            "from caged.pytest_plugin import CagedFactory\n"
            "reveal_type(find_running())\n"
            "reveal_type(CagedFactory)\n"
            "def status(box: Sandbox) -> None: reveal_type(box.status)\n"
        )
        command = [sys.executable, "-m", *checker, str(program)]
        return run(command, directory, code=None).stdout


def run(command: list[str], directory: Path, code: object = 0) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert code is None or done.returncode == code, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    return Checkout(tmp_path_factory.mktemp("editable"))


@pytest.mark.parametrize("linked", [False, True], ids=["pip alone", "linked"])
@pytest.mark.parametrize("place", ["elsewhere", "checkout"])
def test_modules_are_imported_from_the_files_of_the_checkout(checkout: Checkout, linked: bool, place: str) -> None:
    if linked:
        checkout.link()
    else:
        checkout.unlink()
    modules = ("caged", "caged._version", "caged.emulator", "caged.emulator.discovery", "caged.pytest_plugin._policy")
    directory = checkout.elsewhere if place == "elsewhere" else checkout.root
    modules = modules if importable("pytest", checkout) else modules[:-1]
    expected = [
        checkout.root / "caged" / "__init__.py",
        checkout.root / "caged" / "_version.py",
        checkout.root / "emulator" / "__init__.py",
        checkout.root / "emulator" / "discovery.py",
        checkout.root / "pytest_plugin" / "_policy.py",
    ]
    assert checkout.files_of(*modules, directory=directory) == [str(path) for path in expected[: len(modules)]]


def importable(module: str, checkout: Checkout) -> bool:
    return run([str(checkout.python), "-c", f"import {module}"], checkout.elsewhere, code=None).returncode == 0


@pytest.mark.parametrize("place", ["elsewhere", "checkout"])
@pytest.mark.parametrize("checker", ["mypy", "basedpyright"])
def test_static_checkers_find_the_three_folders(checkout: Checkout, mypy_cache: Path, checker: str, place: str) -> None:
    checkout.link()
    python = str(checkout.python)
    words = {
        # With the options of pyproject.toml, which it finds in the checkout, so that the two share what is cached.
        "mypy": ["mypy", "--strict", "--python-executable", python, "--cache-dir", str(mypy_cache)],
        "basedpyright": ["basedpyright", "--pythonpath", python],
    }[checker]
    output = checkout.types(words, checkout.elsewhere if place == "elsewhere" else checkout.root)
    assert "DiscoveredEmulator]" in output
    assert '"paused"' in output or "'paused'" in output  # the type of Sandbox.status
    for module in ("caged", "caged.emulator.discovery", "caged.pytest_plugin"):
        assert f'"{module}" could not be resolved' not in output  # basedpyright
        assert f'named "{module}"' not in output  # mypy


def test_new_files_are_linked_and_removed_ones_unlinked_when_it_is_repeated(checkout: Checkout) -> None:
    links = checkout.python.parents[1] / "checkout" / "caged"
    new = checkout.root / "caged" / "_new.py"
    new.touch()
    checkout.link()
    assert (links / "_new.py").resolve() == new
    new.unlink()
    checkout.link()
    assert not (links / "_new.py").is_symlink()
    assert all(link.exists() for link in links.iterdir())


def test_nothing_is_linked_outside_of_a_virtualenv(checkout: Checkout) -> None:
    base = Path(sys.executable).resolve()  # a virtualenv's is a link; 3.9 names it in sys._base_executable, too
    done = run([str(base), "scripts/editable.py"], checkout.root, code=1)
    assert "virtualenv" in done.stderr


def test_stamp_of_an_install_ignores_settings_of_tools_and_lists_of_packages(checkout: Checkout) -> None:
    def settings() -> str:
        return run(["bash", "-c", ". scripts/_python.sh; installed_settings"], checkout.root).stdout

    pyproject = checkout.root / "pyproject.toml"
    text = pyproject.read_text()
    before = settings()
    try:
        pyproject.write_text(
            text.replace('    "caged._models",\n', '    "caged._models",\n    "caged._new",\n').replace(
                "line-length = 120", "line-length = 100"
            )
        )
        assert settings() == before
        for old, new in (
            ('version = "0.1.0"', 'version = "0.1.1"'),
            ('"httpx>=0.25"', '"httpx>=0.26"'),
            ('"ruff>=0.6"', '"ruff>=0.7"'),
            ('"caged.emulator" = "emulator"', '"caged.emulator" = "src"'),
            ('caged-emulator = "', 'caged-emulator2 = "'),
        ):
            assert old in text
            pyproject.write_text(text.replace(old, new))
            assert settings() != before, new
    finally:
        pyproject.write_text(text)
