"""What the collections of faults, stubs, replies, fake repositories and prepared sandboxes have in common."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any, Callable, Generic, Optional, TypeVar, Union

from ..control.agent_replies import ReplyInfo
from ..control.description import options_of
from ..control.faults import FaultInfo
from ..control.identifiers import IdOrObject, id_of
from ..control.patterns import TextPattern
from ..control.prepared import PreparedInfo
from ..control.repositories import RepositoryInfo
from ..control.stubs import StubInfo
from ..control.values import seconds_of, to_json
from .admin_client import AdminClient

Info = TypeVar("Info", bound=Union[FaultInfo, StubInfo, ReplyInfo, RepositoryInfo, PreparedInfo])


class Collection(Generic[Info]):
    """The controls of one kind that apply to an account: the selected one, unless `account` names another.

    An account's own controls are tried first, then those of all accounts (`account="*"`), each in the order in which
    they were added. `list` returns them in this order. For `list`, `unused` and `clear`, `account="*"` means the
    controls of every account: each account's own, and those that were added for all accounts.
    """

    _info: type[Info]

    def __init__(self, admin: AdminClient) -> None:
        self._admin = admin

    @property
    def _path(self) -> str:
        """Their path below `/_emulator`."""
        raise NotImplementedError

    @property
    def _item_path(self) -> str:
        """The path below which each is found by its id."""
        return self._path

    def get(self, id: str) -> Info:
        """Return one control: of a view, one that applies to its account; of a whole emulator, one of any account.

        Args:
            id: The control's id.

        Raises:
            EmulatorError: There is none with this id.
        """
        return self._info(**self._admin.call("GET", f"{self._item_path}/{id}", account=self._admin.allowed_account))

    def remove(self, id: str) -> None:
        """Remove one control that `get` returns. Requests that hang by a fault end, without an answer.

        Args:
            id: The control's id.

        Raises:
            EmulatorError: There is none with this id.
        """
        self._admin.call("DELETE", f"{self._item_path}/{id}", account=self._admin.allowed_account)

    def clear(self, *, account: Optional[IdOrObject] = None) -> int:
        """Remove all that were added for exactly this account. Those that were added for all accounts stay.

        Args:
            account: An account or its id; `"*"`: those of every account, and those of all. The default is the selected
                account.

        Returns:
            How many were removed.
        """
        return int(self._admin.call("DELETE", self._path, account=account)["removed"])

    def unused(self, *, account: Optional[IdOrObject] = None) -> list[Info]:
        """List those that were never used and are not optional: `list(unused=True)`.

        Args:
            account: As of `list`.
        """
        return self.list(unused=True, account=account)

    def list(
        self,
        *,
        sandbox: Optional[IdOrObject] = None,
        last: Optional[int] = None,
        unused: bool = False,
        account: Optional[IdOrObject] = None,
    ) -> list[Info]:
        """List all that apply to the account, in the order in which they are tried.

        Args:
            sandbox: A sandbox or its id: only those that apply in it.
            last: Only the last so many.
            unused: Only those that were never used and are not optional.
            account: An account or its id; `"*"`: those of every account, and those of all, in the order in which they
                were added. The default is the selected account.

        Raises:
            ValueError: `last` is below 1, or the account never had the sandbox.
        """
        query = {"sandbox": sandbox, "last": last, "unused": "true" if unused else None}
        return self._admin.records(self._path, self._info, account=account, query=query)

    def _add(
        self,
        description: type,
        arguments: Mapping[str, Any],
        account: Optional[IdOrObject],
        function: Optional[Callable[..., Any]] = None,
        also: str = "",
    ) -> dict[str, Any]:
        """Add a control.

        Args:
            description: Its class.
            arguments: Values of its options; None stands for the default.
            account: The account.
            function: Answers in its place. It is registered with the emulator of this process.
            also: What a text may also be, for error texts.

        Raises:
            ValueError, TypeError: An option is wrong; the text starts with its name.
            EmulatorError: A function is given and the emulator is in another process.
        """
        body = options_as_json(description, arguments, also)
        if function is None:
            return dict(self._admin.call("POST", self._path, body, account=account))
        functions, handle = self._admin.local("a function").functions, secrets.token_hex(8)
        functions[handle] = function
        try:
            return dict(self._admin.call("POST", self._path, {**body, "function": handle}, account=account))
        finally:
            functions.pop(handle, None)


def options_as_json(description: type, arguments: Mapping[str, Any], also: str = "") -> dict[str, Any]:
    """Check arguments by their description, and write them as JSON; those that are the defaults are left out.

    Raises:
        ValueError, TypeError: An argument is wrong; the text starts with its name.
    """
    body: dict[str, Any] = {}
    for one in options_of(description):
        value = seconds_of(id_of(arguments.get(one.name)))
        if one.name not in arguments or (value is None and not isinstance(one.default, (str, int, float))):
            continue
        if one.type == TextPattern:
            value = TextPattern.of_python(one.name, value)
        one.check(value, also)
        if one.is_given(value):
            body[one.name] = to_json(value)
    return body
