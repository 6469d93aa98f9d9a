"""Redaction of events: what their data may hold when it is kept and shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..control.redaction import LONGEST, SPARE, redact

#: A longer text in an event is cut, after redaction.
TEXT = 32 * 1024
#: Characters of all texts of one event; the rest is dropped.
EVENT = 256 * 1024
#: The text in place of what was dropped.
DROPPED = f"(dropped: the event has more than {EVENT // 1024} KiB)"
#: The data of an event is nested no deeper.
DEPTH_MOST = 100


class EventRedactor:
    """Makes the data of an event safe to keep and to show: secrets and credentials redacted, long texts cut, valid
    Unicode.

    Attributes:
        weight: Characters that were kept.
    """

    def __init__(self, secrets: Sequence[str]) -> None:
        self._secrets = secrets
        self.weight = 0

    def redact(self, value: Any) -> Any:
        """Return the data of one event. No more than what is kept is searched."""
        if not self._secrets:
            return self._redact_value(value, 0)
        texts: list[str] = []
        self._collect(value, texts, [0], 0)
        everything = "\n".join(texts)
        own, self._secrets = self._secrets, [one for one in self._secrets if one[:LONGEST] in everything]
        try:
            return self._redact_value(value, 0)
        finally:
            self._secrets = own

    def _collect(self, value: Any, texts: list[str], size: list[int], depth: int) -> None:
        """Collect the texts in a value, as far as they may be kept."""
        if size[0] > EVENT or depth > DEPTH_MOST:
            return
        if isinstance(value, str):
            texts.append(value[: TEXT + SPARE])
            size[0] += min(len(value), TEXT) + 8
        elif isinstance(value, (dict, list, tuple)):
            size[0] += 8
            for each in value:
                if size[0] > EVENT:
                    return
                self._collect(each, texts, size, depth + 1)
                if isinstance(value, dict):
                    self._collect(value[each], texts, size, depth + 1)
        else:
            size[0] += 8

    def _redact_value(self, value: Any, depth: int) -> Any:
        if self.weight > EVENT or depth > DEPTH_MOST:
            return DROPPED
        if isinstance(value, str):
            return self.text(value)
        self.weight += 8
        if isinstance(value, dict):
            kept: dict[str, Any] = {}
            for name, inner in value.items():
                if self.weight > EVENT:
                    kept["…"] = DROPPED
                    break
                kept[self.text(str(name))] = self._redact_value(inner, depth + 1)
            return kept
        if isinstance(value, (list, tuple)):
            items: list[Any] = []
            for inner in value:
                if self.weight > EVENT:
                    items.append(DROPPED)
                    break
                items.append(self._redact_value(inner, depth + 1))
            return items
        return value

    def text(self, text: str) -> str:
        """Return one text, redacted and cut."""
        if text:
            text = redact(text, self._secrets, TEXT)
        self.weight += len(text) + 8
        return text
