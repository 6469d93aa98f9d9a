"""What init needs to mount a sandbox's layers again is covered by a mount: no path, no descriptor and no new namespace
leads to it, before and after a restore."""

from __future__ import annotations

from isolation_testing import isolated, python
from levels import Served

PROGRAM = """
    import ctypes, json, os

    libc = ctypes.CDLL(None, use_errno=True)
    MNT_DETACH, NEWNS, NEWUSER, NEWPID = 2, 0x20000, 0x10000000, 0x20000000
    found = []

    def look(what, path):
        try:
            names = set(os.listdir(path))
        except OSError:
            return
        if names & {"sandbox", "etc-0", "etc-1", "new-etc", "shown-0", "restore-new", "system"}:
            found.append([what, path])

    def uncover(what):
        for path in (b"/run", b"/opt/caged", b"/etc", b"/usr", b"/workspace"):
            for flags in (0, MNT_DETACH):
                if libc.umount2(path, flags) == 0:
                    found.append([what, "umount " + path.decode()])
        for path in ("/run", "/run/..", "/run/../run/.", "/proc/self/root/run", "/proc/1/root/run", "/proc/1/cwd"):
            look(what, path)
        for name in os.listdir("/proc"):
            if name.isdigit():
                look(what, f"/proc/{name}/root/run")
                try:
                    numbers = os.listdir(f"/proc/{name}/fd")
                except OSError:
                    continue
                for number in numbers:
                    look(what, f"/proc/{name}/fd/{number}")

    uncover("as a command")
    for flags in (NEWUSER | NEWNS, NEWUSER | NEWNS | NEWPID):
        pid = os.fork()
        if pid == 0:
            if libc.unshare(flags) == 0:
                uncover("in namespaces of its own")
                if found:
                    os._exit(1)
            os._exit(0)
        if os.waitpid(pid, 0)[1]:
            found.append(["in namespaces of its own", ""])
    print(json.dumps(found))
"""


def test_sources_of_layers_are_out_of_reach(isolated: Served) -> None:
    client = isolated.client
    with isolated.sandbox() as box:
        assert python(isolated, box, PROGRAM) == []
        mounts = isolated.run(box, "wc -l < /proc/self/mountinfo")
        isolated.run(box, "echo before > /etc/mine; (while :; do sleep 1; done) > /dev/null 2>&1 &")
        snapshot = client.snapshots.wait(client.snapshots.create(box).id)
        for _ in range(3):
            isolated.run(box, "echo after > /etc/mine")
            client.snapshots.restore(snapshot.id, box)
        # The mounts are as many as before, though a process goes on, and they have the same protection.
        assert isolated.run(box, "cat /etc/mine") == "before\n"
        assert isolated.run(box, "wc -l < /proc/self/mountinfo") == mounts
        assert python(isolated, box, PROGRAM) == []
        assert [entry.name for entry in client.files.list(box, "/run")] == isolated.run(box, "ls -A1 /run").split()
