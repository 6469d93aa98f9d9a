"""What has to hold before a sandbox is created or started again."""

from __future__ import annotations

from .. import descriptors
from ..cage.chosen_isolation import ChosenIsolation
from ..cage.provisioning import Provisioner
from ..config import EmulatorConfig
from ..store import AccountRecord, Store
from . import limits
from .accounts import Accounts
from .errors import invalid, plan_limit, require_descriptors
from .sandbox_states import LIVING


class SandboxLimits:
    def __init__(
        self,
        config: EmulatorConfig,
        store: Store,
        accounts: Accounts,
        isolation: ChosenIsolation,
        provisioner: Provisioner,
    ) -> None:
        self._config = config
        self._store = store
        self._accounts = accounts
        self._isolation = isolation
        self._provisioner = provisioner

    def has_descriptors(self) -> bool:
        """Whether enough file descriptors are left for a sandbox. Ready-made ones are removed for it."""
        return descriptors.has_room_for_sandbox(self._provisioner.descriptors_of_ready)

    def require_room(self, account: AccountRecord) -> limits.Tier:
        """Return the account's plan. 403 when it allows no more sandboxes, 503 when too few descriptors are left."""
        plan = self._accounts.limits_of(account)
        living = sum(
            1 for box in self._store.sandboxes.values() if box.account_id == account.id and box.status in LIVING
        )
        if plan.sandboxes is not None and living >= plan.sandboxes:
            raise plan_limit(
                f"plan limit reached: you already have {living} sandboxes, which is your plan's limit"
                " \N{EM DASH} upgrade for more"
            )
        require_descriptors(self.has_descriptors(), "a sandbox")
        return plan

    def require_enforceable(self, network_mode: str) -> None:
        """400 for a network mode that the isolation in use cannot enforce, unless the emulator allows that."""
        isolation = self._isolation.current
        if network_mode != "full" and not isolation.own_network and not self._config.allow_unenforced:
            raise invalid(
                f"network_mode: {network_mode} cannot be enforced by {isolation.level} isolation; use full, or start"
                " the emulator with --allow-unenforced (`caged-emulator doctor` shows what stronger isolation needs)"
            )
