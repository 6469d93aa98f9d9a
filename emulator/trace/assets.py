"""The script and the stylesheet of pages, from the files in static/."""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from pathlib import Path

STATIC = Path(__file__).parent / "static"
#: The two forms of statements that modules in static/ may use for what they share.
_IMPORT = re.compile(r'^import \{([^}]*)\} from "\./([\w-]+\.js)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export ((?:async )?(?:function|class|const) (\w+))", re.MULTILINE)


@functools.cache
def stylesheet() -> str:
    """The stylesheet."""
    return (STATIC / "style.css").read_text("utf-8")


@functools.cache
def script(entry: str) -> str:
    """A module with all that it imports, as one script.

    Args:
        entry: The name of its file, such as `page.js`.

    Raises:
        ValueError: A module imports or exports in a way that is not understood here.
    """
    parts: dict[str, str] = {}
    _add(entry, parts, ())
    text = "\n".join(parts.values())
    if "</script" in text or "<!--" in text:
        raise ValueError(f"{entry}: a script in a page must not contain </script or <!--")
    return text


def _add(name: str, parts: dict[str, str], above: tuple[str, ...]) -> None:
    """Add a module as a function that returns its exports, after those that it imports."""
    if name in above:
        raise ValueError(f"modules import each other in a circle: {' -> '.join((*above, name))}")
    if name in parts:
        return
    text = (STATIC / name).read_text("utf-8")
    for _names, other in _IMPORT.findall(text):
        _add(other, parts, (*above, name))
    exports = [match[1] for match in _EXPORT.findall(text)]
    body = _IMPORT.sub(lambda found: f"const {{{found[1].replace(' as ', ': ')}}} = {_variable(found[2])};\n", text)
    body = _EXPORT.sub(r"\1", body)
    if re.search(r"^(import|export)\b", body, re.MULTILINE):
        raise ValueError(f'{name}: write `import {{ a }} from "./b.js";` and `export function`, `class` or `const`')
    parts[name] = f"const {_variable(name)} = (() => {{\n{body}\nreturn {{ {', '.join(exports)} }};\n}})();"


def _variable(name: str) -> str:
    return "$" + re.sub(r"\W", "_", name[: -len(".js")])


def hashed(text: str) -> str:
    """A text's hash as a Content-Security-Policy names it."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
