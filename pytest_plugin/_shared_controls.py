"""Controls for all accounts (`account="*"`): to which test or fixture they belong, however they were added."""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

if TYPE_CHECKING:
    from caged.emulator.control.records import SharedControl

    from ._emulator_source import AnyEmulator


class SharedControls:
    """Controls of all accounts that were added since the present test began, except by fixtures of wider scope.

    On an emulator of this process these are all new ones. On one that other processes use, too, a control says who
    added it (`Caged-Owner`); those of other owners are left alone, and those without an owner are attributed to each
    test that runs meanwhile.

    Args:
        emulator: The emulator of this run.
    """

    def __init__(self, emulator: AnyEmulator) -> None:
        self._emulator = emulator
        self._earlier: set[str] = set()
        self.begin()

    def begin(self) -> None:
        """Begin a test."""
        self._earlier = {one.id for one in self._listed()}

    def new(self) -> list[SharedControl]:
        """List those of the test; none when the emulator was stopped."""
        return [one for one in self._listed() if one.id not in self._earlier]

    def without_owner(self, controls: list[SharedControl]) -> list[SharedControl]:
        """Select the controls that may be of another process."""
        return [one for one in controls if self._owner is not None and not one.owner]

    def unused(self) -> list[str]:
        """Texts about those that the test did not use."""
        new = self.new()
        return describe_unused(new) + describe_without_owner(self.without_owner(new))

    def adopt(self, before: list[SharedControl]) -> list[SharedControl]:
        """Let those that were not there before be of a fixture of wider scope, and return them."""
        known = {one.id for one in before}
        added = [one for one in self.new() if one.id not in known]
        self._earlier.update(one.id for one in added)
        return added

    def remaining(self, controls: list[SharedControl]) -> list[SharedControl]:
        """Return the controls that still exist, as they are now."""
        ids = {one.id for one in controls}
        return [one for one in self._listed() if one.id in ids]

    def remove(self, controls: list[SharedControl]) -> None:
        """Remove controls. Harmless when they or the emulator are gone."""
        from caged.emulator import EmulatorError

        try:
            for one in controls:
                self._emulator._admin.remove_shared(one.path)
        except EmulatorError:  # it was stopped, or the run ends
            pass

    @property
    def _owner(self) -> Optional[str]:
        """The owner of what this process adds; None: no other process adds anything."""
        return getattr(self._emulator, "owner", None)

    def _listed(self) -> list[SharedControl]:
        from caged.emulator import EmulatorError

        try:
            found = self._emulator._admin.shared_controls()
        except EmulatorError:
            return []
        owner = self._owner
        return found if owner is None else [one for one in found if one.owner in ("", owner)]


def describe_unused(controls: list[SharedControl]) -> list[str]:
    """Texts about those that were never used."""
    return [f"a control for all accounts was never used: {one.described}" for one in controls if one.unused]


def describe_without_owner(controls: list[SharedControl]) -> list[str]:
    """Texts about those of an unknown process."""
    return [
        f"a control for all accounts was added while the test ran, by a request without the header Caged-Owner, so that"
        f" it may be another test's; it is removed after this one: {one.described}. Send the header with the value of"
        " CAGED_EMULATOR_OWNER, or add it through caged_emulator, RemoteEmulator or caged-emulator"
        for one in controls
    ]
