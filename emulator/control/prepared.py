"""Prepared sandboxes: file systems that are built once, and that sandboxes are created from by their name.

An option of a prepared sandbox is one field of `PreparedSandbox`, and one parameter of `PreparedMethods.prepare`.
`platform/prepared_sandboxes.py` builds them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Optional, TypeVar, Union

from .current_account import ALL_ACCOUNTS
from .description import named, option
from .identifiers import IdOrObject
from .records import value
from .registry import Control, CountedInfo
from .values import Files, Names

H = TypeVar("H")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
#: Bytes of all files together, and prepared sandboxes of one account.
MOST_BYTES, MOST_PREPARED = 32 * 1024**2, 100


@dataclass(frozen=True)
class PreparedInfo(CountedInfo):
    """A prepared sandbox as the emulator has it."""

    name: str = value("Its name: `create(template=NAME)`.", column=True)
    template: str = value("The template that it was built with.", column=True)
    used: int = value("How many sandboxes were created from it.", column=True)


@dataclass
class PreparedSandbox(Control):
    """One prepared sandbox: its options, and what was built.

    Attributes:
        used: How many sandboxes were created from it.
        layers: Directories of its layers, topmost first; empty until it is built.
        users: Ids of the sandboxes that were created from it.
    """

    NOUN = "prepared"

    name: str = option("", "Its name: `create(template=NAME)`.", is_required=True)
    template: str = option("minimal", "The template to build it with.")
    packages: Names = option((), "Packages to install, as of a create.")
    init_script: Optional[str] = option(None, "Shell commands to run in it, after all else.")
    files: Files = option({}, "Files to write into it: path and content. A relative path is below /workspace.")
    from_snapshot: Optional[str] = option(None, "Id of a snapshot to begin with.", is_effect=True)
    from_archive: Optional[str] = option(
        None, "Archive of an export (of a kept sandbox, for example) to begin with.", is_effect=True
    )
    archive_sandbox: Optional[str] = option(
        None, "Id of the sandbox in the archive; needed where it holds several.", needs=("from_archive",)
    )
    optional: bool = option(False, "Do not report it when it is never used.")
    used: int = field(default=0)
    layers: tuple[Path, ...] = field(default=(), repr=False)
    users: set[str] = field(default_factory=set, repr=False)

    @property
    def is_built(self) -> bool:
        """Whether sandboxes can be created from it."""
        return bool(self.layers)

    def check(self) -> None:
        super().check()
        if _NAME.fullmatch(self.name) is None:
            raise ValueError(
                f"name: {self.name!r} cannot be used; begin with a letter or digit, and use letters, digits, '.', '_'"
                " and '-', 64 at most"
            )
        for package in self.packages:
            if not package.strip() or package.startswith("-") or "\0" in package:
                raise ValueError(f"packages: {package!r} is not a package name")
        if "\0" in (self.init_script or ""):
            raise ValueError("init_script: must not contain a NUL character")
        total = 0
        for path, content in self.files.items():
            if not path or "\0" in path:
                raise ValueError(f"files: {path!r} is not a path")
            total += len(content)
        if total > MOST_BYTES:
            raise ValueError(f"files: have {total:,} bytes; {MOST_BYTES // 1024**2} MiB are the most")

    def info(self) -> PreparedInfo:
        fields: dict[str, Any] = self._info_fields()
        options = {name: value for name, value in fields["options"].items() if name not in ("files", "from_archive")}
        if self.files:
            options["files"] = sorted(self.files)
        return PreparedInfo(**{**fields, "options": options}, name=self.name, template=self.template, used=self.used)

    def __str__(self) -> str:
        everywhere = ", account='*'" if self.account == ALL_ACCOUNTS else ""
        return f"prepared sandbox {self.id} ({self.name!r}, template={self.template!r}{everywhere})"


class PreparedMethods(Generic[H]):
    """The method that prepares a sandbox, as callers see it. H: the class of the handles that it returns."""

    __slots__ = ()

    @named("prepare")
    def prepare(
        self,
        name: str,
        *,
        template: str = "minimal",
        packages: Sequence[str] = (),
        init_script: Optional[str] = None,
        files: Optional[Mapping[str, Union[str, bytes]]] = None,
        from_snapshot: Optional[IdOrObject] = None,
        from_archive: Union[str, os.PathLike[str], None] = None,
        archive_sandbox: Optional[str] = None,
        optional: bool = False,
        account: Optional[IdOrObject] = None,
    ) -> H:
        """Build the file system of a sandbox once, so that `create(template=name)` takes milliseconds.

        Each sandbox that is created from it sees all of it, and changes a copy of its own. Processes and environment
        are not kept. Faults do not apply to it; stubs of commands apply to what installs packages and to the script.

        Args:
            name: Its name: `create(template=NAME)`.
            template: The template to build it with.
            packages: Packages to install, as of a create.
            init_script: Shell commands to run in it, after all else.
            files: Files to write into it: path and content. A relative path is below /workspace.
            from_snapshot: Id of a snapshot to begin with.
            from_archive: Archive of an export (of a kept sandbox, for example) to begin with.
            archive_sandbox: Id of the sandbox in the archive; needed where it holds several.
            optional: Do not report it when it is never used.
            account: An account or its id; `"*"`: all accounts. The default is the selected account.

        Returns:
            The handle of the prepared sandbox.

        Raises:
            ValueError, TypeError: An argument is wrong; the name is that of a template, or of what is prepared already;
                or it cannot be built, with the output of what failed.
        """
        return self._prepare(dict(locals()))

    def _prepare(self, arguments: dict[str, Any]) -> H:
        """Prepare a sandbox. `arguments`: the local names of `prepare`, `self` and `account` among them."""
        raise NotImplementedError
