"""The ports that a sandbox's programs listen on: found regularly, protected by passwords, open to previews
(docs/contract/platform-behaviour.md B, 15)."""

from __future__ import annotations

import asyncio
import hmac
import socket
import time
from typing import Optional

from .. import descriptors
from ..cage.chosen_isolation import ChosenIsolation
from ..cage.init_client import SandboxGone
from ..cage.provisioning import Provisioner
from ..config import EmulatorConfig
from ..control.clock import Clock
from ..control.current_account import act_for
from ..store import AccountRecord, Port, Sandbox, Store
from . import limits
from .background import BackgroundTasks
from .errors import ApiError, not_found, not_running, require_descriptors
from .live_sandboxes import LiveSandboxes
from .recorder import SandboxRecorder
from .sandboxes import Sandboxes


class Ports:
    def __init__(
        self,
        config: EmulatorConfig,
        store: Store,
        clock: Clock,
        live: LiveSandboxes,
        isolation: ChosenIsolation,
        recorder: SandboxRecorder,
        background: BackgroundTasks,
        sandboxes: Sandboxes,
        provisioner: Provisioner,
    ) -> None:
        self._config = config
        self._store = store
        self._clock = clock
        self._live = live
        self._isolation = isolation
        self._recorder = recorder
        self._background = background
        self._sandboxes = sandboxes
        self._provisioner = provisioner
        self._looking: set[str] = set()
        self._looked = 0.0

    # --- finding

    async def of_sandbox(self, account: AccountRecord, sandbox_id: str) -> list[Port]:
        """The sandbox's ports as of now, by number. 409 when it is not running."""
        sandbox = self._sandboxes.running(account, sandbox_id)
        await self._look(sandbox)
        return sorted(sandbox.ports.values(), key=lambda port: port.port)

    def tick(self) -> None:
        """Begin to look for ports in every running sandbox, every `limits.PORTS_SECONDS`. Does not wait."""
        if time.monotonic() - self._looked < limits.PORTS_SECONDS:
            return
        self._looked = time.monotonic()
        for sandbox in self._store.sandboxes.values():
            if sandbox.status == "running" and sandbox.id not in self._looking:
                self._looking.add(sandbox.id)
                self._background.start(self._look_once(sandbox))

    async def _look_once(self, sandbox: Sandbox) -> None:
        act_for(sandbox.account_id)
        try:
            await self._look(sandbox)
        finally:
            self._looking.discard(sandbox.id)

    async def _look(self, sandbox: Sandbox) -> None:
        cage = self._live.of(sandbox).cage
        if cage is None:
            return
        found = await cage.ports()
        if sandbox.status != "running":
            return
        # Of too many, keep those with a preview first, then those that are known already.
        order = sorted(found, key=lambda port: (port not in limits.HTTP_PORTS, port not in sandbox.ports, port))
        chosen = sorted(order[: limits.PORTS])
        for number in [number for number in sandbox.ports if number not in chosen]:
            del sandbox.ports[number]
            self._record(sandbox, number, "closed")
        for number in chosen:
            address = found[number]
            if number in sandbox.ports:
                sandbox.ports[number].address = address
            else:
                sandbox.ports[number] = Port(number, address, self._clock.timestamp())
                self._record(sandbox, number, "opened")

    def _record(self, sandbox: Sandbox, number: int, state: str) -> None:
        self._recorder.log(sandbox, f"port {number} {state}", "network")
        self._recorder.record_event(sandbox, "network", {"operation": f"port_{state}", "port": number})

    # --- protecting

    def is_protected(self, sandbox_id: str, number: int) -> bool:
        """Whether previews of the port need a password."""
        sandbox = self._store.sandboxes.get(sandbox_id)
        return sandbox is not None and number in sandbox.port_passwords

    async def protect(self, account: AccountRecord, sandbox_id: str, number: int, password: str) -> Port:
        """Require a password for previews of the port from now on, also after it was closed and opened again. 404 when
        nothing listens on it, 409 when the sandbox is not running."""
        sandbox = self._sandboxes.running(account, sandbox_id)
        port = await self._listening(sandbox, number)
        sandbox.port_passwords[number] = password
        self._recorder.log(sandbox, f"port {number} is protected by a password", "network")
        return port

    async def _listening(self, sandbox: Sandbox, number: int) -> Port:
        if number not in sandbox.ports:
            await self._look(sandbox)
        if number not in sandbox.ports:
            raise ApiError(
                404, f"port {number}: nothing in sandbox {sandbox.id} listens on it; start a server there first"
            )
        return sandbox.ports[number]

    # --- previewing

    async def admit(self, sandbox_id: str, number: int, password: Optional[str]) -> Sandbox:
        """Return the sandbox of a preview, and count the request. 404, 409; 401 without the password of a protected
        port; 429 when the emulator has a tier and the port's minute is used up."""
        sandbox = self._store.sandboxes.get(sandbox_id)
        if sandbox is None:
            raise not_found("sandbox", sandbox_id)
        act_for(sandbox.account_id)
        if sandbox.status != "running":
            raise not_running(sandbox.id, sandbox.status)
        port = await self._listening(sandbox, number)
        if number not in limits.HTTP_PORTS:
            listed = ", ".join(map(str, limits.HTTP_PORTS))
            raise ApiError(404, f"port {number} has no preview; the ports with one are {listed}")
        wanted = sandbox.port_passwords.get(number)
        if wanted is not None and not hmac.compare_digest(wanted.encode(), (password or "").encode()):
            raise ApiError(401, f"port {number} is protected; send its password by Basic authentication, any user name")
        self._count(port)
        return sandbox

    def _count(self, port: Port) -> None:
        if self._config.tier is None:
            return
        now = self._clock.time()
        minute = int(now // 60)
        seen = port.window[1] if port.window[0] == minute else 0
        if seen >= limits.PREVIEW_REQUESTS:
            raise ApiError(
                429,
                f"rate limit of {limits.PREVIEW_REQUESTS} requests per minute and port reached; try again later",
                retry_after=max(1, int((minute + 1) * 60 - now + 0.999)),
            )
        port.window = (minute, seen + 1)

    async def connect(self, sandbox: Sandbox, number: int) -> socket.socket:
        """Connect to the port in the sandbox's network. 502 when that fails, 503 when too few descriptors are left."""
        cage = self._live.of(sandbox).cage
        assert cage is not None
        await self._provisioner.free_descriptors(descriptors.has_room_for_stream)
        require_descriptors(descriptors.has_room_for_stream(), "a preview")
        own_network = self._isolation.current.own_network and sandbox.network_mode != "full"
        try:
            return await cage.connect(sandbox.ports[number].address, number, own_network)
        except (OSError, SandboxGone, KeyError, asyncio.TimeoutError) as error:
            raise ApiError(502, f"port {number} of sandbox {sandbox.id} cannot be reached: {error}") from None
