"""Use of an emulator that runs already, so that nothing of this run is left there."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Optional

import httpx
import pytest

from caged.emulator import AccountInfo, EmulatorError, RemoteEmulator
from caged.emulator.control.current_account import OWNER_VARIABLE
from caged.emulator.control.identifiers import IdOrObject, id_of
from caged.emulator.control_client.transport import AdminRequestError

from ._target import Target


class AttachedEmulator(RemoteEmulator):
    """An emulator whose first account is replaced by an account of this process, which is deleted at the end."""

    def __init__(self, url: str, admin_key: str) -> None:
        super().__init__(url, admin_key)
        self._own: Optional[AccountInfo] = None
        self._created: dict[str, None] = {}
        self._outer_owner: Optional[str] = None

    def __enter__(self) -> AttachedEmulator:
        self._own = self.create_account("pytest")
        self._client = self._client.scoped(self._own.id)
        self._transport.owner = self._own.id
        self._outer_owner = os.environ.get(OWNER_VARIABLE)
        os.environ[OWNER_VARIABLE] = self._own.id  # for other clients that tests use, and for processes they start
        return self

    @property
    def owner(self) -> Optional[str]:
        """The owner of controls for all accounts that this process and its children add."""
        return self._transport.owner

    def create_account(self, name: str = "test", *, record_file_changes: bool = False) -> AccountInfo:
        """Create an account that is deleted at the end of the run, if not before."""
        account = super().create_account(name, record_file_changes=record_file_changes)
        self._created[account.id] = None
        return account

    def remove_account(self, account_id: IdOrObject) -> None:
        super().remove_account(account_id)
        self._created.pop(str(id_of(account_id)), None)

    @property
    def api_key(self) -> str:
        """The key of this process's own account."""
        return super().api_key if self._own is None else self._own.api_key

    def close(self) -> None:
        own, self._own = self._own, None
        try:
            if own is not None:
                self._end_ownership(own.id)
            for account_id in list(self._created):
                self.remove_account(account_id)
        except EmulatorError:
            pass  # it has ended, with everything in it
        super().close()

    def _end_ownership(self, owner: str) -> None:
        """Remove what is left of the controls for all accounts, and restore the environment."""
        if self._outer_owner is None:
            os.environ.pop(OWNER_VARIABLE, None)
        else:
            os.environ[OWNER_VARIABLE] = self._outer_owner
        for control in self._admin.shared_controls():
            if control.owner == owner:
                self._admin.remove_shared(control.path)


@contextlib.contextmanager
def attached(target: Target) -> Iterator[AttachedEmulator]:
    url = target.emulator_url or ""
    if not target.admin_key:
        raise pytest.UsageError(
            f"to use the emulator at {url} its admin key is needed: pass --caged-emulator-admin-key=KEY or set "
            "CAGED_EMULATOR_ADMIN_KEY (`caged-emulator serve` prints it), or unset CAGED_EMULATOR_URL to start one"
        )
    with contextlib.ExitStack() as stack:
        try:
            remote = stack.enter_context(AttachedEmulator(url, target.admin_key))
            level = remote.isolation
        except AdminRequestError as error:
            if error.status == 401:
                why = "the admin key is not its own; `caged-emulator env` prints that of a running one"
            else:
                why = f"no emulator of this version answers there ({error})"
            raise pytest.UsageError(f"cannot use the emulator at {url}: {why}") from None
        except (EmulatorError, httpx.InvalidURL, ValueError) as error:
            raise pytest.UsageError(
                f"cannot use the emulator at {url}: {error}; start it with `caged-emulator serve`, or unset "
                "CAGED_EMULATOR_URL to have one started"
            ) from None
        if target.isolation not in ("auto", level) and (target.isolation, level) != ("namespace", "bwrap"):
            raise pytest.UsageError(
                f"isolation={target.isolation} was requested, and the emulator at {url} has {level}; start it with "
                f"--isolation {target.isolation}, or request no isolation level here"
            )
        yield remote
