"""Which requests may use a session: those that the inspector's own pages make, and no others.

The cookie alone is not enough. A call also has to come from a page of the inspector's origin, as far as the browser
says (`Origin`, `Sec-Fetch-Site`, `Sec-Fetch-Dest`), and one that changes something has a header that no form and no
foreign page can send.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import unquote

from ..platform.errors import ApiError
from ..platform.inspector_logins import InspectorLogins

#: Calls that answer with keys, or make them, which no page needs.
WITH_SECRETS = (
    "/_emulator/accounts",
    "/_emulator/export",
    "/_emulator/import",
    "/_emulator/inspector",
    "/_emulator/scenario",
    "/v1/account/keys",
    "/v1/auth",
)
#: What names the account of a call of a page.
ACCOUNT_HEADER = "x-caged-account"
#: What each call of a page has that changes something.
CALL_HEADER = "x-caged-inspector"


def is_own_host(headers: Mapping[str, str], logins: InspectorLogins) -> bool:
    """Whether a request came to the inspector's host name, at any port: it may be a forwarded one."""
    name, _, port = headers.get("host", "").lower().partition(":")
    return name == logins.host and (not port or port.isdecimal())


def check_call(method: str, path: str, headers: Mapping[str, str], session: str, logins: InspectorLogins) -> None:
    """Check that a page of a session makes a call.

    Args:
        method: The method.
        path: The path, encoded or not.
        headers: The headers.
        session: The value of the cookie.
        logins: The sessions that there are.

    Raises:
        ApiError: 401 without a session, 403 for a call from elsewhere, or of an operation that answers with keys.
    """
    _check_session(session, logins)
    origin = _own_origin(headers)
    if headers.get("origin", origin) != origin:
        raise ApiError(403, f"Origin {headers['origin']!r} is not the inspector's")
    for name, allowed in (("sec-fetch-site", "same-origin"), ("sec-fetch-dest", "empty")):
        if headers.get(name, allowed) != allowed:
            raise ApiError(403, f"{name} is {headers[name]!r}; only scripts of the inspector's pages may call the API")
    if method not in ("GET", "HEAD") and headers.get(CALL_HEADER) != "1":
        raise ApiError(403, "a call that changes something needs the header `X-Caged-Inspector: 1`")
    _check_path(path)


def check_socket(path: str, headers: Mapping[str, str], session: str, logins: InspectorLogins) -> None:
    """Check that a page of a session opens a WebSocket. Browsers always name the origin of the page.

    Raises:
        ApiError: As for `check_call`.
    """
    _check_session(session, logins)
    if headers.get("origin") != _own_origin(headers):
        raise ApiError(403, f"Origin {headers.get('origin', '')!r} is not the inspector's")
    _check_path(path)


def _check_session(session: str, logins: InspectorLogins) -> None:
    if not logins.is_session(session):
        raise ApiError(401, "not logged in to the inspector; `caged-emulator ui` makes a link")


def _check_path(path: str) -> None:
    decoded = unquote(path)  # as the parameters of a route are
    if any(decoded == prefix or decoded.startswith(f"{prefix}/") for prefix in WITH_SECRETS):
        raise ApiError(403, "the inspector does not call what answers with keys; use the admin key or an API key")


def _own_origin(headers: Mapping[str, str]) -> str:
    return f"http://{headers.get('host', '').lower()}"
