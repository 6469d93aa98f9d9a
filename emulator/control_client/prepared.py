"""Prepared sandboxes."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..control.prepared import PreparedInfo, PreparedSandbox
from .admin_client import AdminClient
from .archives import send
from .collection import Collection, options_as_json
from .handle import Handle

#: Time limit of a preparation, in seconds: packages are installed, and a script runs.
PREPARE_SECONDS = 600.0


@dataclass(frozen=True)
class PreparedHandle(Handle):
    """A prepared sandbox. In a `with` statement it is removed at the end: see `Handle`. Sandboxes that were created
    from it stay as they are.

    Attributes:
        account: Id of the account to which it applies, or `*`.
        name: Its name.
    """

    account: str = field(default="*")
    name: str = field(default="")

    @property
    def _path(self) -> str:
        return f"/prepared/{self.id}"

    @property
    def info(self) -> PreparedInfo:
        """The prepared sandbox as the emulator has it now."""
        return PreparedInfo(**self._admin.call("GET", self._path, account="*"))

    @property
    def used(self) -> int:
        """How many sandboxes were created from it so far."""
        return self.info.used

    def _complaint(self) -> str:
        info = self.info
        return unused_prepared([info]) if info.is_unused else ""

    def __str__(self) -> str:
        return self.name


def unused_prepared(prepared: Sequence[PreparedInfo]) -> str:
    """The message about prepared sandboxes that were never used."""
    one = len(prepared) == 1
    lines = ["no sandbox was created from a prepared one:" if one else "no sandbox was created from prepared ones:"]
    lines += [f"  {each.described}" for each in prepared]
    lines.append("remove it, use its name as template=, or prepare it with optional=True")
    return "\n".join(lines)


class Prepared(Collection[PreparedInfo]):
    """Prepared sandboxes of one account: the selected one, unless `account` names another. `account="*"` applies to
    every account. `prepare` adds one."""

    _info = PreparedInfo

    @property
    def _path(self) -> str:
        return "/prepared"


def prepare(admin: AdminClient, arguments: dict[str, Any]) -> PreparedHandle:
    """Prepare a sandbox.

    Args:
        admin: The client of the emulator's admin API.
        arguments: Those of `PreparedMethods.prepare`.

    Raises:
        ValueError, TypeError: See there.
    """
    archive = arguments["from_archive"]
    if archive is not None:
        if not isinstance(archive, (str, os.PathLike)):
            raise TypeError(f"from_archive: must be the path of an archive (a str or a Path), not {archive!r}")
        arguments = {**arguments, "from_archive": secrets.token_hex(16)}
    body = options_as_json(PreparedSandbox, arguments)
    if archive is not None:
        send(admin, archive, f"/prepared-archives/{arguments['from_archive']}")
    added = admin.call("POST", "/prepared", body, account=arguments["account"], timeout=PREPARE_SECONDS)
    return PreparedHandle(added["id"], admin, added["account"], added["name"])
