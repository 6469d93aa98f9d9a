"""Texts of a trace for readers: without escape sequences, within bounds; durations and amounts."""

from __future__ import annotations

import json
import re
from typing import Any

_ESCAPES = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\)?|[ -/]*[0-~])"  # CSI, titles, others
    r"|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"
    r"|[\u202a-\u202e\u2066-\u2069]"  # they would change the order in which the rest of a line is shown
)


def one_line(text: str) -> str:
    """A text with each run of white space as one space."""
    return " ".join(text.split())


def plain(text: str) -> str:
    """A text as a terminal would show it in the end: without escape sequences and overwritten parts of lines."""
    text = _ESCAPES.sub("", text.replace("\r\n", "\n"))
    if "\r" in text:
        text = "\n".join(_overwritten(line) for line in text.split("\n"))
    return text.encode("utf-8", "replace").decode()


def _overwritten(line: str) -> str:
    shown = ""
    for part in line.split("\r"):
        shown = part + shown[len(part) :]
    return shown


def json_text(content: Any) -> str:
    """A value as JSON in one line. What a terminal would act upon is escaped; other letters stay readable."""
    text = json.dumps(content, ensure_ascii=False, separators=(", ", ": "))
    return _ESCAPES.sub(lambda found: "".join(f"\\u{ord(one):04x}" for one in found[0]), text)


def duration(milliseconds: float) -> str:
    """A duration as `41 ms`, `1.8 s` or `3 min`."""
    if milliseconds < 10:
        return f"{milliseconds:.1f} ms"
    if milliseconds < 999.5:
        return f"{milliseconds:.0f} ms"
    seconds = milliseconds / 1000
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 99.5:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min" if minutes % 60 else f"{minutes // 60} h"


def money(dollars: float) -> str:
    """An amount with as many digits as matter: `$0.25`, `$12.50`, `$0.0004`."""
    if dollars >= 0.1 or dollars <= 0:
        return f"${dollars:.2f}"
    return f"${dollars:.4f}".rstrip("0") if dollars >= 0.0001 else "<$0.0001"


def counted(number: int, word: str, plural: str = "s") -> str:
    """A number with its word, such as `2 steps`."""
    return f"{number} {word}{'' if number == 1 else plural}"


def middle_cut(text: str, most: int) -> str:
    """A text without its middle, where it is too long: its end often has the reason."""
    if len(text) <= most:
        return text
    return f"{text[: most // 3]}\n… {len(text) - most} characters left out …\n{text[len(text) - (most - most // 3) :]}"


def source_lines(source: Any) -> list[tuple[int, str, bool]]:
    """The lines of a source without the indentation that all have, each with its number and whether it is meant."""
    if not isinstance(source, dict) or not isinstance(source.get("code"), list):
        return []
    pairs = [pair for pair in source["code"] if isinstance(pair, (list, tuple)) and len(pair) == 2]
    lines = [(number, plain(str(text)).rstrip()) for number, text in pairs if isinstance(number, int)]
    while lines and not lines[-1][1]:
        lines.pop()
    indents = [len(text) - len(text.lstrip()) for _number, text in lines if text]
    least = min(indents, default=0)
    return [(number, text[least:], number == source.get("line")) for number, text in lines]
