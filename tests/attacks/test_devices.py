"""Inodes of the host that are visible in a sandbox: its root cannot change them, and devices still work."""

from __future__ import annotations

import os

from isolation_testing import isolated, python
from levels import Served

# Each attempt writes back the current value, so that a success changes nothing.
CHANGES = """
    import errno, json, os, stat

    def inodes():
        yield "/sys"
        for top in ("/dev", "/proc", "/sys"):
            for name in os.listdir(top):
                path = f"{top}/{name}"
                if name.isdigit() or os.path.islink(path) or path in ("/dev/pts", "/dev/shm", "/dev/console"):
                    continue
                yield path
        yield "/proc/sys/kernel/core_pattern"
        # What a command was given: a descriptor may lead through a mount that has no path here. Pipes are its own.
        for name in os.listdir("/proc/self/fd"):
            path = f"/proc/self/fd/{name}"
            if os.path.exists(path) and stat.S_ISCHR(os.stat(path).st_mode):
                yield path

    def link(path):
        os.link(path, "/dev/shm/linked" if path.startswith("/dev") else path + ".linked")

    def rename_over(path):
        if not path.startswith("/dev/"):
            raise OSError(errno.EROFS, "")
        with open("/dev/shm/new", "w"):
            pass
        os.rename("/dev/shm/new", path)

    def changes(path):
        status = os.stat(path)
        yield "chmod", lambda: os.chmod(path, stat.S_IMODE(status.st_mode))
        yield "fchmod", lambda: os.chmod(f"/proc/self/fd/{os.open(path, os.O_PATH)}", stat.S_IMODE(status.st_mode))
        yield "chown", lambda: os.chown(path, status.st_uid, status.st_gid)
        yield "utimensat", lambda: os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        yield "removexattr", lambda: os.removexattr(path, "user.caged_test")
        yield "link", lambda: link(path)
        yield "rename over", lambda: rename_over(path)

    allowed = []
    for path in inodes():
        for name, change in changes(path):
            try:
                change()
                allowed.append([name, path])
            except OSError as error:
                if error.errno == errno.ENODATA:
                    allowed.append([name, path])
    for kind in (stat.S_IFCHR, stat.S_IFBLK):
        try:
            os.mknod("/workspace/node", kind | 0o600, os.makedev(1, 3))
            allowed.append(["mknod", oct(kind)])
        except OSError:
            pass
    print(json.dumps(allowed))
"""


def test_inodes_of_host_cannot_be_changed(isolated: Served) -> None:
    with isolated.sandbox(template="python-312") as box:
        assert python(isolated, box, CHANGES) == []


FILES = ("/etc", "/etc/passwd", "/etc/hosts", "/usr", "/usr/bin", "/usr/bin/env", "/var")
CHANGED = f"""
    import os, stat

    for path in {FILES!r}:
        status = os.stat(path)
        for change in (
            lambda: os.chmod(path, stat.S_IMODE(status.st_mode)),
            lambda: os.chown(path, status.st_uid, status.st_gid),
            lambda: os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns)),
            lambda: os.setxattr(path, "user.caged_test", b"x"),
            lambda: os.link(path, path + ".linked"),
            lambda: os.truncate(path, status.st_size),
            lambda: os.rename(path, path + ".moved") or os.rename(path + ".moved", path),
        ):
            try:
                change()
            except OSError:
                pass
    print(0)
"""


def test_changes_of_files_never_reach_inodes_of_host(isolated: Served) -> None:
    """The time of the last change of an inode cannot be set: it shows every change, also one that has no effect."""
    before = {path: os.stat(path).st_ctime_ns for path in FILES if os.path.exists(path)}
    with isolated.sandbox(template="python-312") as box:
        python(isolated, box, CHANGED)
    assert {path: os.stat(path).st_ctime_ns for path in before} == before


def test_devices_can_be_read_and_written(isolated: Served) -> None:
    with isolated.sandbox() as box:
        isolated.run(box, 'echo x > /dev/null && echo x >> /dev/null && test -z "$(cat /dev/null)"')
        assert isolated.run(box, "head -c 3 /dev/zero | od -An -tx1") == " 00 00 00\n"
        for name in ("random", "urandom"):
            assert isolated.run(box, f"head -c 8 /dev/{name} | wc -c").strip() == "8"
        full = isolated.client.sandboxes.exec(box, "bash -c 'echo x > /dev/full'")
        assert "No space left" in full.output


def test_command_can_write_its_own_proc_files(isolated: Served) -> None:
    with isolated.sandbox() as box:
        isolated.run(box, "echo 1 > /proc/self/oom_score_adj && echo name > /proc/self/comm")
