"""Explain a 404 for a sandbox or snapshot of another account in the journal. The response never does."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Union

from ..control.records import RequestRecord
from ..platform.errors import ApiError
from ..platform.platform import Platform
from ..store import AccountRecord, Sandbox, Snapshot


def note_if_of_other_account(
    platform: Platform, record: RequestRecord, account: AccountRecord, error: ApiError, ids: Iterable[str]
) -> None:
    """Add a warning to the journal's record of a request that got a 404 for something that exists.

    Args:
        platform: Has the sandboxes and snapshots.
        record: The request's record.
        account: The account that the request is for. Without an id, it is not authenticated.
        error: The error.
        ids: The ids in the request's path. Those in its body are found in the error's text.
    """
    if error.status != 404 or not account.id:
        return
    store = platform.store
    for id in dict.fromkeys([*ids, *error.detail.replace("'", " ").split()]):
        found: Union[Sandbox, Snapshot, None] = store.sandboxes.get(id) or store.snapshots.get(id)
        if found is None or found.account_id == account.id:
            continue
        kind = "sandbox" if id in store.sandboxes else "snapshot"
        owner = store.accounts.get(found.account_id)
        name = f", {owner.name!r}" if owner is not None else ""
        other = f"another account ({found.account_id}{name})"
        record.warnings.append(f"{kind} {id} exists, but belongs to {other}; use a client of that account")
