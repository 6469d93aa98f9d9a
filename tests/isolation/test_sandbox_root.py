"""A sandbox is a machine of its own: what set-up scripts do works in it, and nothing of it leaves the sandbox."""

from __future__ import annotations

import glob
import os
import shlex
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from internals import platform_of
from levels import Served, is_mapped, need
from setup_commands import APT, NO, SET_UPS, YES, SetUp, table

from caged import Caged
from caged.emulator import Emulator
from caged.emulator.cage import host_view, probe
from caged.emulator.cage.mask import writable_entries

README = Path(__file__).parents[2] / "README.md"
DOCS = README.parent / "docs"

#: What the rows leave behind, if they reach the host.
LEFT = (
    *("/app", "/testbed", "/usr/local/bin/caged-script", "/etc/caged.d", "/etc/caged-moved", "/usr/share/caged"),
    *("/usr/lib/caged-file", "/home/caged-bob", "/srv/caged-owned", "/usr/bin/caged-probe", "/usr/bin/hello"),
    *("/usr/bin/caged-yes", "/home/caged-carl"),
    *(f"{place}/caged-file" for place in ("/srv", "/mnt", "/home", "/opt", "/var/log", "/var/lib", "/var/tmp")),
)


@pytest.fixture(scope="module")
def without_overlays() -> Iterator[Emulator]:
    """An emulator on a machine that cannot mount overlays."""
    need("namespace")
    probe.roots = ("copies",)
    try:
        with Emulator(isolation="namespace", allow_unused=True) as emulator:
            yield emulator
    finally:
        probe.roots = ("overlays", "copies")


@pytest.fixture(scope="module")
def copies_box(without_overlays: Emulator) -> Iterator[tuple[Caged, str]]:
    with without_overlays.client() as client:
        yield client, client.sandboxes.create().id


def test_export_without_overlays_logs_that_other_changes_are_left_out(
    without_overlays: Emulator, copies_box: tuple[Caged, str], tmp_path: Path
) -> None:
    client, box = copies_box
    without_overlays.export(tmp_path / "state.tar.gz")
    messages = [line.message for line in client.sandboxes.logs(box)]
    assert any(message.startswith("not exported: changes outside of /workspace, ") for message in messages), messages


def test_sandbox_made_without_overlays_keeps_changes_and_deletions_with_them(tmp_path: Path) -> None:
    need("namespace")
    options: dict[str, Any] = {"isolation": "namespace", "allow_unused": True, "state_dir": tmp_path / "state"}
    deleted = next(name for name in ("skel", "profile.d", "login.defs") if os.path.exists(f"/etc/{name}"))
    look = f"cat /etc/mine /app/f; test -e /etc/{deleted} && echo there; ls -A /opt /usr/local/bin /var/lib"
    probe.roots = ("copies",)
    try:
        with Emulator(**options) as emulator, emulator.client() as client:
            box = client.sandboxes.create().id
            change = f"echo mine > /etc/mine; mkdir /app; echo app > /app/f; rm -r /etc/{deleted}; "
            before = client.sandboxes.exec(box, change + look).output
            key = emulator.api_key
    finally:
        probe.roots = ("overlays", "copies")
    with Emulator(**options) as emulator, emulator.client(key) as client:
        client.sandboxes.resume(box)
        assert client.sandboxes.exec(box, look).output == before
        assert before.startswith("mine\napp\n/opt:")
        if platform_of(emulator).isolation.root == "overlays":
            assert client.sandboxes.exec(box, "touch /usr/share/caged").exit_code == 0


def check_host() -> None:
    before = {path for path in ("/usr/bin/hello",) if PRESENT[path]}
    assert [path for path in LEFT if os.path.lexists(path) and path not in before] == []
    for path in ("/etc/passwd", "/etc/hosts", "/etc/group", "/etc/profile"):
        if os.path.exists(path):
            content = Path(path).read_text()
            assert "caged-" not in content, path
            assert "CAGED_PROBE" not in content, path


PRESENT = {path: os.path.lexists(path) for path in LEFT}


def need_program(set_up: SetUp) -> None:
    if not set_up.can_be_tested:
        pytest.skip(f"there is no {set_up.needs} here")


def outcome(client: Caged, box: str, command: str) -> tuple[str, str]:
    # A change that reached the host would do harm there: nothing is tried then.
    name = f"/etc/caged-isolated-{os.getpid()}"
    assert client.sandboxes.exec(box, f"touch {name}").ok
    assert not os.path.lexists(name)
    result = client.sandboxes.exec(box, command)
    return (YES if result.exit_code == 0 else NO), result.output


@pytest.mark.parametrize("set_up", SET_UPS, ids=lambda set_up: set_up.says)
def test_set_up_command_works_as_documented(isolated: Served, shared_box: str, set_up: SetUp) -> None:
    need_program(set_up)
    works, output = outcome(isolated.client, shared_box, set_up.command)
    mapped = is_mapped(isolated.client, shared_box)
    assert works == set_up.expected(isolated.level, os.geteuid() == 0, mapped), output
    check_host()


@pytest.mark.parametrize("set_up", SET_UPS, ids=lambda set_up: set_up.says)
def test_set_up_command_without_overlays_works_as_documented(copies_box: tuple[Caged, str], set_up: SetUp) -> None:
    need_program(set_up)
    works, output = outcome(*copies_box, set_up.command)
    assert works == set_up.expected("copies", os.geteuid() == 0, is_mapped(*copies_box)), output
    check_host()


