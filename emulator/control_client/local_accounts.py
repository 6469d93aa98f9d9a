"""Creating and deleting accounts of an emulator in this process without a request to it: fixtures do both for every
test."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from ..platform.errors import ApiError
from .admin_client import AdminClient
from .transport import EmulatorError

if TYPE_CHECKING:
    from ..platform.platform import Platform


def create(admin: AdminClient, name: str, record_file_changes: bool) -> tuple[str, str]:
    """Create an account, as `BaseEmulator.create_account` does.

    Returns:
        Its id and its key.

    Raises:
        EmulatorError: The emulator does not run, or cannot write its state.
    """
    created = admin.run(functools.partial(_create, name=name, record_file_changes=record_file_changes))
    admin.notes.shared.created_accounts[created[0]] = None
    return created


def remove(admin: AdminClient, account: str) -> None:
    """Remove an account, as `BaseEmulator.remove_account` does.

    Raises:
        EmulatorError: The emulator does not run, or cannot write its state.
    """
    admin.notes.shared.before_deletion_of(account)
    admin.run(functools.partial(_delete, identifier=account))
    admin.notes.shared.forget(account)


async def _create(platform: Platform, name: str, record_file_changes: bool) -> tuple[str, str]:
    account, key = platform.accounts.create(name)
    if record_file_changes:
        platform.file_changes.enable(account.id, True)
    _commit(platform)
    return account.id, key.secret


async def _delete(platform: Platform, identifier: str) -> None:
    account = platform.store.accounts.get(identifier)
    if account is None:
        return
    try:
        await platform.remove_account(account)
    except ApiError as error:
        raise EmulatorError(error.detail) from error
    _commit(platform)


def _commit(platform: Platform) -> None:
    if not platform.is_persistent:
        return
    try:
        platform.commit()
    except OSError as error:
        raise EmulatorError(str(error)) from error
