"""A sandbox's host name resolves without DNS, because the sandbox has its own /etc/hosts."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from levels import Served, SharedBoxes, need

NAME = 'name=$(cat /proc/sys/kernel/hostname); getent hosts "$name"'

pytestmark = pytest.mark.skipif(
    shutil.which("getent") is None or not Path("/etc/hosts").is_file(), reason="needs getent and an /etc/hosts"
)


@pytest.fixture
def restartable(tmp_path: Path) -> Iterator[Served]:
    """An emulator with a state directory."""
    need("namespace")
    (tmp_path / "state").mkdir(mode=0o777)
    (tmp_path / "state").chmod(0o777)
    served = Served(tmp_path, "namespace", "--state-dir", str(tmp_path / "state"), run_base=tmp_path / "state")
    yield served
    served.end()


@pytest.mark.parametrize("mode", ["full", "none"])
def test_host_name_resolves_to_a_loopback_address(isolated: Served, shared_boxes: SharedBoxes, mode: str) -> None:
    box = shared_boxes.get(isolated, network_mode=mode)
    assert isolated.run(box, NAME).split() == ["127.0.1.1", box]


def test_host_name_still_resolves_after_pause_and_resume(isolated: Served, shared_box: str) -> None:
    isolated.client.sandboxes.pause(shared_box)
    isolated.client.sandboxes.resume(shared_box)
    assert isolated.run(shared_box, NAME).split() == ["127.0.1.1", shared_box]


def test_hosts_file_contains_entries_of_host(isolated: Served, shared_box: str) -> None:
    content = isolated.run(shared_box, "cat /etc/hosts")
    assert content.splitlines() == [*Path("/etc/hosts").read_text().splitlines(), f"127.0.1.1 {shared_box}"]
    assert isolated.run(shared_box, "stat -c %a /etc/hosts") == "644\n"


def test_change_of_hosts_file_stays_in_sandbox(isolated: Served, box: str) -> None:
    before = Path("/etc/hosts").read_text()
    isolated.client.sandboxes.exec(box, "echo 192.0.2.1 caged-test.example >> /etc/hosts")
    assert Path("/etc/hosts").read_text() == before
    with isolated.sandbox() as other:
        assert "caged-test.example" not in isolated.run(other, "cat /etc/hosts")


def test_hosts_file_of_one_sandbox_does_not_name_another(isolated: Served, shared_box: str) -> None:
    with isolated.sandbox() as other:
        assert other not in isolated.run(shared_box, "cat /etc/hosts")
        assert isolated.run(other, NAME).split() == ["127.0.1.1", other]


def test_fqdn_lookup_works_without_network(isolated: Served, shared_boxes: SharedBoxes) -> None:
    """`python3 -m http.server` looks up its FQDN before it listens."""
    box = shared_boxes.get(isolated, network_mode="none")
    assert isolated.run(box, "python3 -c 'import socket; print(socket.getfqdn())'") == f"{box}\n"


def test_process_level_uses_hosts_file_of_host(anywhere: Served, shared_box: str) -> None:
    if anywhere.level == "process":
        assert shared_box not in anywhere.run(shared_box, "cat /etc/hosts")
        assert not (anywhere.sandbox_dir(shared_box) / "hosts").exists()


def test_host_name_resolves_after_restart_of_the_emulator(restartable: Served, tmp_path: Path) -> None:
    box = restartable.client.sandboxes.create().id
    restartable.client.sandboxes.pause(box)
    restartable.stop()
    again = Served(tmp_path, restartable.level, "--state-dir", str(tmp_path / "state"), run_base=tmp_path / "state")
    try:
        again.client.sandboxes.resume(box)
        assert again.run(box, NAME).split() == ["127.0.1.1", box]
    finally:
        again.end()
