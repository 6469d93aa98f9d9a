"""Ports that something in a sandbox listens on, and their previews."""

from __future__ import annotations

from typing import Any, Optional

from ..assertions import assert_equal, assert_error, assert_shape, assert_status, assert_true, read_array, read_object
from ..check import Group
from ..context import Context
from ..shapes import PORT

group = Group("ports")

#: The documented ones; one of them may be taken already, where sandboxes have the network of their machine.
_WITH_PREVIEW = (3000, 4200, 5000, 5173, 8000, 8080, 8888)
_FOUND_WITHIN = 15.0
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


def _serving(context: Context) -> int:
    """The port of a server in the second sandbox."""

    def start() -> int:
        box, name = context.second_sandbox_id, context.unique_name()
        path = f"/sandboxes/{box}/files/content"
        context.require_success(
            context.put(path, params={"path": f"{name}.py"}, json={"content": _SERVER}), "writing a server"
        )
        ports = " ".join(map(str, _WITH_PREVIEW))
        context.run_command(f"python3 {name}.py {name}.port {ports} </dev/null >{name}.log 2>&1 &", box)

        def look() -> Optional[str]:
            return context.run_command(f"cat {name}.port 2>/dev/null || true", box).strip() or None

        return int(context.wait_until(look, "a server in the sandbox", 20))

    return context.shared("a server in the sandbox", start)


def listening_port(context: Context) -> dict[str, Any]:
    """What the list of ports says of the server in the second sandbox."""
    number = _serving(context)

    def look() -> Optional[dict[str, Any]]:
        found = read_array(context.get(f"/sandboxes/{context.second_sandbox_id}/ports"))
        return next((port for port in found if isinstance(port, dict) and port.get("port") == number), None)

    return context.wait_until(look, f"port {number} in the list", _FOUND_WITHIN)


@group.contract("none", "A sandbox where nothing listens has no ports.", "wire-contract 3.1")
def none(context: Context) -> None:
    assert_equal("ports", read_array(context.get(f"/sandboxes/{context.sandbox_id}/ports")), [])


@group.contract("found", "What listens in a sandbox is found.", "platform-behaviour B15")
def found(context: Context) -> None:
    listening_port(context)


@group.contract("shape", "A port has number, preview_url, protocol and whether it is protected.", "wire-contract 3.1")
def shape(context: Context) -> None:
    assert_shape(listening_port(context), PORT)


@group.contract("protocol", "A usual port of the web is http, with a preview, and not protected.", "wire-contract 3.1")
def protocol(context: Context) -> None:
    port = listening_port(context)
    assert_equal("protocol, protected", [port.get("protocol"), port.get("protected")], ["http", False])
    assert_true(str(port.get("preview_url")).startswith("http"), "a preview_url", repr(port.get("preview_url")))


@group.contract("preview", "Behind the preview_url is what the sandbox serves.", "platform-behaviour B15")
def preview(context: Context) -> None:
    url = str(listening_port(context).get("preview_url"))
    answer = context.get(f"{url.rstrip('/')}/some/path?x=1", key="")
    assert_status(answer, 200)
    assert_true(answer.text.startswith("hello /some/path?x=1"), "hello /some/path?x=1", answer.text)


def _protected(context: Context) -> dict[str, Any]:
    """Protecting the port, and a visit without and with the password. A protection cannot be taken back, so the
    other checks come first."""

    def tell() -> dict[str, Any]:
        number, url = _serving(context), str(listening_port(context).get("preview_url"))
        path = f"/sandboxes/{context.second_sandbox_id}/ports/{number}/protect"
        return {
            "protect": context.post(path, json={"password": "caged-verify"}),
            "without": context.get(url, key=""),
            "with": context.client.request("GET", url, key="", basic=("anybody", "caged-verify")),
        }

    return context.shared("a protected port", tell)


@group.contract("protect", "Protecting a port answers 200 and that it is.", "platform-behaviour B15")
def protect(context: Context) -> None:
    answer = _protected(context)["protect"]
    assert_status(answer, 200)
    answered = read_object(answer)
    assert_equal("port, protected", [answered.get("port"), answered.get("protected")], [_serving(context), True])


@group.contract("protected-refused", "A protected port is not shown without the password.", "platform-behaviour B15")
def protected_refused(context: Context) -> None:
    answer = _protected(context)["without"]
    assert_true(
        not (answer.status_code == 200 and answer.text.startswith("hello")), "no page without password", "the page"
    )


@group.decision("protected-basic", "The password is taken by Basic authentication.", "Part A, Profile")
def protected_basic(context: Context) -> None:
    assert_status(_protected(context)["without"], 401)
    assert_status(_protected(context)["with"], 200)


@group.contract("protect-needs-password", "Protecting without a password is a 400.", "platform-behaviour B15")
def protect_needs_password(context: Context) -> None:
    assert_error(
        context.post(f"/sandboxes/{context.second_sandbox_id}/ports/{_serving(context)}/protect", json={}), 400
    )
