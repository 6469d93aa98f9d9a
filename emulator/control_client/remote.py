"""A test's hands on an emulator that runs elsewhere: another process, another worker's, `caged-emulator serve`."""

from __future__ import annotations

import os
from types import TracebackType
from typing import Any, Optional

from ..control.identifiers import IdOrObject, id_of
from .base_emulator import BaseEmulator
from .connection import Verify
from .transport import EmulatorError, Transport


class RemoteEmulator(BaseEmulator):
    """An emulator that runs elsewhere, by its URL. Starts and stops nothing.

    What cannot be sent (functions) raises EmulatorError.

    Args:
        base_url: such as `http://127.0.0.1:4747`; None: CAGED_EMULATOR_URL. On another host use https: plain HTTP there
            raises an InsecureConnectionWarning.
        admin_key: None: CAGED_EMULATOR_ADMIN_KEY.
        account: the id of the account that calls are about which name none; `"*"`: all. None: the emulator's first.
        verify: whether an https certificate is verified (by the system's authorities, or those of SSL_CERT_FILE or
            SSL_CERT_DIR), a file of authorities to trust, or an `ssl.SSLContext`. False accepts any certificate, and
            plain HTTP without a warning. It is about this object's own requests; clients that `client()` makes
            verify as `Caged` does.

    Raises:
        EmulatorError: the URL or the key is missing.
        ValueError: the URL cannot be an emulator's.
    """

    def __init__(
        self,
        base_url: Optional[str] = None,
        admin_key: Optional[str] = None,
        *,
        account: Optional[IdOrObject] = None,
        verify: Verify = True,
    ) -> None:
        url = base_url or os.environ.get("CAGED_EMULATOR_URL") or ""
        key = admin_key or os.environ.get("CAGED_EMULATOR_ADMIN_KEY") or ""
        if not url or not key:
            missing = "base_url" if not url else "admin_key"
            raise EmulatorError(
                f"{missing}: is needed to reach an emulator; `caged-emulator env` prints the variables of a running one"
            )
        self._url = url.rstrip("/")
        self._admin_key = key
        self._control = Transport(self._url, key, verify=verify)
        if account is not None:
            self._control = self._control.scoped(str(id_of(account)))
        self._key: Optional[str] = None

    @property
    def _link(self) -> Transport:
        return self._control

    @property
    def base_url(self) -> str:
        return self._url

    @property
    def admin_key(self) -> str:
        return self._admin_key

    @property
    def api_key(self) -> str:
        """A full key of the account that calls are about; of the first one, where they are about all."""
        if self._key is None:
            selected = self._control.account
            if selected in (None, "*"):
                self._key = self.accounts()[0].api_key
            else:
                self._key = self.for_account(str(selected)).api_key
        return self._key

    @property
    def selected_account(self) -> Optional[str]:
        """The account that calls are about which name none; None: the emulator's first, `*`: all."""
        return self._control.account

    @property
    def isolation(self) -> str:
        """The isolation level in use."""
        return str(self._health()["isolation"])

    @property
    def isolation_refused(self) -> list[str]:
        """The stronger levels that were tried and do not work there."""
        return list(self._health()["isolation_refused"])

    def _health(self) -> dict[str, Any]:
        return dict(self._control.call("GET", "/status", account="*"))

    def log_tail(self, count: int = 20) -> list[str]:
        """The newest lines of the emulator's own log, oldest first."""
        return list(self._control.call("GET", "/log", account="*", query={"last": count})["lines"])

    def close(self) -> None:
        self._control.close()

    def __enter__(self) -> RemoteEmulator:
        return self

    def __exit__(
        self,
        _type: Optional[type[BaseException]],
        _error: Optional[BaseException],
        _traceback: Optional[TracebackType],
    ) -> None:
        self.close()
