"""What the operations of faults, stubs and replies have in common: list, get, remove and clear."""

from __future__ import annotations

from collections.abc import Awaitable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Callable, Optional, TypeVar

from pydantic import Field
from starlette.responses import Response

from ...control.current_account import ALL_ACCOUNTS
from ...control.names import suggestion
from ...control.queries import ControlQuery, parameters_of
from ...control.registry import Control, Registry
from ...platform.errors import ApiError, invalid
from ...platform.platform import Platform
from ...store import Sandbox
from ..operation import Call, EmptyBody, Model, json_reply, no_content
from ..value_errors import shown
from .names import check_sandbox
from .operations import AdminOperations

C = TypeVar("C", bound=Control)
T = TypeVar("T")
#: The query of every list of controls.
LIST_QUERY = parameters_of(ControlQuery)


@contextmanager
def refusing() -> Iterator[None]:
    """Answer with 400 where the block raises ValueError or TypeError."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise invalid(str(error)) from None


def last_of(call: Call[Any], entries: Sequence[T]) -> Sequence[T]:
    """As many of the newest entries as the query's `last` says; all when it says nothing."""
    last = call.query_int("last")
    if last is not None and last < 1:
        raise invalid(f"last: must be at least 1, not {last}; leave it out for all")
    return entries if last is None else entries[-last:]


class RemovedOut(Model):
    """What a call that clears has done."""

    removed: int = Field(description="How many were removed.")


def removed_reply(count: int) -> Response:
    """Answer with how many were removed."""
    return json_reply(RemovedOut(removed=count))


def named_account(call: Call[Any]) -> Optional[str]:
    """Id of the account that the query names; None without `?account=`, and with `*`."""
    named = call.query("account")
    return None if named == ALL_ACCOUNTS else named


def is_visible(call: Call[Any], control: Control) -> bool:
    """Whether a call may name a control: without `?account=`, or with `*`, every one; otherwise those that apply to the
    account."""
    return named_account(call) is None or control.account in (named_account(call), ALL_ACCOUNTS)


def not_found_of(noun: str, identifier: str, known: Sequence[str], account: Optional[str]) -> ApiError:
    """A 404 for an id that does not exist where a call looks, with a suggestion of one that does."""
    where = "" if account is None else f" in account {account}"
    return ApiError(404, f"{noun} not found{where}: {identifier}{suggestion(identifier, known)}")


def named_sandbox(call: Call[Any]) -> Sandbox:
    """The sandbox that the path names: of the account of `?account=`; without one, or with `*`, of any. 404 when there
    is none."""
    store, account = call.platform.store, named_account(call)
    sandbox = store.sandboxes.get(call.param("id"))
    if sandbox is None or account not in (None, sandbox.account_id):
        known = [one.id for one in store.sandboxes.values() if account in (None, one.account_id)]
        raise not_found_of("sandbox", call.param("id"), known, account)
    return sandbox


def listed(call: Call[Any], controls: Sequence[C]) -> Sequence[C]:
    """Return the controls that the query selects: by `sandbox` (those that apply in it), `unused` and `last`."""
    sandbox = call.query("sandbox")
    with refusing():
        check_sandbox(call, sandbox)
    unused = call.query("unused")
    if unused not in (None, "true", "false"):
        raise invalid(f"unused: must be true or false, not {shown(unused)}")
    found = [
        one
        for one in controls
        if (sandbox is None or getattr(one, "sandbox", None) in (None, sandbox)) and (unused != "true" or one.is_unused)
    ]
    return last_of(call, found)


def reply_with(model: type[Model], control: Control, status: int = 200) -> Response:
    """Answer with a control."""
    return json_reply(model(**vars(control.info())), status)


def reply_with_all(model: type[Model], controls: Sequence[Control]) -> Response:
    """Answer with controls."""
    return json_reply([model(**vars(one.info())) for one in controls])


def found(call: Call[Any], registry: Registry[C], noun: str) -> C:
    """The control that the path names. 404 when there is none, or the call may not name it."""
    control = registry.get(call.param("id"))
    if control is None or not is_visible(call, control):
        known = [one.id for one in registry.list(named_account(call) or ALL_ACCOUNTS)]
        raise not_found_of(noun, call.param("id"), known, named_account(call))
    return control


def add_operations(
    operations: AdminOperations,
    name: str,
    noun: str,
    model: type[Model],
    registry: Callable[[Platform], Registry[Any]],
    remove: Optional[Callable[[Platform, Any], Awaitable[None]]] = None,
) -> None:
    """Add the operations that are the same for each kind of control.

    Args:
        operations: Where they are added.
        name: The path of the kind, and the first part of the operations' names, such as `faults`.
        noun: What one is called, such as `fault`.
        model: The model of the answers.
        registry: Returns the registry.
        remove: Removes one control; by default the registry does.
    """

    async def remove_one(platform: Platform, control: Any) -> None:
        if remove is None:
            registry(platform).remove(control)
        else:
            await remove(platform, control)

    @operations.call("GET", f"/{name}", f"{name}.list", reply=list[model], query=LIST_QUERY)  # type: ignore[valid-type]
    async def list_controls(call: Call[EmptyBody]) -> Response:
        """All that apply to the account, in the order in which they are tried: its own first, then those of all
        accounts. With `account=*`: those of every account, and those of all, in the order in which they were added.
        `sandbox`: those that apply in it; `unused`: those that were never used and are not optional; `last`: the last
        so many."""
        return reply_with_all(model, listed(call, registry(call.platform).list(call.account.id)))

    @operations.call("GET", f"/{name}/{{id}}", f"{name}.get", reply=model)
    async def get(call: Call[EmptyBody]) -> Response:
        return reply_with(model, found(call, registry(call.platform), noun))

    @operations.call("DELETE", f"/{name}/{{id}}", f"{name}.remove")
    async def remove_control(call: Call[EmptyBody]) -> Response:
        """Remove one; requests that hang by a fault end, without an answer."""
        await remove_one(call.platform, found(call, registry(call.platform), noun))
        return no_content()

    @operations.call("DELETE", f"/{name}", f"{name}.clear", reply=RemovedOut)
    async def clear(call: Call[EmptyBody]) -> Response:
        """Remove all that were added for exactly this account; with `account=*`, those of every account, and those of
        all."""
        controls = registry(call.platform).cleared_by(call.account.id)
        for control in controls:
            await remove_one(call.platform, control)
        return removed_reply(len(controls))
