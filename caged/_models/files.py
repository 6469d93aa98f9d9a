"""Directory entries and git diffs."""

from dataclasses import dataclass, field

from .._literals import FileType
from .._naming import public
from ._base import Model


@public
@dataclass(frozen=True)
class FileEntry(Model):
    """One entry of a directory.

    Attributes:
        name: The last part of the path.
        path: Absolute inside the sandbox, e.g. ``/workspace/a.js``.
        type: ``file`` or ``directory``.
        size: Bytes.
        mod_time: RFC 3339; empty when the server does not know it.
    """

    name: str = ""
    path: str = ""
    type: FileType = "file"
    size: int = 0
    mod_time: str = ""

    @property
    def is_dir(self) -> bool:
        """True for a directory."""
        return self.type == "directory"


@public
@dataclass(frozen=True)
class GitFileStatus(Model):
    """One changed file; `status` is modified, added, deleted or untracked."""

    path: str = ""
    status: str = ""


@public
@dataclass(frozen=True)
class GitDiff(Model):
    """The changes in a work tree; ``str(diff)`` is the text of all of them.

    Attributes:
        files: Every changed file, untracked ones included.
        diff: What is not staged, as ``git diff`` prints it.
        staged_diff: What is staged.
    """

    files: list[GitFileStatus] = field(default_factory=list, hash=False)
    diff: str = ""
    staged_diff: str = ""

    def __str__(self) -> str:
        if self.diff and self.staged_diff and not self.diff.endswith("\n"):
            return f"{self.diff}\n{self.staged_diff}"
        return self.diff + self.staged_diff
