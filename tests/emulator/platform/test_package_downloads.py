"""Real pip and npm, a real index and registry: layers of packages, and downloads that are kept."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import shutil
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Optional

import pytest
from wheels import wheel

from caged.emulator.platform import package_downloads, package_layers, sandbox_setup


class Index(ThreadingHTTPServer):
    """A package index on the loopback address, whose files may be kept for ever.

    Attributes:
        served: The names of the files that were sent.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.served: list[str] = []
        names = ("cagedone", "cagedtwo")
        self.wheels = {f"{name}-1.0-py3-none-any.whl": wheel(name, "1.0", f"{name} runs") for name in names}


class _Handler(BaseHTTPRequestHandler):
    server: Index

    def do_GET(self) -> None:
        *_, folder, name = self.path.split("/")
        content: Optional[bytes] = self.server.wheels.get(name)
        if content is not None:
            self.server.served.append(name)
            return self._send(content, "application/octet-stream", "max-age=31536000, immutable")
        links = [file for file in self.server.wheels if file.startswith(f"{folder}-")]
        page = "".join(f'<a href="/files/{file}">{file}</a>' for file in links)
        self._send(f"<!DOCTYPE html><html><body>{page}</body></html>".encode(), "text/html", "no-cache")

    def _send(self, content: bytes, kind: str, caching: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", caching)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def index(monkeypatch) -> Iterator[Index]:
    with Index() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        host = f"127.0.0.1:{server.server_port}"
        options = f"--index-url http://{host}/simple --trusted-host {host} --no-color --progress-bar off"
        for module in (package_layers, sandbox_setup):
            monkeypatch.setattr(
                module, "install_command", lambda sandbox: f"pip install {options} {' '.join(sandbox.packages)}"
            )
        yield server
        server.shutdown()


# pip itself takes more than a second to start and install.
def test_pip_installs_once_and_keeps_what_it_has_downloaded(index, own_emulator, new_api, tmp_path, monkeypatch):
    monkeypatch.setattr(package_downloads, "OLDEST_PIP", (0, 0))  # whatever this machine has
    api = new_api(own_emulator(cache_dir=tmp_path / "cache", allow_unused=True))
    if api.emulator.isolation == "process":
        pytest.skip("layers need a stronger isolation than `process`")
    first = api.sandbox(template="python-311", packages=["cagedone"])
    if "pip" not in api.output(first, "ls $(dirname $(command -v python3))").split():
        pytest.skip("this machine's Python has no pip")
    second = api.sandbox(template="python-311", packages=["cagedone"])
    assert "packages cagedone: from the cache" in api.log_text(second)
    for box in (first, second):
        assert api.output(box, "cagedone; python3 -c 'import cagedone; cagedone.main()'") == "cagedone runs\n" * 2
    assert index.served == ["cagedone-1.0-py3-none-any.whl"]
    assert "Successfully uninstalled" in api.output(first, "pip uninstall -y cagedone")
    assert api.run(first, "cagedone")["exit_code"] == 127
    assert api.output(second, "cagedone") == "cagedone runs\n"
    # Another list: what was downloaded before is not downloaded again, and no sandbox has it.
    both = api.sandbox(template="python-311", packages=["cagedone", "cagedtwo"])
    assert "Using cached" in api.log_text(both)
    assert index.served == ["cagedone-1.0-py3-none-any.whl", "cagedtwo-1.0-py3-none-any.whl"]
    assert api.output(both, "cagedone; cagedtwo") == "cagedone runs\ncagedtwo runs\n"
    assert api.run(both, "ls ~/.cache/pip")["exit_code"] != 0


#: What each package of the registry depends on, and its script.
NPM_PACKAGES: dict[str, dict[str, object]] = {
    "caged-base": {"scripts": {"postinstall": "mkdir -p ~/.npm/_cacache/tmp; touch ~/.npm/_cacache/tmp/poison ~/ran"}},
    "caged-one": {"dependencies": {"caged-base": "1.0.0"}},
    "caged-two": {"dependencies": {"caged-base": "1.0.0"}},
}


def npm_archive(name: str) -> bytes:
    """A package as npm publishes it."""
    described = {"name": name, "version": "1.0.0", "bin": {name: "cli.js"}, **NPM_PACKAGES[name]}
    script = f"#!/usr/bin/env node\nconsole.log('{name} runs')\n"
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w:gz") as archive:
        for path, text in (("package.json", json.dumps(described)), ("cli.js", script)):
            entry = tarfile.TarInfo(f"package/{path}")
            entry.size, entry.mode = len(text), 0o755
            archive.addfile(entry, io.BytesIO(text.encode()))
    return written.getvalue()


class Registry(ThreadingHTTPServer):
    """An npm registry on the loopback address.

    Attributes:
        served: The names of the packages whose archives were sent.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _RegistryHandler)
        self.served: list[str] = []
        self.archives = {name: npm_archive(name) for name in NPM_PACKAGES}

    def document(self, name: str) -> dict[str, object]:
        archive = self.archives[name]
        integrity = "sha512-" + base64.b64encode(hashlib.sha512(archive).digest()).decode()
        url = f"http://127.0.0.1:{self.server_port}/files/{name}"
        version = {"name": name, "version": "1.0.0", "bin": {name: "cli.js"}, **NPM_PACKAGES[name]}
        version["dist"] = {"tarball": url, "integrity": integrity}
        version["hasInstallScript"] = "scripts" in version
        return {"name": name, "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": version}}


class _RegistryHandler(BaseHTTPRequestHandler):
    server: Registry

    def do_GET(self) -> None:
        *_, folder, name = self.path.split("/")
        if name not in self.server.archives:
            return self.send_error(404)
        if folder == "files":
            self.server.served.append(name)
        content = self.server.archives[name] if folder == "files" else json.dumps(self.server.document(name)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream" if folder == "files" else "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def registry(monkeypatch) -> Iterator[Registry]:
    with Registry() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        option = f"--registry=http://127.0.0.1:{server.server_port}/"
        for module in (package_layers, sandbox_setup):
            monkeypatch.setattr(
                module, "install_command", lambda sandbox: f"npm install -g {option} {' '.join(sandbox.packages)}"
            )
        monkeypatch.setattr(package_layers, "NPM_DOWNLOAD", f"{package_downloads.NPM_DOWNLOAD} {option}")
        yield server
        server.shutdown()


@pytest.mark.skipif(not (shutil.which("node") and shutil.which("npm")), reason="there is no node with npm here")
def test_npm_downloads_are_kept_and_are_those_of_a_run_without_scripts(registry, own_emulator, new_api, tmp_path):
    api = new_api(own_emulator(cache_dir=tmp_path / "cache", allow_unused=True))
    if api.emulator.isolation == "process":
        pytest.skip("layers need a stronger isolation than `process`")
    first = api.sandbox(template="node-20", packages=["caged-one"])
    assert api.output(first, "caged-one; ls ~/ran") == "caged-one runs\n/root/ran\n"
    assert sorted(registry.served) == ["caged-base", "caged-one"]
    # Another list: what was downloaded before is not downloaded again.
    second = api.sandbox(template="node-20", packages=["caged-one", "caged-two"])
    assert api.output(second, "caged-one; caged-two") == "caged-one runs\ncaged-two runs\n"
    assert sorted(registry.served) == ["caged-base", "caged-one", "caged-two"]
    assert api.run(second, "ls ~/.npm/_cacache")["exit_code"] != 0
    kept = {one.name for one in (tmp_path / "cache").rglob("*") if "_cacache" in str(one)}
    assert kept
    assert "poison" not in kept
