"""The stubs of an emulator, and their outputs that shells have not fetched yet."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Optional

from .capacity import size_of
from .randomness import Randomness
from .registry import Registry
from .stubs import Output, Stub, StubKind

#: Outputs that a shell has not fetched yet: how many are kept, and how many characters in all. The oldest are dropped.
MOST_PENDING, PENDING_CHARACTERS = 1000, 32 * 1024**2


class Stubs(Registry[Stub]):
    """All stubs, and their outputs that shells have not fetched yet."""

    def __init__(self, randomness: Randomness) -> None:
        super().__init__(Stub, "stubs", randomness)
        self._pending: OrderedDict[str, tuple[str, Output]] = OrderedDict()
        self._pending_size = 0

    def usable(self, account: str, sandbox: str, kind: StubKind = "command") -> Sequence[Stub]:
        """Return the stubs of a kind that apply in a sandbox, in the order in which they are tried."""
        return [stub for stub in self.list(account) if stub.kind == kind and stub.applies_in(account, sandbox)]

    def programs(self, account: str, sandbox: str) -> Iterable[str]:
        """Names of the programs that are stubbed in a sandbox, each once."""
        return dict.fromkeys(stub.program or "" for stub in self.usable(account, sandbox, "program"))

    def add_pending(self, token: str, sandbox: str, output: Output) -> None:
        """Keep an output until a shell of the sandbox fetches it by its token."""
        self._pending[token] = (sandbox, output)
        self._pending_size += size_of(output)
        while len(self._pending) > MOST_PENDING or (self._pending_size > PENDING_CHARACTERS and len(self._pending) > 1):
            self._pending_size -= size_of(self._pending.popitem(last=False)[1][1])

    def take_pending(self, token: str, sandbox: str) -> Optional[Output]:
        """Remove and return the output that was kept under a token for this sandbox; None when there is none."""
        if self._pending.get(token, ("",))[0] != sandbox:
            return None
        output = self._pending.pop(token)[1]
        self._pending_size -= size_of(output)
        return output
