"""Control groups: a sandbox cannot mount them, in any namespace, and cannot write to those that it can see."""

from __future__ import annotations

import platform

import pytest
from isolation_testing import isolated, python
from levels import Served

WAYS = (
    *("", "unshare -Urm", "unshare -UrmC", "unshare -UrmCp --fork", "unshare -Urmn", "unshare -C"),
    "unshare -Ur unshare -mC",
)
KINDS = ("-t cgroup2 none", "-t cgroup -o memory none", "-t cgroup -o pids none", "-t cgroup -o none,name=systemd none")


def test_control_groups_cannot_be_mounted(isolated: Served) -> None:
    with isolated.sandbox() as box:
        tries = [f"{way} mount {kind} m 2>/dev/null && echo '{way} {kind}'" for way in WAYS for kind in KINDS]
        assert isolated.run(box, "; ".join(["mkdir m", *tries, "true"])) == ""


@pytest.mark.skipif(platform.machine() not in ("x86_64", "aarch64"), reason="the call's number is written for these")
def test_cgroup_namespace_cannot_be_created(isolated: Served) -> None:
    clone, unshare = {"x86_64": (56, 272), "aarch64": (220, 97)}[platform.machine()]
    with isolated.sandbox(template="python-312") as box:
        program = f"""
            import ctypes, json, os, struct
            libc = ctypes.CDLL(None, use_errno=True)
            newuser, newcgroup = 0x10000000, 0x02000000
            made = []
            for flags in (newcgroup, newcgroup | newuser, newcgroup | newuser | 0x00020000):
                for name, call in (
                    ("unshare", lambda: libc.syscall({unshare}, ctypes.c_ulong(flags))),
                    ("clone", lambda: libc.syscall({clone}, ctypes.c_ulong(flags | 17), 0, 0, 0, 0)),
                    ("clone3", lambda: libc.syscall(435, struct.pack("8Q", flags, 0, 0, 0, 17, 0, 0, 0), 64)),
                ):
                    result = call()
                    if result == 0 and name != "unshare":
                        os._exit(0)  # the child
                    if result >= 0:
                        made.append(name)
            print(json.dumps(made))
        """
        assert python(isolated, box, program) == []


def test_visible_control_groups_are_not_writable(isolated: Served) -> None:
    """Opens the files for writing and writes nothing."""
    with isolated.sandbox() as box:
        find = "find /sys/fs/cgroup -maxdepth 3 -name '*procs' 2>/dev/null"
        opened = f"for f in $({find}); do (: >> $f) 2>/dev/null && echo $f; done; true"
        assert isolated.run(box, opened) == ""


def test_other_namespaces_and_mounts_are_allowed(isolated: Served) -> None:
    with isolated.sandbox() as box:
        if not isolated.client.sandboxes.exec(box, "unshare -Ur true").ok:
            pytest.skip("this machine allows no nested user namespace")
        isolated.run(box, "unshare -Urm sh -c 'mount -t tmpfs none /tmp && touch /tmp/x'")
