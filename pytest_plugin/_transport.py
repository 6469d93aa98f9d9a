"""An httpx transport that closes each connection with its response. Imported by `async_caged` only."""

from __future__ import annotations

import urllib.request
from typing import Optional
from urllib.parse import urlsplit

import httpx

from caged._http import is_loopback


def unpooled_transport(base_url: str) -> httpx.AsyncHTTPTransport:
    """A transport with the proxies and certificates that a client has by default."""
    encrypted = base_url[:6].lower() == "https:"  # reading the certificates takes longer than a test
    return httpx.AsyncHTTPTransport(
        limits=httpx.Limits(max_keepalive_connections=0),
        verify=httpx.create_ssl_context() if encrypted else False,
        proxy=_proxy_for(base_url),
    )


def _proxy_for(base_url: str) -> Optional[str]:
    """The proxy of the environment: httpx ignores it for a client that has a transport of its own."""
    parts = urlsplit(base_url)
    host = parts.hostname or ""
    if is_loopback(host) or urllib.request.proxy_bypass(host):
        return None
    proxies = urllib.request.getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    return proxy if proxy is None or "://" in proxy else f"http://{proxy}"
