"""Ports that something in a sandbox listens on, and their previews."""

from __future__ import annotations

from typing import Any, Optional

from ..check import Group
from ..context import Context
from ..expect import an_array, an_object, refused, same, shaped, status, true
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


def _serving(bench: Context) -> int:
    """The port of a server in the second sandbox."""

    def start() -> int:
        box, name = bench.python_box, bench.name()
        path = f"/sandboxes/{box}/files/content"
        bench.need(bench.put(path, params={"path": f"{name}.py"}, json={"content": _SERVER}), "writing a server")
        ports = " ".join(map(str, _WITH_PREVIEW))
        bench.shell(f"python3 {name}.py {name}.port {ports} </dev/null >{name}.log 2>&1 &", box)

        def look() -> Optional[str]:
            return bench.shell(f"cat {name}.port 2>/dev/null || true", box).strip() or None

        return int(bench.eventually(look, "a server in the sandbox", 20))

    return bench.shared("a server in the sandbox", start)


def listening_port(bench: Context) -> dict[str, Any]:
    """What the list of ports says of the server in the second sandbox."""
    number = _serving(bench)

    def look() -> Optional[dict[str, Any]]:
        found = an_array(bench.get(f"/sandboxes/{bench.python_box}/ports"))
        return next((port for port in found if isinstance(port, dict) and port.get("port") == number), None)

    return bench.eventually(look, f"port {number} in the list", _FOUND_WITHIN)


@group.contract("none", "A sandbox where nothing listens has no ports.", "wire-contract 3.1")
def none(bench: Context) -> None:
    same("ports", an_array(bench.get(f"/sandboxes/{bench.box}/ports")), [])


@group.contract("found", "What listens in a sandbox is found.", "platform-behaviour B15")
def found(bench: Context) -> None:
    listening_port(bench)


@group.contract("shape", "A port has number, preview_url, protocol and whether it is protected.", "wire-contract 3.1")
def shape(bench: Context) -> None:
    shaped(listening_port(bench), PORT)


@group.contract("protocol", "A usual port of the web is http, with a preview, and not protected.", "wire-contract 3.1")
def protocol(bench: Context) -> None:
    port = listening_port(bench)
    same("protocol, protected", [port.get("protocol"), port.get("protected")], ["http", False])
    true(str(port.get("preview_url")).startswith("http"), "a preview_url", repr(port.get("preview_url")))


@group.contract("preview", "Behind the preview_url is what the sandbox serves.", "platform-behaviour B15")
def preview(bench: Context) -> None:
    url = str(listening_port(bench).get("preview_url"))
    answer = bench.get(f"{url.rstrip('/')}/some/path?x=1", key="")
    status(answer, 200)
    true(answer.text.startswith("hello /some/path?x=1"), "hello /some/path?x=1", answer.text)


def _protected(bench: Context) -> dict[str, Any]:
    """Protecting the port, and a visit without and with the password. A protection cannot be taken back, so the
    other checks come first."""

    def tell() -> dict[str, Any]:
        number, url = _serving(bench), str(listening_port(bench).get("preview_url"))
        path = f"/sandboxes/{bench.python_box}/ports/{number}/protect"
        return {
            "protect": bench.post(path, json={"password": "caged-verify"}),
            "without": bench.get(url, key=""),
            "with": bench.wire.request("GET", url, key="", basic=("anybody", "caged-verify")),
        }

    return bench.shared("a protected port", tell)


@group.contract("protect", "Protecting a port answers 200 and that it is.", "platform-behaviour B15")
def protect(bench: Context) -> None:
    answer = _protected(bench)["protect"]
    status(answer, 200)
    answered = an_object(answer)
    same("port, protected", [answered.get("port"), answered.get("protected")], [_serving(bench), True])


@group.contract("protected-refused", "A protected port is not shown without the password.", "platform-behaviour B15")
def protected_refused(bench: Context) -> None:
    answer = _protected(bench)["without"]
    true(not (answer.status_code == 200 and answer.text.startswith("hello")), "no page without password", "the page")


@group.decision("protected-basic", "The password is taken by Basic authentication.", "Part A, Profile")
def protected_basic(bench: Context) -> None:
    status(_protected(bench)["without"], 401)
    status(_protected(bench)["with"], 200)


@group.contract("protect-needs-password", "Protecting without a password is a 400.", "platform-behaviour B15")
def protect_needs_password(bench: Context) -> None:
    refused(bench.post(f"/sandboxes/{bench.python_box}/ports/{_serving(bench)}/protect", json={}), 400)
