"""Listening ports of sandboxes, and their previews."""

from __future__ import annotations

from typing import Any, Optional

from ..assertions import assert_equal, assert_error, assert_shape, assert_status, assert_true, read_array, read_object
from ..check import Group
from ..context import Context
from ..shapes import PORT

group = Group("ports")

#: The documented ports. Some may be in use already, where sandboxes share the network of their machine.
_PREVIEW_PORTS = (3000, 4200, 5000, 5173, 8000, 8080, 8888)
_DETECTION_SECONDS = 15.0
_SERVER = """
import http.server, sys

class Hello(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"hello {self.path}".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments):
        pass

for port in map(int, sys.argv[2:]):
    try:
        server = http.server.HTTPServer(("127.0.0.1", port), Hello)
    except OSError:
        continue
    with open(sys.argv[1], "w") as file:
        file.write(f"{port}\\n")
    server.serve_forever()
with open(sys.argv[1], "w") as file:
    file.write("none\\n")
"""


def _start_server(context: Context) -> int:
    """Start a server in the second sandbox, once, and return its port."""

    def start() -> int:
        sandbox_id, name = context.second_sandbox_id, context.unique_name()
        path = f"/sandboxes/{sandbox_id}/files/content"
        context.require_success(
            context.put(path, params={"path": f"{name}.py"}, json={"content": _SERVER}), "writing a server"
        )
        ports = " ".join(map(str, _PREVIEW_PORTS))
        context.run_command(f"python3 {name}.py {name}.port {ports} </dev/null >{name}.log 2>&1 &", sandbox_id)

        def poll() -> Optional[str]:
            return context.run_command(f"cat {name}.port 2>/dev/null || true", sandbox_id).strip() or None

        return int(context.wait_until(poll, "a server in the sandbox", 20))

    return context.shared("a server in the sandbox", start)


def listening_port(context: Context) -> dict[str, Any]:
    """Return the entry of the server in the list of ports of the second sandbox."""
    number = _start_server(context)

    def poll() -> Optional[dict[str, Any]]:
        found = read_array(context.get(f"/sandboxes/{context.second_sandbox_id}/ports"))
        return next((port for port in found if isinstance(port, dict) and port.get("port") == number), None)

    return context.wait_until(poll, f"port {number} in the list", _DETECTION_SECONDS)


@group.contract("none", "A sandbox without listening processes has no ports.", "wire-contract 3.1")
def none(context: Context) -> None:
    assert_equal("ports", read_array(context.get(f"/sandboxes/{context.sandbox_id}/ports")), [])


@group.contract("found", "A listening port is found.", "platform-behaviour B15")
def found(context: Context) -> None:
    listening_port(context)


@group.contract("shape", "A port has number, preview_url, protocol and protected.", "wire-contract 3.1")
def shape(context: Context) -> None:
    assert_shape(listening_port(context), PORT)


@group.contract(
    "protocol", "A common web port has the protocol http and a preview, and is not protected.", "wire-contract 3.1"
)
def protocol(context: Context) -> None:
    port = listening_port(context)
    assert_equal("protocol, protected", [port.get("protocol"), port.get("protected")], ["http", False])
    assert_true(str(port.get("preview_url")).startswith("http"), "a preview_url", repr(port.get("preview_url")))


@group.contract("preview", "The preview_url shows what the sandbox serves.", "platform-behaviour B15")
def preview(context: Context) -> None:
    url = str(listening_port(context).get("preview_url"))
    answer = context.get(f"{url.rstrip('/')}/some/path?x=1", key="")
    assert_status(answer, 200)
    assert_true(answer.text.startswith("hello /some/path?x=1"), "hello /some/path?x=1", answer.text)


def _protect(context: Context) -> dict[str, Any]:
    """Protect the port, and request the preview without and with the password. Done once, after the other checks,
    because a protection cannot be removed."""

    def make() -> dict[str, Any]:
        number, url = _start_server(context), str(listening_port(context).get("preview_url"))
        path = f"/sandboxes/{context.second_sandbox_id}/ports/{number}/protect"
        return {
            "protect": context.post(path, json={"password": "caged-verify"}),
            "without": context.get(url, key=""),
            "with": context.client.request("GET", url, key="", basic=("user", "caged-verify")),
        }

    return context.shared("a protected port", make)


@group.contract("protect", "Protecting a port returns 200 with protected set.", "platform-behaviour B15")
def protect(context: Context) -> None:
    answer = _protect(context)["protect"]
    assert_status(answer, 200)
    answered = read_object(answer)
    assert_equal("port, protected", [answered.get("port"), answered.get("protected")], [_start_server(context), True])


@group.contract("protected-refused", "A protected port is not shown without the password.", "platform-behaviour B15")
def protected_refused(context: Context) -> None:
    answer = _protect(context)["without"]
    assert_true(
        not (answer.status_code == 200 and answer.text.startswith("hello")), "no page without password", "the page"
    )


@group.decision("protected-basic", "The password is accepted by HTTP Basic authentication.", "Part A, Profile")
def protected_basic(context: Context) -> None:
    assert_status(_protect(context)["without"], 401)
    assert_status(_protect(context)["with"], 200)


@group.contract("protect-needs-password", "Protecting a port without a password returns 400.", "platform-behaviour B15")
def protect_needs_password(context: Context) -> None:
    assert_error(
        context.post(f"/sandboxes/{context.second_sandbox_id}/ports/{_start_server(context)}/protect", json={}), 400
    )
