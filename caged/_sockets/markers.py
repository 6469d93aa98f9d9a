"""How a terminal runs one command, so that the begin and end of its output and its exit code are known.

Two markers are printed around the command, with a key that nothing else prints. The platform's contract has
the typed lines word for word; reading is stricter here than it requires: an echo of the typed lines differs from
the markers by the quote that follows, only the first line break after BEGIN belongs to the marker, nothing is
held back that cannot be part of a marker, and an exit code is complete when something other than a digit follows.

The emulator recognises the commands of streaming clients by the same markers; it takes their form from here.
"""

from __future__ import annotations

import re
import secrets
from typing import Optional

#: What both markers begin with.
PREFIX = "__CAGED_"
#: A pattern for what connects the two markers of one command.
KEY_PATTERN = "[0-9a-f]{16}"
_KEY_BYTES = 8
# The exit code may be a little late or padded, but a number further away is not it.
_NUMBER = re.compile(r"(\s{0,12})([0-9]{0,9})")
# A shorter rest that looks like the beginning of a marker is more likely output.
_SURELY_A_MARKER = 3


def begin_marker(key: str) -> str:
    """The marker before the output of the command with this key."""
    return f"{PREFIX}BEGIN_{key}__"


def exit_marker(key: str) -> str:
    """The marker after the output of the command with this key, before its exit code."""
    return f"{PREFIX}EXIT_{key}__"


class Markers:
    """The two markers of one command."""

    def __init__(self) -> None:
        key = secrets.token_hex(_KEY_BYTES)
        self.begin = begin_marker(key)
        self.end = exit_marker(key)

    def lines(self, command: str) -> tuple[str, str, str]:
        """The lines to type into the shell."""
        return (
            f"stty -echo 2>/dev/null; printf '%s\\n' '{self.begin}'\n",
            command if command.endswith("\n") else f"{command}\n",
            f"__caged_rc=$?; printf '%s%s\\n' '{self.end}' \"$__caged_rc\"; exit \"$__caged_rc\"\n",
        )


class MarkerReader:
    """Finds a command's output in what the terminal prints.

    Attributes:
        begun: BEGIN was seen.
        exit_code: None until END was seen with its digits.
        counting: END and digits were seen, but not what ends the digits.
    """

    def __init__(self, markers: Markers) -> None:
        self._markers = markers
        self._held = ""
        self.begun = False
        self.exit_code: Optional[int] = None
        self.counting = False

    def feed(self, text: str) -> str:
        """Add what the terminal printed. Returns the output that is known so far and was not returned yet."""
        if self.exit_code is not None:
            return ""
        self._held += text
        if not self.begun and not self._begin():
            return ""
        return self._release()

    def end(self) -> str:
        """End the output. Returns the rest of it."""
        if self.counting:
            self._found(_NUMBER.match(self._held, len(self._markers.end)))
        rest, self._held = self._held, ""
        return rest if self.begun and self.exit_code is None and len(rest) < _SURELY_A_MARKER else ""

    def _begin(self) -> bool:
        begin = self._markers.begin
        while True:
            at = self._held.find(begin)
            if at < 0:
                self._held = self._held[-len(begin) + 1 :]
                return False
            rest = self._held[at + len(begin) :]
            if not rest.strip("\r"):  # its line break is still to come
                self._held = self._held[at:]
                return False
            if rest[0] != "'":
                break
            self._held = rest  # the echo of the typed line
        unbroken = rest.lstrip("\r")
        self._held = unbroken[1:] if unbroken[0] == "\n" else unbroken
        self.begun = True
        return True

    def _release(self) -> str:
        end = self._markers.end
        at = self._held.find(end)
        while at >= 0:
            number = _NUMBER.match(self._held, at + len(end))
            assert number is not None  # it matches nothing at all, too
            last = number.end() == len(self._held)
            if number[2] and not last:
                output = self._held[:at]
                self._found(number)
                return output
            if last and len(number[1]) < 12:
                self.counting = bool(number[2])
                return self._take(at)
            at = self._held.find(end, at + 1)  # the echo of the typed line, or output that resembles it
        return self._take(len(self._held) - _overlap(self._held, end))

    def _take(self, count: int) -> str:
        output, self._held = self._held[:count], self._held[count:]
        return output

    def _found(self, number: Optional[re.Match[str]]) -> None:
        assert number is not None
        self.exit_code = int(number[2])
        self.counting = False
        self._held = ""


def _overlap(text: str, marker: str) -> int:
    """How many characters at the end of `text` may be the beginning of `marker`."""
    at = text.find(marker[0], max(0, len(text) - len(marker) + 1))
    while at >= 0:
        if marker.startswith(text[at:]):
            return len(text) - at
        at = text.find(marker[0], at + 1)
    return 0
