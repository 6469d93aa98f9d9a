"""Packages are installed once, into a layer that later sandboxes see and cannot change.

The installer is a command of the test's own: one that takes no second, needs no registry, and shows by a random token
whether it has run again.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Callable

import pytest
from emulator_testing import Api, eventually
from internals import platform_of
from leftovers import processes_with, run_dirs, unique_seconds, until

from caged.emulator import ConfigError, Emulator
from caged.emulator.cache import manifest
from caged.emulator.cache.cache import Cache
from caged.emulator.cage import layers
from caged.emulator.cage.paths import Layout
from caged.emulator.platform import package_downloads, package_layers, sandbox_setup

#: Installs a tool into the home and, where that can be written, into the system.
INSTALL = """\
set -e
token=$(cat /proc/sys/kernel/random/uuid)
mkdir -p ~/.cache/pip ~/.npm/_cacache ~/.cache/browser
mkdir -p ~/.local/bin ~/.local/empty /usr/local/lib/tool /app 2> /dev/null || true
echo "echo $token" > ~/.local/bin/tool
chmod 755 ~/.local/bin/tool
echo download > ~/.cache/pip/download
echo download > ~/.npm/_cacache/download
echo program > ~/.cache/browser/program
echo $token > /usr/local/lib/tool/token 2> /dev/null || true
echo $token > /app/token 2> /dev/null || true
echo "installed $token"
env > ~/.local/environment
"""


#: What a sandbox is created with. Before it installs for Python, the emulator looks at pip, which takes longer than all
#: else here; only tests of its downloads need that.
TOOL: dict[str, Any] = {"template": "node-20", "packages": ["tool"]}


@pytest.fixture
def installer(monkeypatch) -> Callable[[str], None]:
    def use(command: str) -> None:
        for module in (package_layers, sandbox_setup):
            monkeypatch.setattr(module, "install_command", lambda sandbox: command)
        monkeypatch.setattr(package_layers, "NPM_DOWNLOAD", "false")

    return use


@pytest.fixture
def install(installer) -> None:
    installer(INSTALL)


@pytest.fixture
def cache_dir(tmp_path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def start(own_emulator, cache_dir, new_api) -> Callable[..., Api]:
    """Start an emulator with the test's cache; skips where it has no stronger isolation than `process`."""

    def started(**options: object) -> Api:
        emulator = own_emulator(**{"cache_dir": cache_dir, "allow_unused": True, **options})
        if emulator.isolation == "process" and options.get("isolation") != "process":
            pytest.skip("layers need a stronger isolation than `process`")
        return new_api(emulator)

    return started


def entries(cache_dir: Path) -> list[str]:
    return os.listdir(cache_dir / "entries") if (cache_dir / "entries").exists() else []


def own_root(api: Api) -> bool:
    return platform_of(api.emulator).isolation.own_root


def token(api: Api, box: str) -> str:
    return api.output(box, "tool")


def test_packages_are_installed_once_and_each_sandbox_has_its_own_view(start, install, cache_dir):
    api = start()
    first, second = api.sandbox(**TOOL), api.sandbox(**TOOL)
    assert token(api, first) == token(api, second)
    assert "packages tool: done" in api.log_text(first)
    assert "packages tool: from the cache" in api.log_text(second)
    for box in (first, second):
        assert f"installed {token(api, box)}" in api.log_text(box) + "\n"
    builds = [one for one in api.emulator.journal.commands(account="*") if one.source == "build"]
    assert [(one.sandbox, one.command, one.exit_code) for one in builds] == [
        (first, INSTALL, 0),
        (second, INSTALL, 0),
    ]
    # What one sandbox changes, deletes or adds, no other sees, nor a later one.
    api.output(first, "echo 'echo poisoned' > ~/.local/bin/tool; rm -r ~/.local/empty; touch ~/.local/bin/more")
    if own_root(api):
        api.output(first, "echo poisoned > /usr/local/lib/tool/token; rm -r /app; mkdir /app; touch /app/more")
        assert api.output(first, "ls -A /app") == "more\n"
    third = api.sandbox(**TOOL)
    for box in (second, third):
        assert api.output(box, "ls -A ~/.local ~/.local/bin") == (
            "/root/.local:\nbin\nempty\nenvironment\n\n/root/.local/bin:\ntool\n"
        )
        assert token(api, box) == token(api, second)
        if own_root(api):
            assert api.output(box, "cat /usr/local/lib/tool/token /app/token") == token(api, second) * 2
            assert api.output(box, "ls -A /app") == "token\n"
    assert api.output(third, "cat /etc/hosts; hostname").count(third) == 2
    assert first not in api.output(third, "cat /etc/hosts")
    # Without the packages there is nothing of it.
    plain = api.sandbox()
    assert api.run(plain, "tool || ls ~/.local /app")["exit_code"] != 0
    assert len(entries(cache_dir)) == 1


