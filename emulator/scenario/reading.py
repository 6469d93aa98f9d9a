"""Reading a scenario: the file, the files that it names, and every check that needs no emulator."""

from __future__ import annotations

import base64
import importlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time
from pathlib import Path
from typing import Any, Optional, Union

from ..control.names import suggestion
from ..platform import limits
from ..repositories.bundles import bundle_directory
from ..repositories.git_process import GitError
from . import schema
from .schema import ScenarioError

#: Top-level tables, and those that are lists of tables, each with the check of its entries.
TABLES = ("clock", "agents")
LISTS = {
    "keys": schema.check_key,
    "repos": schema.check_repository,
    "stubs": schema.check_stub,
    "programs": schema.check_program,
    "prepared": schema.check_prepared,
    "sandboxes": schema.check_sandbox,
    "faults": schema.check_fault,
}
#: Of the scenario's own file.
MOST_BYTES = 16 * 1024**2
#: Of one file in a sandbox: as much as `files.write` takes.
MOST_FILE_BYTES = 10 * 1024**2


@dataclass(frozen=True)
class Scenario:
    """A checked scenario, complete in itself: the files that it named have been read.

    Each entry's keys are the options of the call that makes it (`sandboxes.create`, `faults.add`, …)."""

    clock: Mapping[str, Any] = field(default_factory=dict)
    keys: tuple[dict[str, Any], ...] = ()
    repos: tuple[dict[str, Any], ...] = ()
    stubs: tuple[dict[str, Any], ...] = ()
    programs: tuple[dict[str, Any], ...] = ()
    prepared: tuple[dict[str, Any], ...] = ()
    agents: Mapping[str, Any] = field(default_factory=dict)
    sandboxes: tuple[dict[str, Any], ...] = ()
    faults: tuple[dict[str, Any], ...] = ()

    def document(self) -> dict[str, Any]:
        """The scenario as JSON-compatible data, for an emulator elsewhere."""
        return {name: list(value) if name in LISTS else dict(value) for name, value in vars(self).items() if value}


def read(path: Union[str, Path]) -> Scenario:
    """Read a scenario from a file, with the files beside it that its `from` entries name.

    Args:
        path: A `.toml`, `.yaml`/`.yml` (needs PyYAML) or `.json` file.

    Raises:
        ScenarioError: The file cannot be read or used; the text names the entry.
    """
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
        return json.loads(text, object_pairs_hook=_unique)
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
        return yaml.load(text, _unique_keys(yaml))
    raise ScenarioError(f"a scenario is a .toml, .yaml or .json file, not {suffix or 'one without a suffix'}")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; of a key that is there twice the first value would be without effect."""
    made: dict[str, Any] = {}
    for name, value in pairs:
        if name in made:
            raise ValueError(f"the key {name!r} is there twice in one object")
        made[name] = value
    return made


def _unique_keys(yaml: Any) -> Any:
    """PyYAML's safe loader, which refuses a key that is there twice in one mapping, as TOML does."""

    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            seen: set[str] = set()
            for key, _ in node.value:
                if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                    if key.value in seen:
                        line = key.start_mark.line + 1
                        raise ValueError(f"the key {key.value!r} is there twice in one mapping (line {line})")
                    seen.add(key.value)
            return super().construct_mapping(node, deep)

    return Loader


def from_document(document: Any, folder: Optional[Path] = None) -> Scenario:
    """Check what a scenario file holds.

    Args:
        document: The content as plain dicts, lists and values.
        folder: Where the paths of `from` entries start. None: the document was received from elsewhere, and `from`
            is refused, so that a request cannot read files of this machine.

    Raises:
        ScenarioError: Names the entry that cannot be used.
    """
    if not isinstance(document, dict):
        raise ScenarioError("a scenario is a table (mapping) with some of: " + ", ".join((*TABLES, *LISTS)))
    known = (*TABLES, *LISTS)
    for name, value in document.items():
        if name not in known:
            raise ScenarioError(f"{name}: unknown{suggestion(name, known)}")
        if name in TABLES and not isinstance(value, dict):
            raise ScenarioError(f"{name}: must be a table")
        if name in LISTS and not (isinstance(value, list) and all(isinstance(entry, dict) for entry in value)):
            raise ScenarioError(f"{name}: must be a list of tables ([[{name}]] in TOML)")
    plain = {name: _plain(value, name) for name, value in document.items()}
    for kind in ("prepared", "sandboxes"):
        for index, entry in enumerate(plain.get(kind, ())):
            _resolve_files(entry, f"{kind}[{index}]", folder)
    for index, entry in enumerate(plain.get("repos", ())):
        _resolve_source(entry, f"repos[{index}]", folder)
    _check(plain)
    given: dict[str, Any] = {name: tuple(value) if name in LISTS else value for name, value in plain.items()}
    return Scenario(**given)


