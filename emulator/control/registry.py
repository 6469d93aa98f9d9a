"""The registry of controls of one kind, and the rule by which they take precedence.

Faults, stubs and replies are kept alike. Each belongs to one account, or to all accounts (`*`).

- Those that apply to an account are tried in one order: first its own, then those of all accounts, each in the order in
  which they were added. `list` returns them in this order.
- `clear` removes the controls that were added for exactly the account. Those of all accounts stay.
- With `*` in place of an account, `list` and `clear` mean every control: each account's own, and those of all accounts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Optional, TypeVar

from .capacity import Capacity
from .current_account import ALL_ACCOUNTS, current_owner
from .description import build, check_values, given_as_json, given_values
from .randomness import Randomness
from .records import value


@dataclass(frozen=True)
class ControlInfo:
    """A control as the emulator has it."""

    id: str = value("Id of the control.", column=True)
    account: str = value("Id of the account to which it applies, or `*`.", column=True)
    options: dict[str, Any] = value("Its options that are not the defaults.", column=True, is_long=True)
    optional: bool = value("Whether it is not reported when it is never used.")
    described: str = value("The control in one line.")

    @property
    def is_unused(self) -> bool:
        """Whether it was never used and is not optional."""
        raise NotImplementedError


class CountedInfo(ControlInfo):
    """A control that counts how often it was used, in a field `used` of the subclass."""

    used: int

    @property
    def is_unused(self) -> bool:
        """Whether it was never used and is not optional."""
        return not self.used and not self.optional

    def __str__(self) -> str:
        return f"{self.described}: used {self.used} times"


@dataclass
class Control:
    """A fault, a stub or a reply. The fields that `option` made are its options.

    Attributes:
        id: The control's id.
        account: Id of the account to which it applies, or `*`.
        owner: Who added it, as the client named itself; empty where it did not.
    """

    id: str
    account: str
    owner: str = field(default="", init=False)

    NOUN: ClassVar[str] = "control"

    @property
    def is_unused(self) -> bool:
        """Whether it was never used and is to be reported for that."""
        return self.info().is_unused

    def check(self) -> None:
        """Check the options.

        Raises:
            ValueError, TypeError: An option is wrong, or would be without effect; the text starts with its name.
        """
        check_values(self)

    def info(self) -> ControlInfo:
        """What the emulator reports of it."""
        raise NotImplementedError

    def _info_fields(self) -> dict[str, Any]:
        """The values of ControlInfo."""
        return {
            "id": self.id,
            "account": self.account,
            "options": given_as_json(self, omit=["optional", "allow_errors", "function", "kind"]),
            "optional": getattr(self, "optional", False),
            "described": str(self),
        }

    def _described(self, *first: str, omit: Sequence[str] = ()) -> str:
        """The control in one line, with its options: `fault fault_1 (operation='sandboxes.exec', status=503)`."""
        omitted = ("optional", "allow_errors", "function", "kind", *omit)
        shown = [f"{one.name}={value!r}" for one, value in given_values(self).items() if one.name not in omitted]
        everywhere = ["account='*'"] if self.account == ALL_ACCOUNTS else []
        return f"{self.NOUN} {self.id} ({', '.join([*first, *shown, *everywhere])})"


C = TypeVar("C", bound=Control)


class Registry(Generic[C]):
    """All controls of one kind, oldest first.

    Args:
        control: Their class.
        plural: What they are called, for error texts.
        randomness: The source of their ids.
    """

    def __init__(self, control: type[C], plural: str, randomness: Randomness) -> None:
        self._class = control
        self._randomness = randomness
        self._controls: dict[str, C] = {}
        self._capacity = Capacity(plural)

    def __bool__(self) -> bool:
        return bool(self._controls)

    def add(self, account: str, **options: Any) -> C:
        """Add a control.

        Args:
            account: Id of an account, or `*` for all.
            options: Values of the options that its class describes.

        Raises:
            ValueError, TypeError: An option is wrong; the text starts with its name.
        """
        identifier = self._randomness.identifier(self._class.NOUN, self._controls)
        control = build(self._class, options, id=identifier, account=account)
        control.check()
        self.check(control)
        self._capacity.take(control, self._controls)
        control.owner = current_owner()
        self._controls[control.id] = control
        return control

    def check(self, control: C) -> None:
        """Check what a control alone does not know. A ValueError refuses it."""

    def get(self, identifier: str) -> Optional[C]:
        """The control with this id, of whatever account; None when there is none."""
        return self._controls.get(identifier)

    def remove(self, control: C) -> None:
        """Remove a control. Harmless when it was removed before."""
        self._controls.pop(control.id, None)

    def clear(self, account: str) -> None:
        """Remove those that `cleared_by` names."""
        for control in self.cleared_by(account):
            self.remove(control)

    def cleared_by(self, account: str) -> Sequence[C]:
        """Those that clearing an account removes: the ones that were added for exactly it; for `*`, every one."""
        return self.list(account) if account == ALL_ACCOUNTS else self.added_for(account)

    def added_for(self, account: str) -> Sequence[C]:
        """Those that were added with exactly this account, or with `*`, oldest first."""
        return [one for one in tuple(self._controls.values()) if one.account == account]

    def list(self, account: str) -> Sequence[C]:
        """All that apply to an account, in the order in which they are tried; for `*`, every one, oldest first."""
        if account == ALL_ACCOUNTS:
            return tuple(self._controls.values())
        return [*self.added_for(account), *self.added_for(ALL_ACCOUNTS)]