#: Ways to change a file of a layer: its content in place, its attributes, its name, its links.
ATTACKS = [
    "echo more >> ~/.local/bin/tool",
    "dd if=/dev/zero of=$HOME/.local/bin/tool bs=1 count=3 conv=notrunc status=none",
    "truncate -s 1 ~/.local/bin/tool",
    "chmod 4777 ~/.local/bin/tool; chown 5:5 ~/.local/bin/tool",
    "touch -d 2001-01-01 ~/.local/bin/tool ~/.local/bin",
    "ln ~/.local/bin/tool ~/linked; echo more > ~/linked",
    "mv ~/.local/bin/tool ~/moved; echo more > ~/moved",
    "mv ~/.local ~/elsewhere; rm -rf ~/elsewhere",
    "rm -rf ~/.local; mkdir ~/.local; echo more > ~/.local/environment",
    "mknod ~/.local/bin/tool2 c 0 0; mknod ~/.local/environment2 c 0 0",
    "setfattr -n trusted.overlay.opaque -v y ~/.local; setfattr -n user.overlay.opaque -v y ~/.local",
    "mount -o remount,rw /root; umount /root; mount -t overlay x -o lowerdir=/root,upperdir=/tmp,workdir=/tmp /root",
    "for f in /proc/[0-9]*/root; do echo more > $f$HOME/.local/bin/tool; done",
]


def test_sandbox_cannot_change_a_layer(start, install, cache_dir):
    api = start()
    reference = api.sandbox(**TOOL)
    (content,) = cache_dir.glob("entries/*/content")
    before = manifest.describe(content)
    for attack in ATTACKS:
        box = api.sandbox(**TOOL)
        api.run(box, f"({attack}) 2> /dev/null")
        assert api.run(box, f"ls {content} || cat {content}/root/.local/bin/tool")["exit_code"] != 0
        assert api.delete(f"/sandboxes/{box}").status_code == 204
    assert manifest.describe(content) == before
    assert token(api, api.sandbox(**TOOL)) == token(api, reference)


def test_layer_holds_nothing_of_the_account_and_no_downloads(start, install, cache_dir):
    api = start()
    secret = "canary-7161"
    box = api.sandbox(packages=["tool"], env={"SECRET": secret}, secrets=["SECRET"], init_script="touch ~/.local/mine")
    assert api.output(box, "echo $SECRET; ls ~/.local") == f"{secret}\nbin\nempty\nenvironment\nmine\n"
    assert secret not in api.output(box, "cat ~/.local/environment")
    assert api.output(box, "cat ~/.cache/browser/program; ls -A ~/.cache ~/.npm") == (
        "program\n/root/.cache:\nbrowser\n\n/root/.npm:\n"
    )
    for place in cache_dir.rglob("*"):
        assert place.name not in ("mine", "download")
        assert place.is_dir() or place.is_symlink() or secret.encode() not in place.read_bytes()
    other = api.sandbox(packages=["tool"])
    assert token(api, other) == token(api, box)


def test_layer_survives_the_emulator(start, install):
    api = start()
    before = token(api, api.sandbox(**TOOL))
    api.emulator.stop()
    api = start()
    box = api.sandbox(**TOOL)
    assert token(api, box) == before
    assert "packages tool: from the cache" in api.log_text(box)


def test_two_emulators_that_build_the_same_layer_at_once_build_it_once(start, installer, cache_dir):
    installer(INSTALL + "sleep 0.5\n")
    apis = [start(), start()]
    boxes: list[str] = []
    threads = [threading.Thread(target=lambda api=api: boxes.append(api.sandbox(**TOOL))) for api in apis]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    tokens = {token(api, box["id"]) for api in apis for box in api.get("/sandboxes").json() if box["id"] in boxes}
    assert len(tokens) == 1
    assert len(boxes) == 2
    assert len(entries(cache_dir)) == 1
    assert os.listdir(cache_dir / "building") == []