def _check(document: Mapping[str, Any]) -> None:
    """Raise ScenarioError for the first entry that cannot be used."""
    if document.get("clock"):
        schema.check_clock("clock", document["clock"])
    for name, check in LISTS.items():
        for index, entry in enumerate(document.get(name, ())):
            check(f"{name}[{index}]", entry)
    for name, table in document.get("agents", {}).items():
        if limits.agent_name(name) is None:
            hint = suggestion(name, limits.agent_names())
            raise ScenarioError(f"agents.{name}: agent {name!r} does not exist{hint}")
        schema.check_agent(f"agents.{name}", table)
    for kind in ("sandboxes", "keys"):
        names = [entry["name"] for entry in document.get(kind, ()) if "name" in entry]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ScenarioError(f"{kind}: the name {twice!r} must be a text, and only one entry's")


def sandbox_names(scenario: Scenario) -> list[str]:
    """The names by which a result and the scenario's faults and stubs refer to its sandboxes."""
    return [entry.get("name", f"sandbox-{index + 1}") for index, entry in enumerate(scenario.sandboxes)]


def _plain(value: Any, place: str) -> Any:
    """A copy that can be sent as JSON: moments (of TOML and YAML) become RFC 3339 texts."""
    if isinstance(value, dict):
        for name in value:
            if not isinstance(name, str):
                raise ScenarioError(f"{place}: the key {name!r} must be a text; put it in quotes")
        return {name: _plain(inner, f"{place}.{name}") for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner, f"{place}[{index}]") for index, inner in enumerate(value)]
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ScenarioError(f"{place}: {value.isoformat()} needs its time zone, as in {value.isoformat()}Z")
        return value.isoformat()
    if isinstance(value, (date, time)):
        raise ScenarioError(f"{place}: {value.isoformat()} is a date or a time alone; put a text in quotes")
    if isinstance(value, float) and value - value != 0:  # infinite, or not a number
        raise ScenarioError(f"{place}: must be a finite number")
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    raise ScenarioError(f"{place}: {type(value).__name__} is not a text, number, list or table")


def _resolve_files(entry: dict[str, Any], place: str, folder: Optional[Path]) -> None:
    """Put the content of the files that `from` names in their place."""
    files = entry.get("files", {})
    if not isinstance(files, dict):
        raise ScenarioError(f"{place}: files: must be a table of path and content")
    for path, content in files.items():
        if isinstance(content, str):
            continue
        if not (isinstance(content, dict) and list(content) == ["from"] and isinstance(content["from"], str)):
            raise ScenarioError(f"{place}: files: {path!r} must be a text, or {{ from = 'a path' }}")
        if folder is None:
            raise ScenarioError(
                f"{place}: files: {path!r} has `from`, which only the program that reads a scenario file can resolve;"
                " send the content itself"
            )
        files[path] = _content(folder / content["from"], place)


def _resolve_source(entry: dict[str, Any], place: str, folder: Optional[Path]) -> None:
    """Put a git bundle of the directory that `source` names in its place. A document that was received from elsewhere
    has the bundle already."""
    if folder is None or not isinstance(entry.get("source"), str):
        return
    branch = entry.get("branch")
    try:
        bundle, branch = bundle_directory(folder / entry["source"], branch if isinstance(branch, str) else None)
    except (ValueError, GitError) as error:
        raise ScenarioError(f"{place}: {error}") from error
    entry["source"] = base64.b64encode(bundle).decode() if bundle else {}
    if branch is not None:
        entry["branch"] = branch


def _content(path: Path, place: str) -> str:
    try:
        with open(path, encoding="utf-8", newline="") as file:
            content = file.read(MOST_FILE_BYTES + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{place}: cannot read {path}: {error}") from error
    if len(content) > MOST_FILE_BYTES:
        raise ScenarioError(f"{place}: {path} is larger than {MOST_FILE_BYTES // 1024**2} MiB")
    return content
