"""The page of a trace: one HTML file that works offline, with everything in it."""

from __future__ import annotations

import base64
import gzip
import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..control.step import Step
from ..output_file import remove_regular, replacement
from .assets import hashed, script, stylesheet
from .file import Trace
from .html import Html, element
from .outline import Outline
from .page_parts import answer, heading, static_list
from .summary import markdown

#: Steps of a page, the newest; and characters of all their details, beyond which the oldest lose theirs.
MOST_STEPS = 20_000
DETAIL_CHARACTERS = 24 * 1024**2
#: What the page may load and send: nothing. Its own script and stylesheet are added by their hashes.
POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'"


def write_files(trace: Trace, page: Path) -> None:
    """Write both files of a trace, its page and its lines; neither is left half-written.

    Raises:
        OSError: They cannot be written. The rest of what was written is removed, as far as possible.
    """
    lines = page.with_suffix(".jsonl")
    try:
        trace.write(lines)
        write_page(trace, page)
    except BaseException:
        for path in (lines, lines.with_name(f".{lines.name}.new"), page):
            remove_regular(path)
        raise


def write_page(trace: Trace, page: Path) -> None:
    """Write the page of a trace at once: a reader never sees a part of it.

    Raises:
        OSError: It cannot be written; what there was before is still there.
    """
    with replacement(page) as beside:
        with beside.open("w", encoding="utf-8", errors="replace", newline="\n") as file:
            file.write(build_page(trace))


def build_page(trace: Trace) -> str:
    """Make the page of a trace.

    It loads nothing and sends nothing: its Content-Security-Policy allows its own script and stylesheet, by their
    hashes, and nothing else. Without JavaScript it shows the summary and a list of steps.

    Args:
        trace: The trace. It is not changed.

    Returns:
        A complete HTML document.
    """
    trace = _bounded(trace)
    outline = Outline(trace)
    style, code = stylesheet(), script("page.js")
    policy = (
        f"default-src 'none'; script-src {hashed(code)}; style-src {hashed(style)}; base-uri 'none'; form-action 'none'"
    )
    name = trace.header.title.rpartition("::")[2] or trace.header.title
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="referrer", content="no-referrer"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", f"{trace.header.outcome}: {name} - trace"),
        element("style", Html(style)),
    )
    body = element(
        "body",
        element("a", "Skip to the steps", class_="skip", href="#steps"),
        heading(outline),
        element(
            "main",
            answer(outline),
            element("div", id="app"),
            element("noscript", static_list(outline)),
        ),
        element("script", Html(_packed(outline)), type="text/plain", id="trace-data"),
        element("script", Html(code), type="module"),
    )
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def _packed(outline: Outline) -> str:
    """The data that the script reads."""
    trace = outline.trace
    first = outline.first
    data = {
        "header": asdict(trace.header),
        "steps": [vars(step) for step in trace.steps],
        "markdown": markdown(trace),
        "first": first.id if first is not None else "",
    }
    try:
        text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    except ValueError:
        text = json.dumps(_finite(data), separators=(",", ":"))
    return base64.b64encode(gzip.compress(text.encode(), 6, mtime=0)).decode()


def _finite(value: Any) -> Any:
    """A value in which numbers that JSON does not have are null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _finite(one) for key, one in value.items()}
    return [_finite(one) for one in value] if isinstance(value, (list, tuple)) else value


def _bounded(trace: Trace) -> Trace:
    """A trace within the bounds of a page, with a note about what was left out."""
    steps, notes = trace.steps, list(trace.header.notes)
    if len(steps) > MOST_STEPS:
        notes.append(f"The page has the newest {MOST_STEPS:,} of {len(steps):,} steps; the .jsonl file has all.")
        steps = steps[-MOST_STEPS:]
    kept, left, dropped = [], DETAIL_CHARACTERS, 0
    for step in reversed(steps):
        left -= _size(step.detail)
        is_kept = left >= 0 or not step.detail
        kept.append(step if is_kept else _without_detail(step))
        dropped += not is_kept
    if dropped:
        notes.append(f"The page leaves out the details of the oldest {dropped:,} steps; the .jsonl file has them.")
    header = type(trace.header)(**{**vars(trace.header), "notes": notes})
    return Trace(header, kept[::-1])


def _without_detail(step: Step) -> Step:
    return Step(**{**vars(step), "detail": {"dropped": "the page would be too large"}})


def _size(value: Any) -> int:
    """About how many characters a detail takes."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(len(str(key)) + _size(one) for key, one in value.items())
    return sum(map(_size, value)) if isinstance(value, (list, tuple)) else 8
