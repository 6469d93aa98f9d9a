"""The settings of a client: key, URL, limits. They are checked once, before anything is opened."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any, Optional
from urllib.parse import urlsplit

import httpx

from . import _arguments as arguments
from ._constants import API_PREFIX, DEFAULT_BASE_URL, ENV_API_KEY, ENV_BASE_URL
from ._errors import CagedError


@dataclass(frozen=True, eq=False)
class Settings:
    """Checked settings of one client.

    Attributes:
        base_url: Without a trailing slash and without ``/v1``.
        timeout: Seconds, None for no limit.
    """

    api_key: str = field(repr=False)
    base_url: str
    timeout: Optional[float]
    max_retries: int

    @property
    def host(self) -> str:
        return urlsplit(self.base_url).hostname or ""

    @property
    def is_encrypted(self) -> bool:
        return self.base_url[:6].lower() == "https:"


def resolve(api_key: Any, base_url: Any, timeout: Any, max_retries: Any) -> Settings:
    """Check the arguments of a client; missing ones are taken from the environment."""
    retries = arguments.integer("max_retries", max_retries)
    if retries < 0:
        raise CagedError("max_retries must be 0 or more")
    return Settings(
        api_key=_api_key(api_key),
        base_url=_base_url(base_url),
        timeout=arguments.seconds("timeout", timeout),
        max_retries=retries,
    )


def _api_key(given: Any) -> str:
    key = os.environ.get(ENV_API_KEY) if given is None else arguments.text("api_key", given)
    if not key:
        raise CagedError(
            f"no API key: pass Caged(api_key=...) or set {ENV_API_KEY}; "
            "keys are made in the dashboard, under Settings > API Keys"
        )
    if not key.isascii():
        raise CagedError("the API key contains characters outside ASCII; copy it again from where it was made")
    if not all("!" <= character <= "~" for character in key):
        raise CagedError("the API key contains a space, a line break or a control character; strip it first")
    return key


def _base_url(given: Any) -> str:
    if given is None:
        name, url = f"base_url (from {ENV_BASE_URL})", os.environ.get(ENV_BASE_URL) or DEFAULT_BASE_URL
    else:
        name, url = "base_url", arguments.text("base_url", given)
    url = url.rstrip("/")
    if any(character <= " " for character in url):
        raise CagedError(f"{name} contains a space, a line break or a control character; strip it first")
    try:
        parts = urlsplit(url)
        port_is_valid = parts.port is None or 0 < parts.port < 65536
        httpx.URL(url)
    except (ValueError, httpx.InvalidURL) as cause:
        raise CagedError(f"{name} is not a valid URL: {cause}") from None
    if parts.scheme.lower() not in {"http", "https"} or not parts.hostname or not port_is_valid:
        raise CagedError(f"{name} must look like {DEFAULT_BASE_URL} or http://127.0.0.1:8000")
    if "@" in parts.netloc:
        raise CagedError(f"{name} must not contain a user name or password; the API key goes into api_key")
    if "?" in url or "#" in url:
        raise CagedError(f"{name} must not contain a query or a fragment")
    if parts.path.lower().endswith(API_PREFIX):
        # The client appends /v1, so each call would request /v1/v1/... and get 404.
        raise CagedError(f"{name} must not end in {API_PREFIX}, which the client adds; leave it out")
    return url
