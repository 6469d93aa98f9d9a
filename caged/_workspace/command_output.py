"""What the script of a command prints, written and read."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field

STARTED = "@started"


@dataclass(frozen=True)
class Streams:
    """What a command printed.

    Attributes:
        stdout_bytes, stderr_bytes: Exact.
    """

    stdout_bytes: bytes = field(repr=False)
    stderr_bytes: bytes = field(repr=False)

    @property
    def stdout(self) -> str:
        """`stdout_bytes` as UTF-8; what is not becomes U+FFFD."""
        return self.stdout_bytes.decode("utf-8", "replace")

    @property
    def stderr(self) -> str:
        """`stderr_bytes` as UTF-8; what is not becomes U+FFFD."""
        return self.stderr_bytes.decode("utf-8", "replace")


@dataclass(frozen=True)
class PrintedResult:
    """The result of a command, as its script prints it.

    Attributes:
        marks: What the script printed before: `@started`, or why it was not started.
        stdout, stderr: The beginnings of what it printed, see `command_script`.
        is_lost: Whether what it printed is lost, because it has removed the files.
    """

    marks: tuple[str, ...]
    stdout: bytes
    stderr: bytes
    is_lost: bool = False


def read_result(name: str, output: str) -> PrintedResult:
    """Read what the script printed.

    Args:
        name: The command's.

    Raises:
        ValueError: It is something else: the script has ended early, or not printed it once.
    """
    head, mark, printed = f"\n{output}".partition(f"\n@{name}\n")
    if not mark:
        raise ValueError("the script has ended early")
    marks = tuple(head.split())
    if printed.startswith("!\n"):
        return PrintedResult(marks, b"", b"", is_lost=True)
    # No other "@" is base64.
    encoded_out, _, encoded_err = f"\n{printed}".partition("\n@\n")
    return PrintedResult(marks, decode(encoded_out), decode(encoded_err))


def write_result(name: str, stdout: bytes) -> str:
    """What the script prints for a command that printed nothing else."""
    return f"{STARTED}\n@{name}\n{base64.b64encode(stdout).decode()}\n"


def decode(text: str) -> bytes:
    """The bytes of the output of `base64`.

    Raises:
        ValueError: It is something else.
    """
    try:
        return base64.b64decode(text.encode("ascii").translate(None, b"\r\n "), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raise ValueError("not base64") from None
