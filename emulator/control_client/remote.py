"""The controls of an emulator in another process, such as that of `caged-emulator serve`."""

from __future__ import annotations

import os
from types import TracebackType
from typing import Any, Optional
from urllib.parse import urlsplit

from ..control.identifiers import IdOrObject, id_of
from .admin_client import AdminClient
from .base_emulator import BaseEmulator
from .connection import Verify
from .http_transport import HttpTransport
from .transport import EmulatorError

#: By host and port of an emulator: the controls and queries of its first account that objects without an account used.
_calls_without_account: dict[str, dict[str, None]] = {}


def calls_without_account(url: str) -> dict[str, None]:
    """Return the names of the controls and queries that a RemoteEmulator without an account used: the first account's.

    Args:
        url: The emulator's URL; `localhost` and `127.0.0.1` are the same host.
    """
    host = urlsplit(url).netloc.lower().replace("localhost", "127.0.0.1")
    return _calls_without_account.setdefault(host, {})


class RemoteEmulator(BaseEmulator):
    """The controls of an emulator in another process, by its URL. It does not start or stop the emulator.

    Functions cannot be sent: stubs and replies with a function raise EmulatorError.

    Args:
        base_url: Such as `http://127.0.0.1:4747`. None: the environment variable CAGED_EMULATOR_URL. On another host
            use https: plain HTTP there raises an InsecureConnectionWarning.
        admin_key: The emulator's admin key. None: the environment variable CAGED_EMULATOR_ADMIN_KEY.
        account: The account that this object is scoped to, or its id: the default of `account=`, and the only account
            whose controls and sandboxes can be addressed by id. `"*"`: all accounts. The default is the emulator's
            first account, with ids of any account.
        verify: Whether an https certificate is verified (by the system's authorities, or those of SSL_CERT_FILE or
            SSL_CERT_DIR), the path of a file of authorities to trust, or an `ssl.SSLContext`. False accepts any
            certificate, and plain HTTP without a warning. It applies to this object's own requests; clients that
            `client()` creates verify as `Caged` does.

    Raises:
        EmulatorError: The URL or the key is missing.
        TypeError: An argument is of another type.
        ValueError: The URL cannot be an emulator's.
    """

    def __init__(
        self,
        base_url: Optional[str] = None,
        admin_key: Optional[str] = None,
        *,
        account: Optional[IdOrObject] = None,
        verify: Verify = True,
    ) -> None:
        for name, given in (("base_url", base_url), ("admin_key", admin_key)):
            if not isinstance(given, (str, type(None))):
                raise TypeError(f"{name}: must be a str, not {type(given).__name__}")
        url = base_url or os.environ.get("CAGED_EMULATOR_URL") or ""
        key = admin_key or os.environ.get("CAGED_EMULATOR_ADMIN_KEY") or ""
        if not url or not key:
            missing = "base_url" if not url else "admin_key"
            raise EmulatorError(
                f"{missing}: is needed to reach an emulator; `caged-emulator env` prints the variables of a running one"
            )
        self._url = url.rstrip("/")
        self._admin_key = key
        self._transport = HttpTransport(self._url, key, verify)
        self._client = AdminClient(self._transport)
        if account is None:
            self._client.notes.calls_without_account = calls_without_account(self._url)
        else:
            self._client = self._client.scoped(str(id_of(account)), is_confined=True)
        self._key: Optional[str] = None

    @property
    def _admin(self) -> AdminClient:
        return self._client

    @property
    def base_url(self) -> str:
        """The URL of the emulator."""
        return self._url

    @property
    def admin_key(self) -> str:
        """The key of the emulator's own controls."""
        return self._admin_key

    @property
    def api_key(self) -> str:
        """A full API key of the account that this object is scoped to; of the first account if that is none or all."""
        if self._key is None:
            selected = self._client.account
            if selected in (None, "*"):
                self._key = self.accounts()[0].api_key
            else:
                self._key = self.for_account(str(selected)).api_key
        return self._key

    @property
    def selected_account(self) -> Optional[str]:
        """Id of the account that this object is scoped to; None: the emulator's first, `*`: all."""
        return self._client.account

    @property
    def isolation(self) -> str:
        """The isolation level in use."""
        return str(self._status()["isolation"])

    @property
    def isolation_refused(self) -> list[str]:
        """The stronger isolation levels that do not work on the emulator's machine, each with the reason."""
        return list(self._status()["isolation_refused"])

    def _status(self) -> dict[str, Any]:
        return dict(self._client.call("GET", "/status", account="*"))

    def log_tail(self, last: int = 20) -> list[str]:
        """Get the newest lines of the emulator's log, oldest first.

        Args:
            last: Only the newest so many; at least 1.
        """
        return list(self._client.call("GET", "/log", account="*", query={"last": last})["lines"])

    def close(self) -> None:
        """Close the connections. Harmless to repeat."""
        self._client.close()

    def __enter__(self) -> RemoteEmulator:
        return self

    def __exit__(
        self,
        _type: Optional[type[BaseException]],
        _error: Optional[BaseException],
        _traceback: Optional[TracebackType],
    ) -> None:
        self.close()
