"""What an account has now, regardless of faults, limits and the journal."""

from __future__ import annotations

from typing import Optional

from ..control.identifiers import IdOrObject, id_of
from ..control.records import LogLine, SandboxRecord, SnapshotRecord, SocketRecord
from .admin_client import AdminClient


class Inventory:
    """What one account has: the selected one, unless `account` names another, or `"*"` for all. Oldest first."""

    def __init__(self, admin: AdminClient) -> None:
        self._admin = admin

    def sandboxes(self, *, last: Optional[int] = None, account: Optional[IdOrObject] = None) -> list[SandboxRecord]:
        """List sandboxes.

        Args:
            last: Only the newest so many.
            account: An account or its id; `"*"`: all accounts. The default is the selected account.
        """
        return self._admin.records("/sandboxes", SandboxRecord, account=account, query={"last": last})

    def logs(self, sandbox: IdOrObject, *, last: Optional[int] = None) -> list[LogLine]:
        """List the lines of the log of a sandbox: of a view, one of its account; of a whole emulator, one of any.

        Args:
            sandbox: The sandbox, or its id.
            last: Only the newest so many lines.

        Raises:
            EmulatorError: There is no such sandbox.
        """
        path = f"/sandboxes/{id_of(sandbox)}/logs"
        return self._admin.records(path, LogLine, account=self._admin.allowed_account, query={"last": last})

    def snapshots(
        self,
        *,
        sandbox: Optional[IdOrObject] = None,
        last: Optional[int] = None,
        account: Optional[IdOrObject] = None,
    ) -> list[SnapshotRecord]:
        """List snapshots, also of sandboxes that are gone.

        Args:
            sandbox: Only those of this sandbox, or its id.
            last: Only the newest so many.
            account: An account or its id; `"*"`: all accounts. The default is the selected account.
        """
        query = {"sandbox": sandbox, "last": last}
        return self._admin.records("/snapshots", SnapshotRecord, account=account, query=query)

    def sockets(
        self,
        *,
        sandbox: Optional[IdOrObject] = None,
        last: Optional[int] = None,
        wait: float = 0.0,
        account: Optional[IdOrObject] = None,
    ) -> list[SocketRecord]:
        """List open connections into the account's sandboxes.

        Args:
            sandbox: Only those into this sandbox, or its id.
            last: Only the newest so many.
            wait: Seconds, at most 5, that are given to connections which are being closed; it returns as soon as the
                account has none.
            account: An account or its id; `"*"`: all accounts. The default is the selected account.
        """
        query = {"sandbox": sandbox, "last": last, "wait": wait or None}
        return self._admin.records("/sockets", SocketRecord, account=account, query=query)
