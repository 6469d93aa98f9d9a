"""The faults of an emulator: which request takes which fault, and when a fault has triggered.

A request that matches a fault is *seen*. When it is the fault's turn, the request *takes* it (an Injection), and only
when the effect has happened the fault has *triggered*: a connection was broken, an answer replaced or cut, a process
was killed. A request that took the fault and ended before the effect gives it back, so that a fault with `times=1`
stays armed for the next request.
"""

from __future__ import annotations

import functools
from collections.abc import Collection
from typing import Callable, Optional

from .faults import SOCKETS, Fault
from .randomness import Randomness
from .registry import Registry
from .routes import Route, check_reachable


class Injection:
    """One fault, taken by one request.

    Args:
        fault: The fault.
        on_trigger: Called once, when the effect has happened.

    Attributes:
        delay: Seconds before the effect on this request. Effects read it here and not from the fault, so that what is
            drawn for each request is drawn in one place.
    """

    def __init__(self, fault: Fault, on_trigger: Callable[[], None] = lambda: None) -> None:
        self.fault = fault
        self.delay = fault.delay
        self._on_trigger = on_trigger
        self._is_open = True
        fault.pending += 1

    def trigger(self) -> None:
        """Count the effect, which has happened. Harmless to repeat."""
        if self._is_open:
            self._is_open = False
            self.fault.pending -= 1
            self.fault.triggered += 1
            self._on_trigger()

    def release(self) -> None:
        """End the injection with its request. Without a trigger by then, the fault is armed again."""
        if self._is_open:
            self._is_open = False
            self.fault.pending -= 1


class Faults(Registry[Fault]):
    """All faults.

    Args:
        randomness: The source of their ids.
        routes: Returns all routes of the API, so that a fault that matches no request is refused.
    """

    def __init__(self, randomness: Randomness, routes: Callable[[], Collection[Route]]) -> None:
        super().__init__(Fault, "faults", randomness)
        self.routes = routes

    def check(self, control: Fault) -> None:
        wanted = {
            "operation": control.operation,
            "method": control.method,
            "path": control.path,
            "sandbox": control.sandbox,
        }
        routes = self.routes()
        check_reachable(routes, **wanted)
        if control.close_socket is not None:
            sockets = [route for route in routes if route.operation in SOCKETS]
            try:
                check_reachable(sockets, **wanted)
            except ValueError:
                named = " or ".join(map(str, sockets))
                raise ValueError(
                    f"path: {control.path!r} is not the path of a WebSocket, and close_socket applies to no other"
                    f" request; use that of {named}"
                ) from None

    def remove(self, control: Fault) -> None:
        """Remove a fault; requests that hang by it end."""
        super().remove(control)
        control.removed.set()

    def take(
        self,
        account: str,
        operation: str,
        method: str,
        path: str,
        sandbox: str,
        on_trigger: Callable[[str], None] = lambda _id: None,
    ) -> Optional[Injection]:
        """Find the first fault whose turn it is with a request. To be released when the request is over.

        Args:
            account: Id of the account whose request it is.
            operation: Its operation, by the SDK's name.
            method: Its HTTP method.
            path: Its path.
            sandbox: Id of the sandbox that the path names; empty when it names none.
            on_trigger: Called with the fault's id when its effect has happened.
        """
        for fault in self.list(account) if self else ():
            if not fault.matches(operation, method, path, sandbox):
                continue
            fault.seen += 1
            if fault.seen <= fault.after or fault.is_exhausted:
                continue
            if fault.probability < 1 and self._randomness.number("fault") >= fault.probability:
                continue
            return Injection(fault, functools.partial(on_trigger, fault.id))
        return None