def test_failed_installation_fails_the_create_and_leaves_no_layer(start, installer, cache_dir):
    installer("echo no such package; exit 3")
    api = start()
    made = api.post("/sandboxes", json=TOOL).json()
    assert made["status"] == "error"
    assert "packages tool failed with exit code 3: no such package" in api.log_text(made["id"])
    assert entries(cache_dir) == os.listdir(cache_dir / "building") == []
    installer(INSTALL)
    api.sandbox(**TOOL)


def test_installation_that_depends_on_more_is_done_in_the_sandbox(start, install, cache_dir):
    api = start()
    for fields in (
        {"network_mode": "none"},
        {"env": {"PIP_INDEX_URL": "http://127.0.0.1:1"}},
        {"env": {"npm_config_registry": "http://127.0.0.1:1"}},
        {"env": {"https_proxy": "http://127.0.0.1:1"}},
        {"env": {"CMAKE_ARGS": "-DX=1"}},
        {"env": {"SETUPTOOLS_SCM_PRETEND_VERSION": "1"}},
        {"env": {"GOOGLE_API_KEY": "x", "MAX_JOBS": "1"}},
        {"packages": ["./tool"]},
        {"packages": ["/workspace/tool"]},
        {"packages": ["git+https://127.0.0.1/tool"]},
        {"packages": ["tool @ file:///workspace/tool"]},
        {"packages": ["libs/tool"]},
        {"packages": ["@libs/tool"]},
        {"packages": ["tool-1.0-py3-none-any.whl"]},
        {"packages": ["tool-1.0-py3-none-any.whl[extra]"]},
        {"packages": ["tool-1.0.tar.gz"]},
        {"packages": ["tool.ZIP"]},
        {"packages": ["acme/tool"], "template": "node-20"},
        {"packages": ["@acme/tool/x"], "template": "node-20"},
        {"packages": ["tool-1.0.0.tgz"], "template": "node-20"},
        {"packages": ["tool@tool-1.0.0.tar"], "template": "node-20"},
    ):
        box = api.sandbox(**{"packages": ["tool"], **fields})
        token(api, box)
        assert ": done" in api.log_text(box), fields
        assert entries(cache_dir) == [], fields


@pytest.mark.parametrize(
    ("template", "packages"),
    [
        ("minimal", ["tool[a,b] >= 1.0, <2", "zip-files", "tar", "tool.x==1.0"]),
        ("node-20", ["@acme/tool@^1.0", "tool@1.x", "tool.js"]),
        ("go-122", ["example.com/tool/v2@latest"]),
    ],
)
def test_names_of_a_registry_are_installed_into_a_layer(start, install, cache_dir, template, packages):
    api = start()
    api.sandbox(template=template, packages=packages)
    assert len(entries(cache_dir)) == 1


#: Wants to reach two hosts through the proxy of its sandbox, and succeeds whatever comes of it.
REACH = """\
for host in evil.invalid listed.invalid; do
    exec 3<> /dev/tcp/127.0.0.1/49128
    printf 'CONNECT %s:443 HTTP/1.1\\r\\n\\r\\n' $host >&3
    head -n 1 <&3
done
"""


def test_installation_behind_an_allowlist_has_a_layer_of_its_own(start, installer, cache_dir):
    installer(INSTALL + REACH)
    api = start()
    behind = {**TOOL, "network_mode": "allowlist", "allowlist": ["listed.invalid", "other.invalid"]}
    first = api.sandbox(**behind)
    second = api.sandbox(**{**behind, "allowlist": behind["allowlist"][::-1]})
    other = api.sandbox(**{**behind, "allowlist": ["listed.invalid"]})
    assert len(entries(cache_dir)) == 2
    assert token(api, first) == token(api, second) != token(api, other)
    assert "packages tool: done" in api.log_text(first)
    assert "packages tool: from the cache" in api.log_text(second)
    for box in (first, second, other):
        # Only what is not listed was refused, and the log of each sandbox says so.
        assert "403" in api.log_text(box)
        assert "502" in api.log_text(box)
        refused = [line["message"] for line in api.logs(box) if line["type"] == "network"]
        assert refused == ["evil.invalid:443 was refused: it is not on the allowlist"]


