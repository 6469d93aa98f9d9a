"""Options of connections to an emulator's URL: certificates and proxies; checks of the URL."""

from __future__ import annotations

import ssl
import warnings
from typing import Any, Union
from urllib.parse import urlsplit
from urllib.request import getproxies

Verify = Union[bool, str, ssl.SSLContext]


class InsecureConnectionWarning(UserWarning):
    """An emulator on another host is controlled over plain HTTP, so its admin key can be read on the network."""


def client_options(base_url: str, verify: Verify = True) -> dict[str, Any]:
    """The options of an `httpx.Client` for an emulator's URL.

    On a loopback address no proxy is used, and no certificates are loaded for plain HTTP. With https the certificate is
    always verified, by the authorities of SSL_CERT_FILE or SSL_CERT_DIR where they are set.

    Args:
        base_url: `http://` or `https://`, host, port.
        verify: False: certificates are not verified, and plain HTTP to another host is accepted without a warning; a
            path: a file of certificate authorities to trust; an `ssl.SSLContext`.

    Raises:
        ValueError: The URL cannot be an emulator's.
    """
    from caged._http import is_loopback

    host, encrypted = _checked(base_url)
    local = is_loopback(host)
    if not encrypted and not local and verify is not False:
        warnings.warn(
            f"{base_url} is not on this machine and not encrypted: its admin key can be read on the network. Use https"
            " or a tunnel; in Python, verify=False accepts it",
            InsecureConnectionWarning,
            stacklevel=4,
        )
    return {"trust_env": not local, "verify": _verification(verify, encrypted, local)}


def _checked(base_url: str) -> tuple[str, bool]:
    """Check the URL.

    Returns:
        Its host, and whether it is https.

    Raises:
        ValueError: It cannot be an emulator's.
    """
    try:
        parts = urlsplit(base_url)
        host, _port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"base_url: {base_url!r} is not a URL: {error}") from None
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError(f"base_url: {base_url!r} is not an http:// or https:// URL such as http://127.0.0.1:4747")
    if parts.path.rstrip("/").endswith(("/v1", "/_emulator")):
        wanted = base_url[: base_url.index(parts.path, base_url.index(host))]
        raise ValueError(f"base_url: {base_url!r} must end before {parts.path}; did you mean {wanted!r}?")
    return host, parts.scheme == "https"


def _verification(verify: Verify, encrypted: bool, local: bool) -> Union[bool, ssl.SSLContext]:
    import httpx

    from caged._http import no_authorities

    if not isinstance(verify, (bool, str, ssl.SSLContext)):
        raise TypeError(f"verify: must be a bool, a path or an ssl.SSLContext, not {type(verify).__name__}")
    if isinstance(verify, str):
        try:
            return ssl.create_default_context(cafile=verify)
        except OSError as error:
            raise ValueError(f"verify: cannot read certificate authorities from {verify!r}: {error}") from None
    if isinstance(verify, ssl.SSLContext) or not verify:
        return verify
    if encrypted:
        # httpx reads SSL_CERT_FILE only where it reads proxies, too, and on loopback no proxy is used.
        return httpx.create_ssl_context() if local else True
    if not local and any(proxy.lower().startswith("https:") for proxy in getproxies().values()):
        return True
    return no_authorities()  # loading them takes 20 ms
