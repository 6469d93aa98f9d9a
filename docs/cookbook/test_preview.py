"""Start a server in the sandbox, wait until the platform has noticed it, and look at its page from outside."""

import time

import httpx
import pytest

from caged import Caged, Sandbox

SERVE = "echo hello > index.html; python3 -m http.server 8000 > /dev/null 2>&1 &"


def preview_url(client: Caged, box: Sandbox, port: int) -> str:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        for found in client.sandboxes.ports(box.id):
            if found.port == port:
                return found.preview_url
        time.sleep(0.02)
    raise TimeoutError(f"nothing listened on port {port} within 10 s")


@pytest.mark.caged_needs("namespace")  # a network of its own, so that the port is free
def test_the_page_can_be_seen(caged: Caged) -> None:
    box = caged.sandboxes.create(template="python", network_mode="none")
    caged.sandboxes.exec(box.id, SERVE)
    assert httpx.get(preview_url(caged, box, 8000), trust_env=False).text == "hello\n"
