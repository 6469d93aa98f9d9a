"""A command as a client submits it, and as people see it.

The SDK's bound sandboxes run a program's command by a script around it, and have scripts of their own for files. The
first line of each says so (`caged/_workspace/script_header.py`). The command is what is recorded and what stubs match;
the script is what runs. A script of the SDK's own is recorded by what it does, and no stub answers it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from caged._workspace.command_output import STARTED, PrintedResult, read_result, write_result
from caged._workspace.command_script import files_of
from caged._workspace.script_header import ScriptHeader, read_header

from ..control.records import CommandSource


@dataclass(frozen=True)
class SubmittedCommand:
    """A command.

    Attributes:
        text: What the shell of the sandbox runs.
        header: The first line of a script of the SDK; None for any other command.
    """

    text: str
    header: Optional[ScriptHeader]

    @property
    def shown(self) -> str:
        """The command for records, and for the patterns of stubs."""
        return self.text if self.header is None else self.header.title

    @property
    def source(self) -> CommandSource:
        """What runs it, for records."""
        return "helper" if self.is_helper else "exec"

    @property
    def is_helper(self) -> bool:
        """Whether it is no command of a program."""
        return self.header is not None and self.header.is_helper

    @property
    def is_wrapped(self) -> bool:
        """Whether a script runs a program's command and prints its result."""
        return self.header is not None and not self.header.is_helper

    def result(self, output: str) -> Optional[PrintedResult]:
        """The result of the program's command, of what its script printed; None where the script has ended early."""
        if self.header is None or self.header.is_helper:
            return None
        try:
            return read_result(self.header.name, output)
        except ValueError:
            return None

    def files_of_output(self, output: str) -> tuple[str, ...]:
        """The files with what the program's command printed, where its script has started it and not printed them."""
        if self.header is None or self.header.is_helper or STARTED not in output.split():
            return ()
        return tuple(f"{files_of(self.header.name)}.{stream}" for stream in (1, 2))

    def as_printed(self, output: str, exit_code: int) -> tuple[str, int]:
        """What a client gets for an output and an exit code that stand in for the command's."""
        if self.header is None or self.header.is_helper:
            return output, exit_code
        return write_result(self.header.name, output.encode("utf-8", "replace")), exit_code


def submitted(command: str) -> SubmittedCommand:
    """Read a command."""
    return SubmittedCommand(command, read_header(command))
