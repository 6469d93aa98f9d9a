"""The reason and the remedy that a failed probe of an isolation level reports."""

from __future__ import annotations

import sys

import pytest

from caged.emulator.cage import probe_failures
from caged.emulator.cage.probe_failures import explain, fails_with_any_root
from caged.emulator.cage.probe_result import ProbeResult

CLONE = "clone into new namespaces: Operation not permitted"
MOUNT = "mount(b'', b'/'): Permission denied"
PROC = "mount(b'proc', b'/tmp/x/proc'): Operation not permitted"
FULL = "clone into new namespaces: No space left on device"
APPARMOR = "kernel/apparmor_restrict_unprivileged_userns"

CASES = [
    (CLONE, {APPARMOR: "1"}, False, "AppArmor refuses user namespaces", "install bubblewrap, or: sudo sysctl"),
    ("bwrap: setting up uid map: Permission denied", {APPARMOR: "1"}, True, "AppArmor refuses", "install bubblewrap"),
    (MOUNT, {APPARMOR: "1"}, True, "AppArmor refuses", "install bubblewrap"),
    (CLONE, {"kernel/unprivileged_userns_clone": "0"}, False, "off for ordinary users", "unprivileged_userns_clone=1"),
    (CLONE, {"user/max_user_namespaces": "0"}, False, "user namespaces are off", "max_user_namespaces=15000"),
    (FULL, {}, True, "the limit of namespaces is reached", "end some sandboxes"),
    (MOUNT, {}, True, "this container may not mount anything", "apparmor=unconfined"),
    (CLONE, {}, True, "this container may not create namespaces", "seccomp=unconfined"),
    (
        "writing /proc/self/uid_map: Operation not permitted",
        {},
        True,
        "may not create namespaces",
        "seccomp=unconfined",
    ),
    (PROC, {}, True, "parts of this one are masked", "systempaths=unconfined"),
    (PROC, {}, False, "parts of this one are masked", "unmask /proc"),
]


@pytest.mark.skipif(sys.platform != "linux", reason="namespaces are Linux's")
@pytest.mark.parametrize(("error", "sysctls", "in_container", "reason", "fix"), CASES)
def test_known_failure_has_reason_error_and_fix(
    monkeypatch: pytest.MonkeyPatch, error: str, sysctls: dict[str, str], in_container: bool, reason: str, fix: str
) -> None:
    monkeypatch.setattr(probe_failures, "_sysctl", sysctls.get)
    monkeypatch.setattr(probe_failures, "_in_container", lambda: in_container)
    result = explain("namespace", error)
    assert (result.level, result.works) == ("namespace", False)
    assert reason in result.reason
    assert result.reason.endswith(f"({error})")
    assert fix in result.fix


@pytest.mark.skipif(sys.platform != "linux", reason="namespaces are Linux's")
@pytest.mark.parametrize("error", ["the zygote did not answer", CLONE, MOUNT])
def test_unknown_failure_is_reported_verbatim(monkeypatch: pytest.MonkeyPatch, error: str) -> None:
    monkeypatch.setattr(probe_failures, "_sysctl", lambda name: None)
    monkeypatch.setattr(probe_failures, "_in_container", lambda: False)
    result = explain("namespace", error)
    assert (result.works, result.reason, result.fix) == (False, error, "")


def test_missing_bwrap_advises_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert explain("bwrap", "any").fix == "install bubblewrap"


@pytest.mark.skipif(sys.platform != "linux", reason="namespaces are Linux's")
@pytest.mark.parametrize(
    ("level", "error", "expected"),
    [
        ("namespace", CLONE, True),
        ("namespace", FULL, True),
        ("bwrap", "bwrap: No permissions to create new namespace", True),
        ("bwrap", "bwrap: Creating new namespace failed: Operation not permitted", True),
        ("namespace", MOUNT, True),
        ("bwrap", MOUNT, False),
        ("namespace", PROC, False),
        ("namespace", "mount(b'overlay', b'/tmp/x/usr'): Invalid argument", False),
        ("namespace", "the zygote did not answer", False),
    ],
)
def test_another_root_is_tried_unless_no_form_of_it_can_work(level: str, error: str, expected: bool) -> None:
    assert fails_with_any_root(ProbeResult(level, False, error)) is expected