def test_what_the_result_depends_on_is_part_of_the_key(start, install, cache_dir):
    api = start()
    tokens = [
        token(api, api.sandbox(**fields))
        for fields in (
            TOOL,
            {**TOOL, "packages": ["tool==1.2", "@scope/other@^2", "third[extra]>=1,<2"]},
            {**TOOL, "template": "python-311"},
            {**TOOL, "memory_mb": 1024},
            {**TOOL, "network_mode": "allowlist", "allowlist": ["a.invalid"]},
            {**TOOL, "env": {"GOOGLE_API_KEY": "x"}},
        )
    ]
    assert tokens[0] == tokens[-1]
    # The command is the same here whatever the packages are.
    assert len(set(tokens)) == 4
    assert len(entries(cache_dir)) == 4


def test_stubbed_installer_is_stubbed_and_makes_no_layer(start, install, cache_dir):
    api = start()
    api.emulator.commands.stub("set -e*", output="stubbed", account="*")
    box = api.sandbox(**TOOL)
    assert "stubbed" in api.log_text(box)
    assert api.run(box, "tool")["exit_code"] == 127
    api.emulator.commands.clear(account="*")
    api.emulator.commands.program("env", output="stubbed", account="*")
    box = api.sandbox(**TOOL)
    assert api.output(box, "cat ~/.local/environment") == "stubbed"
    assert entries(cache_dir) == []


def test_without_the_cache_packages_are_installed_each_time(start, install, cache_dir, own_emulator, new_api):
    start()
    api = new_api(own_emulator(cache=False, allow_unused=True))
    assert token(api, api.sandbox(**TOOL)) != token(api, api.sandbox(**TOOL))
    with pytest.raises(ConfigError, match="cache_dir has no effect with the cache off"):
        Emulator(cache=False, cache_dir=cache_dir)


def test_cache_that_others_can_write_to_is_not_used(own_emulator, new_api, install, cache_dir, monkeypatch):
    cache_dir.mkdir()
    cache_dir.chmod(0o777)
    with pytest.raises(ConfigError, match=r"cache_dir: .*can be changed by other users"):
        Emulator(cache_dir=cache_dir).start()
    monkeypatch.setenv("CAGED_CACHE_DIR", str(cache_dir))
    emulator = own_emulator(allow_unused=True)
    api = new_api(emulator)
    box = api.sandbox(**TOOL)
    token(api, box)
    if emulator.isolation != "process":
        assert "can be changed by other users" in api.log_text(box)
    assert os.listdir(cache_dir) == []


def test_changed_layer_is_not_used(start, install, cache_dir):
    api = start()
    before = token(api, api.sandbox(**TOOL))
    api.emulator.stop()
    (tool,) = cache_dir.glob("entries/*/content/root/.local/bin/tool")
    tool.write_text("echo poisoned")
    api = start()
    after = token(api, api.sandbox(**TOOL))
    assert after not in (before, "poisoned\n")


def test_odd_details_of_a_layer_are_not_shown(start, install, cache_dir):
    api = start()
    api.sandbox(**TOOL)
    api.emulator.stop()
    (path,) = cache_dir.glob("entries/*/entry.json")
    odd = {
        "output": ["odd.invalid"],
        "refused": [["odd.invalid", 70_000_000], ["odd.invalid", 0], ["seen.invalid", 443], 7],
    }
    path.write_text(json.dumps({**json.loads(path.read_text()), "details": odd}))
    api = start()
    text = api.log_text(api.sandbox(**TOOL))
    assert "packages tool: from the cache" in text
    assert "seen.invalid" in text
    assert "odd.invalid" not in text


def test_packages_of_prepared_sandbox_are_installed_after_its_files(start, installer, cache_dir):
    installer("mkdir -p ~/.local/bin; cp ~/configured ~/.local/bin/tool && chmod 755 ~/.local/bin/tool")
    api = start()
    view = api.emulator.for_account(api.account_id)
    with view.prepare("configured", template="node-20", packages=["tool"], files={"/root/configured": "echo mine"}):
        assert token(api, api.sandbox(template="configured")) == "mine\n"
    assert entries(cache_dir) == []


