"""A scenario's file, read and checked as far as that can be done without an emulator."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional, Union

from ..config import ConfigError

#: Top-level tables, and whether each is a list of tables or one.
LISTS = ("keys", "stubs", "programs", "sandboxes", "faults")
TABLES = ("clock", "agents")
MOST_BYTES = 16 * 1024**2


class ScenarioError(ConfigError):
    """A scenario that cannot be used; the text says where and what to do."""

    __module__ = "caged.emulator"


@dataclass(frozen=True)
class Scenario:
    """`folder`: relative paths in it start there. Each entry's keys are the options of what makes it: see docs."""

    folder: Path
    clock: Mapping[str, Any] = field(default_factory=dict)
    keys: tuple[dict[str, Any], ...] = ()
    stubs: tuple[dict[str, Any], ...] = ()
    programs: tuple[dict[str, Any], ...] = ()
    agents: Mapping[str, Any] = field(default_factory=dict)
    sandboxes: tuple[dict[str, Any], ...] = ()
    faults: tuple[dict[str, Any], ...] = ()


def read(path: Union[str, Path]) -> Scenario:
    """From a `.toml`, `.yaml`/`.yml` (needs PyYAML) or `.json` file. ScenarioError."""
    path = Path(path)
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ScenarioError(f"{path}: larger than {MOST_BYTES // 1024**2} MiB")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(f"cannot read the scenario {path}: {error}") from error
    try:
        document = _parse(path.suffix.lower(), text)
    except ScenarioError:
        raise
    except Exception as error:
        raise ScenarioError(f"{path} is not well-formed: {error}") from error
    return from_document(document, path.absolute().parent)


def _parse(suffix: str, text: str) -> Any:
    if suffix == ".json":
        return json.loads(text)
    if suffix == ".toml":
        try:
            import tomllib
        except ImportError:  # Python 3.9 and 3.10
            import tomli as tomllib  # type: ignore[import-not-found,no-redef,unused-ignore]
        return tomllib.loads(text)
    if suffix in (".yaml", ".yml"):
        try:
            yaml = importlib.import_module("yaml")
        except ImportError:
            raise ScenarioError("a YAML scenario needs PyYAML: pip install pyyaml, or write it as TOML") from None
        return yaml.safe_load(text)
    raise ScenarioError(f"a scenario is a .toml, .yaml or .json file, not {suffix or 'one without a suffix'}")


def from_document(document: Any, folder: Optional[Path] = None) -> Scenario:
    """From what a file holds, as plain dicts and lists. ScenarioError, naming the place."""
    if not isinstance(document, dict):
        raise ScenarioError("a scenario is a table (mapping) with some of: " + ", ".join((*TABLES, *LISTS)))
    for name, value in document.items():
        if name not in TABLES and name not in LISTS:
            raise ScenarioError(f"{name}: unknown; a scenario has {', '.join((*TABLES, *LISTS))}")
        if name in TABLES and not isinstance(value, dict):
            raise ScenarioError(f"{name}: must be a table")
        if name in LISTS and not (isinstance(value, list) and all(isinstance(entry, dict) for entry in value)):
            raise ScenarioError(f"{name}: must be a list of tables ([[{name}]] in TOML)")
    names = [entry["name"] for entry in document.get("sandboxes", ()) if "name" in entry]
    for name in names:
        if not isinstance(name, str) or names.count(name) > 1:
            raise ScenarioError(f"sandboxes: the name {name!r} must be a text, and only one sandbox's")
    given: dict[str, Any] = {name: tuple(value) if name in LISTS else value for name, value in document.items()}
    return Scenario(folder or Path.cwd(), **given)
