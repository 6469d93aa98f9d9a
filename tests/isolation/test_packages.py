"""Package managers work in a sandbox and install into it. The packages are local; no index is used."""

from __future__ import annotations

import base64
import json
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from levels import Served, client_of
from wheels import wheel

#: Both are tested at `process` and at one other level: their settings are the same at all levels with real isolation,
#: and these two have both of their tools.
NPM_LEVELS = ("namespace", "process")
PIP_LEVELS = ("bwrap", "process")


# pip itself takes more than a second to start and install.
@pytest.mark.parametrize("anywhere", PIP_LEVELS, indirect=True)
def test_pip_installs_wheel_into_sandbox_and_not_into_host(anywhere: Served) -> None:
    name = f"cagedprobe{os.getpid()}"
    with anywhere.sandbox(template="python-311") as box, anywhere.sandbox(template="python-311") as other:
        if "pip" not in anywhere.run(box, "ls $(dirname $(command -v python3))").split():
            pytest.skip("this machine's Python has no pip")
        file = f"{name}-1.0-py3-none-any.whl"
        anywhere.client.files.write(box, "as-text", base64.b64encode(wheel(name, "1.0", f"{name} 1.0")).decode())
        anywhere.run(box, f"base64 -d as-text > {file} && pip install --no-index ./{file}")
        printed, program = anywhere.run(box, f"{name}; command -v {name}").splitlines()
        where = anywhere.run(box, f"python3 -c 'import {name}; print({name}.__file__)'")
        assert printed == f"{name} 1.0"
        if program != f"/usr/local/bin/{name}":  # pip may not write beside the interpreter
            assert program == f"/root/.local/bin/{name}"
            assert where.startswith("/root/.local/lib/python3")
        elif anywhere.level.startswith("process"):
            pytest.fail(f"installed into the host: {where}")
        assert shutil.which(name) is None
        assert not anywhere.client.sandboxes.exec(other, f"python3 -c 'import {name}'").ok


@pytest.mark.parametrize("anywhere", ["namespace"], indirect=True)
def test_pip_installs_wheel_into_virtual_environment(anywhere: Served) -> None:
    name = f"venvprobe{os.getpid()}"
    with anywhere.sandbox() as box:
        if not anywhere.client.sandboxes.exec(box, "python3 -c 'import ensurepip'").ok:
            pytest.skip("this machine's Python cannot make virtual environments")
        file = f"{name}-1.0-py3-none-any.whl"
        anywhere.client.files.write(box, "as-text", base64.b64encode(wheel(name, "1.0", f"{name} 1.0")).decode())
        anywhere.run(box, f"base64 -d as-text > {file} && python3 -m venv /opt/v")
        anywhere.run(box, f"/opt/v/bin/pip install --no-index ./{file}")
        assert anywhere.run(box, f"/opt/v/bin/{name}") == f"{name} 1.0\n"
        assert not anywhere.client.sandboxes.exec(box, f"command -v {name}").ok


# npm takes half a second to start.
@pytest.mark.parametrize("anywhere", NPM_LEVELS, indirect=True)
@pytest.mark.skipif(not (shutil.which("node") and shutil.which("npm")), reason="there is no node with npm here")
def test_npm_installs_package_into_home_of_sandbox(anywhere: Served) -> None:
    with anywhere.sandbox(template="node-20") as box, anywhere.sandbox(template="node-20") as other:
        if anywhere.level.endswith("-user") and not anywhere.client.sandboxes.exec(box, "npm --version").ok:
            pytest.skip("node lies where an ordinary user may not go")
        package = {"name": "caged-probe", "version": "1.0.0", "bin": {"caged-probe": "cli.js"}}
        anywhere.client.files.write(box, "package/package.json", json.dumps(package))
        anywhere.client.files.write(box, "package/cli.js", "#!/usr/bin/env node\nconsole.log('by ' + process.argv0)\n")
        # npm takes as long to pack as to install, so one level shows that it can.
        by_tar = "tar czf ../p.tgz -C .. package && echo ../p.tgz"
        pack = "npm pack --silent" if anywhere.level == "namespace" else by_tar
        anywhere.run(box, f"cd package && npm install -g --offline --no-audit --no-fund $({pack})")
        assert anywhere.run(box, "caged-probe; command -v caged-probe") == "by node\n/root/.local/bin/caged-probe\n"
        assert (anywhere.sandbox_dir(box) / "root/.local/lib/node_modules/caged-probe/cli.js").is_file()
        assert not anywhere.client.sandboxes.exec(other, "command -v caged-probe").ok


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a home directory")
def test_only_used_toolchain_below_home_is_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    home = Path(tempfile.mkdtemp(prefix="caged-developer-", dir="/home"))
    try:
        (home / "secret").write_text("secret")
        tools = home / "tools" / "node-20" / "bin"
        tools.mkdir(parents=True)
        home.chmod(0o755)
        (tools / "node").write_text("#!/bin/sh\necho v20.99.0\n")
        (tools / "node").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
        monkeypatch.setenv("HOME", str(home))  # not the other versions of a version manager
        with client_of("namespace") as client:
            box = client.sandboxes.create(template="node-20")
            assert box.status == "running", client.sandboxes.logs(box.id)
            assert client.sandboxes.exec(box.id, "node --version").output == "v20.99.0\n"
            assert client.sandboxes.exec(box.id, f"ls {home}").output == "tools\n"
            assert not client.sandboxes.exec(box.id, f"touch {tools}/here").ok
            client.sandboxes.exec(box.id, f"touch {home}/here /home/here")
        assert sorted(os.listdir(home)) == ["secret", "tools"]
        assert not os.path.lexists("/home/here")
    finally:
        shutil.rmtree(home)
