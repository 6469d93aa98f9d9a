"""A 404 for a sandbox or snapshot of another account: the journal says so. The wire never does."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Union

from ..control.records import RequestRecord
from ..platform.errors import ApiError
from ..platform.platform import Platform
from ..store import Account, Sandbox, Snapshot


def note_foreign(
    platform: Platform, entry: RequestRecord, account: Account, refusal: ApiError, ids: Iterable[str]
) -> None:
    """Add a warning to the entry of a request that was refused with 404, if what it asked for exists.

    Args:
        platform: has the sandboxes and snapshots.
        entry: the request's entry in the journal.
        account: the account that asked; one without an id was not authenticated.
        refusal: the answer.
        ids: the ids in the request's path. Those of its body are found in the refusal's text.
    """
    if refusal.status != 404 or not account.id:
        return
    store = platform.store
    for id in dict.fromkeys([*ids, *refusal.detail.replace("'", " ").split()]):
        found: Union[Sandbox, Snapshot, None] = store.sandboxes.get(id) or store.snapshots.get(id)
        if found is None or found.account_id == account.id:
            continue
        kind = "sandbox" if id in store.sandboxes else "snapshot"
        owner = store.accounts.get(found.account_id)
        name = f", {owner.name!r}" if owner is not None else ""
        other = f"another account ({found.account_id}{name})"
        entry.warnings.append(f"{kind} {id} exists, but belongs to {other}; use a client of that account")