def test_layer_that_another_emulator_has_removed_is_made_anew(start, install, cache_dir):
    first, second = start(), start()
    before = token(first, first.sandbox(**TOOL))
    (environment,) = cache_dir.glob("entries/*/content/root/.local/environment")
    environment.write_text("damaged")
    # The other one does not accept it, and makes another of the same path.
    after = token(second, second.sandbox(**TOOL))
    assert after != before
    assert token(first, first.sandbox(**TOOL)) == after
    second.emulator.stop()
    shutil.rmtree(cache_dir / "entries")
    (cache_dir / "entries").mkdir(mode=0o700)
    assert token(first, first.sandbox(**TOOL)) not in (before, after)


def test_cache_that_is_removed_while_an_emulator_runs_is_made_anew(start, install, cache_dir):
    api = start()
    api.sandbox(**TOOL)
    shutil.rmtree(cache_dir)
    box = api.sandbox(**TOOL)
    assert "installed without the cache" in api.log_text(box)
    built = token(api, api.sandbox(**TOOL))
    assert token(api, api.sandbox(**TOOL)) == built
    assert len(entries(cache_dir)) == 1


def test_missing_layer_is_an_error(tmp_path):
    layout = Layout(tmp_path / "box", mounted=False)
    layout.make()
    missing = tmp_path / "missing"
    with pytest.raises(OSError, match="was removed"):
        layers.mounted_parts([missing])
    with pytest.raises(OSError, match="was removed"):
        layers.copy_into([missing], layout, True)
    layout.layers = (missing,)
    with pytest.raises(OSError, match="was removed"), layers.flattened(layout, ["root"]):
        pass


def test_layer_is_made_anew_when_it_is_old(start, install, cache_dir, monkeypatch):
    api = start()
    before = token(api, api.sandbox(**TOOL))
    (description,) = cache_dir.glob("entries/*/entry.json")
    fields = json.loads(description.read_text())
    fields["created_at"] -= package_layers.MOST_AGE_SECONDS + 10
    api.emulator.stop()
    description.write_text(json.dumps(fields))
    api = start()
    assert token(api, api.sandbox(**TOOL)) != before
    assert len(entries(cache_dir)) == 1


def test_sandbox_keeps_its_layer_when_that_is_replaced(start, install, cache_dir, monkeypatch):
    api = start()
    first = api.sandbox(**TOOL)
    before = token(api, first)
    monkeypatch.setattr(package_layers, "MOST_AGE_SECONDS", -1)  # every layer is old
    second = api.sandbox(**TOOL)
    after = token(api, second)
    assert after != before
    assert len(entries(cache_dir)) == 2
    # What reads the layer by its path, not through the mount: a snapshot.
    snapshots = [api.snapshot(box) for box in (first, second)]
    for snapshot, expected in zip(snapshots, (before, after)):
        target = api.sandbox()
        assert api.restore(snapshot, target).status_code == 200
        assert token(api, target) == expected
    assert token(api, first) == before


def test_layer_in_use_is_neither_cleared_nor_evicted(start, install, cache_dir):
    api = start()
    box = api.sandbox(**TOOL)
    before = token(api, box)
    cache = Cache(cache_dir, 1)
    assert cache.list()[0].in_use
    assert cache.clear() == (0, 1)
    assert token(api, box) == before
    api.emulator.stop()
    assert cache.clear() == (1, 0)


def test_sandbox_that_outlives_the_emulator_owns_its_packages(start, install, cache_dir, tmp_path):
    api = start(state_dir=tmp_path / "state")
    boxes = [api.sandbox(**TOOL) for _ in range(2)]
    before = token(api, boxes[0])
    key, emulator = api.key, api.emulator
    emulator.stop()
    shutil.rmtree(cache_dir)
    emulator = emulator.start()
    with Api(emulator, key) as api:
        for box in boxes:
            assert api.post(f"/sandboxes/{box}/resume").status_code == 204
            assert token(api, box) == before
            if own_root(api):
                assert api.output(box, "cat /usr/local/lib/tool/token /app/token") == before * 2


