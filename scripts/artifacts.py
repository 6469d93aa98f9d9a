"""Check that sdist and wheel hold exactly the files they should: `python scripts/artifacts.py DIST_DIR`.

The rule: every file of the three source folders, each under its installed name, and nothing else but what
packaging itself needs. A subpackage that pyproject.toml forgets, a stray test or a missing `py.typed` fails.
"""

from __future__ import annotations

import sys
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parent.parent

# folder in the repo -> where the wheel installs it
FOLDERS = {"caged": "caged", "emulator": "caged/emulator", "pytest_plugin": "caged/pytest_plugin"}

SHARED_METADATA = {"entry_points.txt", "top_level.txt"}
WHEEL_METADATA = SHARED_METADATA | {"METADATA", "RECORD", "WHEEL"}
EGG_INFO = SHARED_METADATA | {"PKG-INFO", "SOURCES.txt", "dependency_links.txt", "requires.txt"}
SDIST_TOP = {"CHANGELOG.md", "LICENSE", "MANIFEST.in", "PKG-INFO", "README.md", "pyproject.toml", "setup.cfg"}


def sources(root: Path = ROOT) -> set[PurePosixPath]:
    """Every file of the three folders, relative to the repo, without what running them leaves behind."""
    return {
        PurePosixPath(path.relative_to(root).as_posix())
        for folder in FOLDERS
        for path in (root / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
    }


def expected_in_wheel(root: Path = ROOT) -> set[str]:
    return {str(PurePosixPath(FOLDERS[path.parts[0]], *path.parts[1:])) for path in sources(root)}


def wheel_problems(wheel: Path, root: Path = ROOT) -> list[str]:
    """One line per file too many or too few; empty when the wheel is right."""
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
    metadata = {name for name in names if name.split("/")[0].endswith(".dist-info")}
    in_metadata = {name.split("/")[-1] for name in metadata}
    problems = _differences(wheel.name, names - metadata, expected_in_wheel(root))
    # LICENSE is at the top of dist-info or in licenses/, by the version of setuptools.
    return problems + _differences(f"{wheel.name} (dist-info)", in_metadata, WHEEL_METADATA | {"LICENSE"})


def sdist_problems(sdist: Path, root: Path = ROOT) -> list[str]:
    """One line per file too many or too few; empty when the sdist is right."""
    with tarfile.open(sdist) as archive:
        names = {member.name.split("/", 1)[1] for member in archive.getmembers() if member.isfile()}
    egg_info = {f"caged.egg-info/{name}" for name in EGG_INFO}
    expected = {str(path) for path in sources(root)} | SDIST_TOP | egg_info
    return _differences(sdist.name, names, expected)


def _differences(where: str, found: set[str], expected: set[str]) -> list[str]:
    extra = [f"{where}: {name} does not belong there" for name in sorted(found - expected)]
    return [f"{where}: {name} is missing" for name in sorted(expected - found)] + extra


def main(dist: Path) -> int:
    wheels, sdists = list(dist.glob("*.whl")), list(dist.glob("*.tar.gz"))
    if len(wheels) != 1 or len(sdists) != 1:
        print(f"{dist} should hold one wheel and one sdist, not {sorted(p.name for p in dist.iterdir())}")
        return 1
    problems = sdist_problems(sdists[0]) + wheel_problems(wheels[0])
    print("\n".join(problems) or f"{sdists[0].name} and {wheels[0].name} hold what they should.")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