def test_next_sandbox_finds_nothing_of_one_before(isolated: Served) -> None:
    change = "mkdir -p /app /etc/caged.d; touch /app/x /usr/local/bin/caged-script /srv/x; rm -f /usr/bin/env"
    with isolated.sandbox() as earlier, isolated.sandbox() as box:
        outcome(isolated.client, earlier, change)
        paths = " ".join(path for path in LEFT if not PRESENT[path])
        listed = isolated.run(box, f"ls -d {paths} 2>/dev/null; test -e /usr/bin/env && echo whole")
        assert listed == "whole\n"


@pytest.fixture(scope="module")
def registry() -> None:
    if not shutil.which("apt-get"):
        pytest.skip("there is no apt-get here")
    try:
        urllib.request.urlopen("http://deb.debian.org/debian/dists/stable/InRelease", timeout=10).close()
    except (OSError, urllib.error.URLError):
        pytest.skip("the registry of Debian cannot be reached")


# It takes seconds and depends on a registry: `CAGED_TEST_REGISTRY=1` selects it.
@pytest.mark.skipif(not os.environ.get("CAGED_TEST_REGISTRY"), reason="needs a registry: CAGED_TEST_REGISTRY=1")
def test_apt_installs_package_from_registry(registry: None, isolated: Served) -> None:
    with isolated.sandbox() as box:
        works, output = outcome(isolated.client, box, APT.command)
        mapped = is_mapped(isolated.client, box)
        assert works == APT.expected(isolated.level, os.geteuid() == 0, mapped), output
    check_host()


def test_changes_survive_pause_and_resume(isolated: Served, box: str) -> None:
    isolated.run(
        box,
        "mkdir /app && echo kept > /app/file && echo kept > /etc/caged-kept && rm /etc/services"
        " && mkdir -p /opt/tool && echo 192.0.2.9 caged-kept.example >> /etc/hosts",
    )
    isolated.client.sandboxes.pause(box)
    isolated.client.sandboxes.resume(box)
    said = isolated.run(
        box,
        "cat /app/file /etc/caged-kept; test ! -e /etc/services && test -d /opt/tool"
        " && getent hosts caged-kept.example",
    )
    assert said.split() == ["kept", "kept", "192.0.2.9", "caged-kept.example"]


def test_log_and_doctor_say_how_root_is_made(isolated: Served, shared_box: str, without_overlays: Emulator) -> None:
    assert "copy-on-write root" in isolated.client.sandboxes.logs(shared_box)[0].message
    with without_overlays.client() as client:
        box = client.sandboxes.create()
        assert "partly writable" in client.sandboxes.logs(box.id)[0].message
        client.sandboxes.destroy(box.id)


def test_packages_can_put_files_beside_those_of_others(isolated: Served, box: str) -> None:
    patterns = "/usr/include/X11/extensions", "/usr/lib/gcc/*/*", "/usr/lib/jvm/*/lib", "/usr/share/vim/addons/*"
    patterns += ("/usr/lib/*-linux-gnu/perl5/*", "/usr/share/gdb/auto-load/usr/lib/*", "/usr/share/fonts/truetype/*")
    patterns += ("/usr/share/bash-completion/completions", "/usr/share/man/man1")
    found = [path for pattern in patterns for path in glob.glob(pattern) if os.path.isdir(path)]
    directories = sorted({path for path in map(os.path.realpath, found) if path.startswith("/usr/")})
    new = shlex.join([f"{directory}/caged-new" for directory in directories])
    assert isolated.run(box, f"touch {new} && rm {new}") == ""


def test_sudoers_exists_where_host_has_it(isolated: Served, shared_box: str) -> None:
    # Where the host has no sudo, the package can be installed without a question about this file.
    exists = isolated.client.sandboxes.exec(shared_box, "test -e /etc/sudoers").ok
    assert exists == os.path.lexists("/etc/sudoers")


def test_whole_program_directories_are_seen(isolated: Served, shared_box: str) -> None:
    names = sorted(os.listdir("/usr"))
    assert isolated.run(shared_box, "ls -A /usr").split() == names


def test_only_listed_entries_of_host_are_seen(isolated: Served) -> None:
    with isolated.sandbox() as box:
        for directory, patterns in host_view.ALLOWED.items():
            seen = isolated.run(box, f"ls -A /{directory} 2>/dev/null; true").split()
            always = {
                path[len(directory) + 1 :].split("/")[0] for path in host_view.ALWAYS if path.startswith(directory)
            }
            always |= {"shadow", "gshadow", "sudoers"} if directory == "etc" else set()
            foreign = [name for name in seen if name not in always and not host_view.is_listed(f"{directory}/{name}")]
            assert foreign == [], (directory, patterns)
        top = set(isolated.run(box, "ls -A /").split())
        known = {*host_view.PROGRAM_DIRECTORIES, *host_view.FILTERED_DIRECTORIES, *host_view.EMPTY_DIRECTORIES}
        assert top <= {*known, "dev", "proc", "root", "run", "sys", "tmp", "workspace"}


def test_readme_has_table_of_set_up_commands() -> None:
    assert table() in README.read_text(encoding="utf-8"), "run scripts/isolation-table"


def test_documentation_has_list_of_what_is_seen() -> None:
    assert host_view.markdown_table() in (DOCS / "own-root.md").read_text(encoding="utf-8"), (
        "run scripts/isolation-table"
    )


def test_documentation_has_depths_that_an_ordinary_user_can_write_to() -> None:
    assert writable_entries.markdown_table() in (DOCS / "own-root.md").read_text(encoding="utf-8"), (
        "run scripts/isolation-table"
    )


def test_installed_sudo_is_a_valid_shell_script() -> None:
    from caged.emulator.cage.sudo import _SCRIPT

    checked = subprocess.run(["sh", "-n"], input=_SCRIPT, text=True, capture_output=True, timeout=60, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")