def test_layer_that_cannot_be_mounted_is_copied(start, install, tmp_path):
    api = start(cache_dir=tmp_path / "with,comma:colon")
    first, second = api.sandbox(**TOOL), api.sandbox(**TOOL)
    assert "packages tool: from the cache" in api.log_text(second)
    assert "with,comma" not in api.output(second, "cat /proc/self/mountinfo")
    assert token(api, first) == token(api, second)
    api.output(first, "echo 'echo poisoned' > ~/.local/bin/tool")
    assert token(api, api.sandbox(**TOOL)) == token(api, second)


def test_layers_beyond_those_that_are_kept_in_use_are_copied(start, install, monkeypatch, cache_dir):
    monkeypatch.setattr(package_layers, "LAYERS_HELD", 0)
    api = start()
    boxes = [api.sandbox(**TOOL) for _ in range(2)]
    assert Cache(cache_dir, 1).clear() == (1, 0)
    assert token(api, boxes[0]) == token(api, boxes[1])


def test_sandbox_destroyed_while_its_packages_are_installed_ends_the_installer(start, installer, cache_dir):
    mark = unique_seconds()
    installer(f"sleep {mark}")
    api = start()
    failed: list[int] = []

    def create() -> None:
        failed.append(api.post("/sandboxes", json=TOOL).status_code)

    thread = threading.Thread(target=create)
    thread.start()
    eventually(lambda: processes_with(mark), "the installer to run")
    store = platform_of(api.emulator).store
    (box,) = list(store.sandboxes)
    assert api.delete(f"/sandboxes/{box}").status_code == 204
    thread.join(60)
    assert failed == [404]
    eventually(lambda: not processes_with(mark), "the installer to end")
    eventually(lambda: not os.listdir(cache_dir / "building"), "the half layer to be removed")
    assert entries(cache_dir) == []


def test_downloads_are_not_kept_where_code_of_a_package_may_have_written_them(start, installer, cache_dir, monkeypatch):
    monkeypatch.setattr(package_downloads, "OLDEST_PIP", (0, 0))
    api = start()
    if api.run(api.sandbox(), "pip --version")["exit_code"] != 0:
        pytest.skip("this machine has no pip")
    for number, printed in enumerate(
        ("Preparing metadata (setup.py): started", "  Running setup.py install", "Building wheel for x", "Collecting x")
    ):
        installer(f"mkdir -p ~/.cache/pip; echo x > ~/.cache/pip/{number}; echo '{printed}'")
        api.sandbox(packages=["tool"])
    kept = [one.name for one in cache_dir.rglob("root/.cache/pip/*")]
    assert kept == ["3"]
    # npm runs scripts of packages, which can write to pip's directory.
    installer("mkdir -p ~/.cache/pip; echo x > ~/.cache/pip/npm")
    made = api.post("/sandboxes", json={"template": "node-20", "packages": ["tool"]}).json()
    assert made["status"] == "running"
    # A wheel can make an earlier pip run its code.
    monkeypatch.setattr(package_downloads, "OLDEST_PIP", (999, 0))
    installer("mkdir -p ~/.cache/pip; echo x > ~/.cache/pip/early")
    api.sandbox(packages=["tool"])
    kept = [one.name for one in cache_dir.rglob("root/.cache/pip/*")]
    assert kept == ["3"]


@pytest.mark.parametrize(
    ("printed", "is_kept"),
    [
        (b"pip 25.0 from /usr/lib (python 3.11)", True),
        (b"pip 26.1.2 from /usr/lib (python 3.11)", True),
        (b"pip 24.3.1 from /usr/lib (python 3.11)", False),
        (b"pip 9.0 from /usr/lib (python 3.11)", False),
        (b"sh: pip: not found", False),
        (b"", False),
    ],
)
def test_downloads_are_kept_only_of_pip_that_runs_no_code_of_wheels(printed, is_kept):
    assert (package_downloads.reason_not_kept(printed) is None) is is_kept


@pytest.mark.parametrize(
    ("version", "reason"),
    [
        ("pip 24.3.1 from /x (python 3.11)", "pip 24.3 is older than 25.0, and would run code of a wheel"),
        ("unknown", "the version of pip is not known"),
        ("pip 25.0 from /x (python 3.11)", None),
    ],
)
def test_log_says_why_downloads_are_not_kept(start, installer, cache_dir, monkeypatch, version, reason):
    installer(INSTALL)
    shell = package_layers.Cage.shell

    async def answer(cage, command, *arguments, **options):
        if command == "pip --version":
            command = f"echo {shlex.quote(version)}"
        return await shell(cage, command, *arguments, **options)

    monkeypatch.setattr(package_layers.Cage, "shell", answer)
    api = start()
    first, second = api.sandbox(packages=["tool"]), api.sandbox(packages=["tool"])
    if reason is None:
        assert "the downloads are not kept" not in api.log_text(first)
    else:
        assert f"the downloads are not kept: {reason}" in api.log_text(first)
    assert "the downloads are not kept" not in api.log_text(second)


