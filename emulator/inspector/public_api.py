"""What pages know of the emulator: the answers of its public API.

Records of the past keep the values of environments that are not declared as secrets (`control/redaction.py` has the
table of what is redacted when), so they are redacted here. Which answers are records is decided by their paths: who
adds a page that reads another record adds its path to `_is_record`.
"""

from __future__ import annotations

from typing import Any, Union
from urllib.parse import quote

from ..control.step_redaction import redact_value
from ..platform.observation import observing
from ..platform.platform import Platform
from ..store import AccountRecord
from ..wire.all_operations import all_operations
from ..wire.internal_calls import InternalCaller


class PublicApi:
    """Reads from the API for one account, within the emulator: no fault and no rate limit applies, and the journal does
    not show it. It does not keep a sandbox from being idle.

    Args:
        platform: The emulator's platform.
        account: The account.
    """

    def __init__(self, platform: Platform, account: AccountRecord) -> None:
        self._caller = InternalCaller(platform, account, all_operations)
        self._shown_text = platform.journal.shown_text(account.id)

    async def get(self, path: str, /, **query: Union[str, int, None]) -> Any:
        """Return the JSON values of an answer. Environments of sandboxes are redacted in what it says of the past.

        Args:
            path: The path of a GET operation below /v1 or /_emulator. Ids in it are encoded by `segment`.
            query: Its query parameters; those that are None are left out.

        Raises:
            ApiError: The error that a client would get.
        """
        with observing():
            found = await self._caller.perform("GET", path, query=query)
        return redact_value(found, self._shown_text) if _is_record(path) else found

    async def read(self, path: str, /, **query: Union[str, int, None]) -> bytes:
        """Return the body of an answer that is not JSON. Arguments and errors are those of `get`."""
        with observing():
            return await self._caller.content("GET", path, query=query)


def _is_record(path: str) -> bool:
    """Whether the answer of a path says what happened before, so that it may hold values of environments."""
    return path.startswith("/_emulator/journal/") or path.endswith(("/logs", "/replay"))


def segment(text: str) -> str:
    """A text as one segment of a path."""
    return quote(text, safe="")
