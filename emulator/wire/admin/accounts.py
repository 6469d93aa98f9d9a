"""/_emulator/accounts: create, list and remove accounts, so that many workers share one emulator; and reset one."""

from __future__ import annotations

from typing import Any, Optional

from starlette.responses import Response

from ...control.queries import AccountQuery, parameters_of
from ...store import AccountRecord
from ..operation import Body, Call, EmptyBody, Model, json_reply, no_content
from .controls import last_of
from .operations import AdminOperations, require_single

operations = AdminOperations()


class NewAccount(Body):
    """`name`: a label; it need not be unique. `record_file_changes`: as `PUT /journal/file-changes` does."""

    name: Optional[str] = None
    record_file_changes: bool = False


class AccountOut(Model):
    """`api_key`: a key of scope `full`; empty where the account has none left."""

    id: str
    name: str
    api_key: str
    sandboxes: int
    snapshots: int


def _account_out(call: Call[Any], account: AccountRecord) -> AccountOut:
    platform = call.platform
    key = next((key.secret for key in account.keys.values() if key.scope == "full"), "")
    return AccountOut(
        id=account.id,
        name=account.name,
        api_key=key,
        sandboxes=len(platform.sandboxes.of(account)),
        snapshots=len(platform.snapshots.of_account(account)),
    )


@operations.call("POST", "/accounts", "accounts.create", NewAccount, reply=AccountOut, status=201)
async def create(call: Call[NewAccount]) -> Response:
    account, _key = call.platform.accounts.create(call.body.name or "test")
    if call.body.record_file_changes:
        call.platform.file_changes.enable(account.id, True)
    return json_reply(_account_out(call, account), 201)


@operations.call("GET", "/accounts", "accounts.list", reply=list[AccountOut], query=parameters_of(AccountQuery))
async def list_accounts(call: Call[EmptyBody]) -> Response:
    """All accounts, oldest first; `last`: the newest so many only."""
    accounts = last_of(call, list(call.platform.store.accounts.values()))
    return json_reply([_account_out(call, account) for account in accounts])


@operations.call("GET", "/accounts/{id}", "accounts.get", reply=AccountOut)
async def get(call: Call[EmptyBody]) -> Response:
    """One account, with a full key of it."""
    return json_reply(_account_out(call, require_single(call.platform.accounts.administered(call.param("id")))))


@operations.call("DELETE", "/accounts/{id}", "accounts.remove")
async def remove(call: Call[EmptyBody]) -> Response:
    """Remove an account with everything in it: sandboxes, snapshots, keys, faults, stubs, its journal, its time."""
    account = call.platform.accounts.administered(call.param("id"))
    await call.platform.remove_account(require_single(account))
    return no_content()


@operations.call("POST", "/reset", "reset")
async def reset(call: Call[EmptyBody]) -> Response:
    """Remove everything in the account: sandboxes, snapshots, sessions, alerts, faults, stubs, journal, time. Its keys
    stay."""
    await call.platform.reset(call.account)
    return no_content()