def test_layer_is_used_when_the_downloads_cannot_be_kept(start, installer, cache_dir, monkeypatch):
    def fail(*_: object) -> None:
        raise OSError("no space")

    monkeypatch.setattr(package_downloads, "OLDEST_PIP", (0, 0))
    monkeypatch.setattr(package_downloads.PackageDownloads, "keep", fail)
    installer(INSTALL)
    api = start()
    if api.run(api.sandbox(), "pip --version")["exit_code"] != 0:
        pytest.skip("this machine has no pip")
    first, second = api.sandbox(packages=["tool"]), api.sandbox(packages=["tool"])
    assert "the downloads are not kept: no space" in api.log_text(first)
    assert token(api, first) == token(api, second)
    assert len(entries(cache_dir)) == 1


def test_at_level_process_packages_are_installed_in_the_sandbox(start, installer, cache_dir):
    installer("mkdir -p ~/.local/bin; echo 'echo x' > ~/.local/bin/tool; chmod 755 ~/.local/bin/tool")
    api = start(isolation="process")
    assert token(api, api.sandbox(packages=["tool"])) == "x\n"
    assert entries(cache_dir) == []


_SERVE = """
import sys
from caged.emulator import Emulator
from caged.emulator.platform import package_layers, sandbox_setup
for module in (package_layers, sandbox_setup):
    module.install_command = lambda sandbox: sys.argv[1]
if sys.argv[2] == "the copy":

    def blocking(freeze):
        def copy(layout, layer, *rest):  # a closure, so that no other process is to call it
            freeze(layout, layer, *rest)
            sys.stdin.read()  # until the kill

        return copy

    package_layers.layers.freeze = blocking(package_layers.layers.freeze)
emulator = Emulator(allow_unused=True).start()
print(emulator.isolation, emulator.base_url, emulator.api_key, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("during", ["the installer", "the copy"])
def test_kill_in_the_middle_of_building_a_layer_leaves_nothing(tmp_path, cache_dir, start, during):
    """No process, no mount, no directory, no half layer; without any further use of the cache."""
    import httpx

    mark = unique_seconds()
    environment = {**os.environ, "TMPDIR": str(tmp_path / "tmp"), "CAGED_CACHE_DIR": str(cache_dir)}
    (tmp_path / "tmp").mkdir()
    command = "mkdir -p ~/.local/bin; echo half > ~/.local/bin/tool; echo half > /usr/local/half"
    if during == "the installer":
        command += f"; sleep {mark}"
    words = [sys.executable, "-c", _SERVE, command, during]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as process:
        level, url, key = process.stdout.readline().split()
        if level == "process":
            process.kill()
            pytest.skip("layers need a stronger isolation than `process`")

        def create() -> None:
            try:
                httpx.post(
                    f"{url}/v1/sandboxes",
                    json={"template": "minimal", "packages": ["tool"]},
                    headers={"Authorization": f"Bearer {key}"},
                    timeout=60,
                    trust_env=False,
                    verify=False,
                )
            except httpx.HTTPError:
                pass  # as intended: the emulator is killed

        thread = threading.Thread(target=create)
        thread.start()
        if during == "the installer":
            # This process has the mark in its words, too.
            until(lambda: [one for one in processes_with(mark) if "package_layers" not in one])
        else:
            until(lambda: list(cache_dir.glob("building/*/content/root/.local/bin/tool")))
        assert len(os.listdir(cache_dir / "building")) == 1
        process.send_signal(signal.SIGKILL)
    thread.join(60)
    until(lambda: not processes_with(mark), what=lambda: processes_with(mark))
    until(lambda: not run_dirs(tmp_path / "tmp"), what=lambda: run_dirs(tmp_path / "tmp"))
    assert entries(cache_dir) == os.listdir(cache_dir / "building") == []
