"""Selection of the isolation level: one chosen by name never degrades, `auto` does with one warning, and both give
the reason.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import fork_server
import pytest
from leftovers import run_dirs
from levels import Served, need

REFUSING = [sys.executable, str(Path(__file__).parents[1] / "tools" / "refusing.py")]

# Prefixes of a command that simulate a machine without namespaces, and what is then reported about `namespace`.
SECCOMP = [*REFUSING, "namespaces"]
ONLY_BWRAP = [*REFUSING, "mount"]
# A user namespace has its own limits, so setting them needs no privileges and has no effect outside. The command runs
# without capabilities.
TURNED_OFF = [
    *("unshare", "--map-root-user", "sh", "-c"),
    'echo 0 > /proc/sys/user/max_user_namespaces && exec setpriv --bounding-set=-all --inh-caps=-all "$@"',
    "sh",
]
REFUSALS = {
    "seccomp": (SECCOMP, "this container may not create namespaces (seccomp)", "--security-opt seccomp=unconfined"),
    "turned_off": (TURNED_OFF, "user namespaces are off", "sudo sysctl user.max_user_namespaces=15000"),
}


#: What refuses makes a difference to the reason alone, which the first test below sees with each.
@pytest.fixture(params=["seccomp"])
def refusal(request: pytest.FixtureRequest) -> tuple[list[str], str, str]:
    need_words(REFUSALS[request.param][0])
    return REFUSALS[request.param]


def need_words(words: list[str]) -> None:
    if words[:2] == REFUSING and platform.machine() not in ("x86_64", "aarch64"):
        pytest.skip("the seccomp filter is written for x86_64 and aarch64")
    done = run_program([*words, "true"])
    if done.returncode != 0:
        pytest.skip(f"cannot make this machine refuse namespaces: {done.stderr.strip()}")


def run_program(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
    """Run by the fork server if the command is a Python program, which may then execute any other program."""
    run = fork_server.run if command[0] == sys.executable else subprocess.run
    return run(command, cwd="/", capture_output=True, text=True, timeout=60, check=False, **options)


def start_and_fail(folder: Path, words: list[str], level: str, **environment: str) -> str:
    """Start an emulator, which must fail, and return its standard error."""
    done = run_program(
        [*words, sys.executable, "-m", "caged.emulator", "serve", "--port", "0", "--isolation", level],
        env={**os.environ, "TMPDIR": str(folder), **environment},
    )
    assert done.returncode not in (0, None)
    assert "Traceback" not in done.stderr
    assert run_dirs(folder) == []
    return done.stderr


def health_of(served: Served) -> dict[str, Any]:
    health: dict[str, Any] = json.loads(urllib.request.urlopen(f"{served.base_url}/healthz", timeout=60).read())
    return health


@pytest.mark.parametrize(
    ("refusal", "level"),
    [("seccomp", "namespace"), ("turned_off", "namespace"), ("seccomp", "bwrap")],
    indirect=["refusal"],
)
def test_unavailable_level_by_name_fails_with_reason_and_fix(
    tmp_path: Path, refusal: tuple[list[str], str, str], level: str
) -> None:
    words, reason, fix = refusal
    if level == "bwrap" and not shutil.which("bwrap"):
        pytest.skip("there is no bwrap here")
    said = start_and_fail(tmp_path, words, level)
    assert f"isolation '{level}' does not work here" in said
    assert reason in said
    assert fix in said


def test_bwrap_by_name_without_program_names_package(tmp_path: Path) -> None:
    assert "install bubblewrap" in start_and_fail(tmp_path, [], "bwrap", PATH="/nowhere")


def test_auto_degrades_with_one_warning_and_reports_reason(tmp_path: Path, refusal: tuple[list[str], str, str]) -> None:
    words, reason, fix = refusal
    served = Served(tmp_path, "auto", wrap=words)
    try:
        health = health_of(served)
        box = served.client.sandboxes.create().id
        assert served.run(box, "pwd") == "/workspace\n"
        logs = " ".join(entry.message for entry in served.client.sandboxes.logs(box))
    finally:
        printed = served.stop()
    assert health["isolation"] == "process"
    for place in (" ".join(health["isolation_refused"]), logs, printed):
        assert reason in place
        assert fix in place
    assert "isolation: process" in logs
    assert "(isolation: process)" in printed
    (warning,) = [line for line in printed.splitlines() if "warning" in line]
    assert reason in warning
    assert fix in warning


def test_doctor_reports_level_reason_and_fix(refusal: tuple[list[str], str, str]) -> None:
    words, reason, fix = refusal
    command = [*words, sys.executable, "-m", "caged.emulator", "doctor"]
    done = run_program(command)
    assert done.returncode == 0, done.stderr
    said = done.stdout
    assert "in use: process" in said
    assert reason in said
    assert fix in said


def test_namespace_by_name_uses_bwrap_where_only_bwrap_may_mount(tmp_path: Path) -> None:
    need_words(ONLY_BWRAP)
    need("bwrap")
    served = Served(tmp_path, "namespace", wrap=ONLY_BWRAP)
    try:
        health = health_of(served)
        with served.sandbox() as box:
            assert served.run(box, "touch /w''orkspace/here; cat /proc/sys/kernel/hostname") == f"{box}\n"
    finally:
        printed = served.stop()
    assert health["isolation"] == "bwrap"
    assert "may not mount" in health["isolation_refused"][0]
    assert "warning" not in printed


@pytest.mark.skipif(os.geteuid() != 0, reason="takes rights away from root, and this is an ordinary user")
def test_namespace_works_for_root_without_sys_admin(tmp_path: Path) -> None:
    """As in a container with default capabilities and no seccomp filter."""
    need("namespace-user")
    served = Served(tmp_path, "namespace", wrap=["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"])
    try:
        assert health_of(served)["isolation"] == "namespace"
        with served.sandbox() as box:
            assert served.run(box, "touch /w''orkspace/here; cat /proc/sys/kernel/hostname") == f"{box}\n"
            assert served.client.sandboxes.exec(box, "touch /etc/caged-was-here").ok
            assert not os.path.lexists("/etc/caged-was-here")
    finally:
        served.stop()


def test_full_isolation_gives_no_warning(tmp_path: Path) -> None:
    need("namespace")
    served = Served(tmp_path, "auto")
    try:
        with served.sandbox() as box:
            assert "isolation: namespace" in served.client.sandboxes.logs(box)[0].message
    finally:
        printed = served.stop()
    assert "(isolation: namespace)" in printed
    assert "warning" not in printed
