"""What a command can and cannot see and change at the levels with real isolation."""

from __future__ import annotations

import json
import os
import shutil
import textwrap
from collections.abc import Iterator
from pathlib import Path

import fork_server
import pytest
from leftovers import mounts
from levels import SECRET, SECRETS, Served, need

from caged.emulator import Emulator

SCRIPT = """
import os, socket, json
open("/workspace/out/made.txt", "w").write("by a script")
print(json.dumps([os.getcwd(), os.path.expanduser("~"), socket.gethostname(), os.listdir("/workspace/out")]))
"""


def test_script_with_hard_coded_workspace_path_works(isolated: Served, shared_box: str) -> None:
    isolated.client.files.write(shared_box, "/workspace/tool/script.py", SCRIPT)
    said = json.loads(isolated.run(shared_box, "mkdir out; python3 tool/script.py"))
    assert said == ["/workspace", "/root", shared_box, ["made.txt"]]
    assert isolated.client.files.read(shared_box, "/workspace/out/made.txt") == "by a script"
    assert not os.path.lexists("/workspace"), "on the host"


def test_process_table_contains_only_own_processes(isolated: Served, box: str) -> None:
    become = "sleep 60 >/dev/null 2>&1 & until grep -q sleep /proc/$!/comm; do :; done"
    listed = isolated.run(box, f"{become}; cat /proc/[0-9]*/comm; true").split()
    assert sorted(listed) == ["bash", "init", "sleep"]
    assert len(listed) == 3, "those and init"
    if shutil.which("ps"):
        assert len(isolated.run(box, "ps -e --no-headers; true").splitlines()) == 4


def test_changes_outside_of_home_reach_neither_host_nor_another_sandbox(isolated: Served, box: str) -> None:
    places = ("/etc", "/usr", "/usr/bin", "/usr/local/bin", "/var", "/", "/opt", "/opt/caged", "/sys", "/srv", "/mnt")
    before = {place: os.lstat(place) for place in places if os.path.isdir(place)}
    with isolated.sandbox() as other:
        for place in places:
            isolated.client.sandboxes.exec(
                box, f"mkdir -p {place}; touch {place}/caged-was-here; chmod 700 {place}; rm -rf {place}/*bash*"
            )
            assert not os.path.lexists(f"{place}/caged-was-here"), place
            assert isolated.run(other, f"test ! -e {place}/caged-was-here && bash -c 'echo still there'"), place
    for place, status in before.items():
        now = os.lstat(place)
        assert (now.st_mode, now.st_uid, now.st_nlink) == (status.st_mode, status.st_uid, status.st_nlink), place
    assert shutil.which("bash")
    with isolated.sandbox() as later:
        isolated.run(later, "test ! -e /etc/caged-was-here && bash --version >/dev/null && ls / /usr/bin >/dev/null")


def test_files_in_writable_directories_are_private_to_sandbox(isolated: Served, shared_box: str) -> None:
    places = ["/workspace", "/root", "/tmp", "/dev/shm", "/run"]
    if os.path.isdir("/var/tmp"):
        places.append("/var/tmp")
    isolated.run(shared_box, "set -e; " + "; ".join(f"echo mine > {place}/caged-mark-{shared_box}" for place in places))
    on_the_host = [place for place in places if os.path.lexists(f"{place}/caged-mark-{shared_box}")]
    assert on_the_host == []
    with isolated.sandbox() as other:
        listed = isolated.run(other, "set -e; " + "; ".join(f"ls -a {place}" for place in places))
        assert listed
        assert "caged-mark" not in listed


def test_secrets_in_home_of_developer_cannot_be_read(isolated: Served, shared_box: str) -> None:
    homes = (isolated.home, "/root", f"/proc/1/root{isolated.home}")
    for name in SECRETS:
        assert (isolated.home / name).read_text() == SECRET
    paths = [f"{home}/{name}" for name in SECRETS for home in homes]
    tried = isolated.client.sandboxes.exec(shared_box, "".join(f"cat {path}; " for path in paths) + "echo tried all")
    assert tried.output.endswith("tried all\n")
    assert SECRET not in tried.output


def test_home_directories_of_host_are_hidden(isolated: Served, shared_box: str) -> None:
    assert isolated.run(shared_box, "ls -A /home").strip() == ""
    seen = set(isolated.run(shared_box, "ls -A /root").split())
    assert not seen & {".ssh", ".aws", ".bash_history", ".bashrc", ".gitconfig"}


def test_search_of_whole_file_system_finds_no_secret(isolated: Served, shared_box: str) -> None:
    """The secret is in the host's /tmp, in homes, and in another sandbox."""
    with isolated.sandbox() as other:
        isolated.client.files.write(other, "file", SECRET)
        # In all mounts except those of the kernel and of the distribution.
        found = isolated.client.sandboxes.exec(
            shared_box,
            "find / \\( -path /proc -o -path /sys -o -path /usr -o -path '*/site-packages' -o -path '*/lib/python*' "
            "-o -name node_modules \\) -prune -o -type f -size -2k "
            f"\\( -path '*{isolated.tmp.name}*' -o -path '*{isolated.home.name}*' -o -path '*caged-run*' "
            "-o -path '/tmp/*' -o -path '/root/*' -o -path '/mnt/*' \\) -print0 2>/dev/null "
            f"| xargs -0r grep -l -e {SECRET} 2>/dev/null",
        )
    assert found.output == ""


def test_tmp_of_host_and_state_of_emulator_are_hidden(isolated: Served, shared_box: str) -> None:
    with isolated.sandbox() as other:
        isolated.client.files.write(other, "file", "x")
        state = [isolated.run_dir / name for name in ("", "lock", "sandboxes")]
        of_other = isolated.sandbox_dir(other)
        hidden = [isolated.tmp / "host-file", *state, of_other, of_other / "workspace" / "file"]
        assert [path for path in hidden if not path.exists()] == []
        tests = "".join(f"test -e {path} && echo {path}; " for path in hidden)
        assert isolated.run(shared_box, f"{tests}echo no more") == "no more\n"


def test_state_directory_outside_tmp_is_hidden() -> None:
    state = Path("/var/lib") if os.access("/var/lib", os.W_OK) else Path("/var/tmp")
    place = state / f"caged-test-{os.getpid()}"
    need("namespace")
    place.mkdir()
    try:
        with Emulator(isolation="namespace", state_dir=place) as emulator, emulator.client() as client:
            box = client.sandboxes.create().id
            assert list(place.glob("sandboxes/*"))
            assert client.sandboxes.exec(box, f"ls -A {place}/*/ 2>/dev/null").output == ""
            client.sandboxes.destroy(box)
        assert list(place.glob("sandboxes/*")) == list(place.glob("caged-*")) == []
    finally:
        shutil.rmtree(place)


# --- breakouts: each runs as the most privileged user of the sandbox, with the Python standard library

BREAKOUTS = {
    "remount_root_writable": "mount -o remount,rw / && touch /caged-was-here",
    "remount_etc_writable": "mount -o remount,rw,bind /etc && touch /etc/caged-was-here",
    "remount_usr_through_ctypes": "python3 call.py mount - /usr - 4128 && touch /usr/caged-was-here",
    "unmount_a_hidden_home": "umount -l /home || umount {home} || umount /tmp || umount /root",
    "unmount_all": "umount -a -l",
    "mount_a_proc_of_the_host": "mkdir -p p && mount -t proc proc p && ls p/{pid}",
    "mount_the_hosts_disk": "mkdir -p d && mount $(grep -m1 ' / ' /proc/self/mounts | cut -d' ' -f1) d",
    "join_the_mounts_of_process_1_of_the_host": "nsenter --target {pid} --mount true",
    "setns_of_init": "nsenter --target 1 --mount --pid umount /home",
    "chroot_out": "python3 chroot.py && ls {run_dir}",
    "mknod_of_a_disk": "mknod sda b 8 0 && head -c1 sda",
    "mknod_of_kernel_memory": "mknod mem c 1 1 && head -c1 mem",
    "ptrace_of_init": "python3 call.py ptrace 16 1 0 0",
    "memory_of_init": "dd if=/proc/1/mem bs=1 count=1 skip=4194304 of=/dev/null || exec 3<>/proc/1/mem",
    "files_of_init": "ls -l /proc/1/fd/ && cat /proc/1/fd/3",
    "open_by_handle_at": "python3 handle.py",
    "kill_the_emulator": "kill -0 {pid}",
    # Writes back the current value, so that a success changes nothing.
    "kernel_settings": "v=$(cat /proc/sys/vm/swappiness); echo $v > /proc/sys/vm/swappiness",
    "core_pattern": "v=$(cat /proc/sys/kernel/core_pattern); echo $v > /proc/sys/kernel/core_pattern",
    "sysrq": "echo h > /proc/sysrq-trigger",
    "load_a_module": "python3 call.py syscall 175 0 0 -",
    "change_the_clock": "date -s @$(date +%s)",
    "hostname": "hostname caged-was-here && hostname | grep here || echo caged-was-here > /proc/sys/kernel/hostname",
    "own_user_namespace_then_remount": "unshare -Ur sh -c 'mount -o remount,rw,bind /etc && touch /etc/caged-was-here'",
    "own_user_namespace_then_unmount": "unshare -Urm sh -c 'umount -l {home}; umount -l /tmp; cat {tmp}/host-file'",
    "own_user_namespace_then_proc": "unshare -Urpf --mount-proc sh -c 'ls /proc/{pid}'",
    "own_mount_namespace": "unshare -m umount -l /home",
    "setuid_program": "cp /bin/sh sh && chmod u+s sh && ./sh -p -c 'mount -t tmpfs x /mnt'",
}

CALL = """
    import ctypes, os, sys
    words = [None if w == "-" else int(w) if w.isdigit() else w.encode() for w in sys.argv[2:]]
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, sys.argv[1])(*words) < 0:
        sys.exit(os.strerror(ctypes.get_errno()))
"""
CHROOT = """
    import os
    os.makedirs("jail", exist_ok=True)
    above = os.open("/", os.O_RDONLY)
    os.chroot("jail")
    os.fchdir(above)
    for _ in range(64):
        os.chdir("..")
    os.chroot(".")
    os.execvp("ls", ["ls", "{run_dir}"])
"""
# A handle for inode 2 of the file system of /workspace: on most file systems the root.
HANDLE = """
    import ctypes, os, struct, sys
    libc = ctypes.CDLL(None, use_errno=True)
    handle = ctypes.create_string_buffer(struct.pack("Ii", 8, 1) + struct.pack("II", 2, 0) + bytes(120))
    for place in ("/workspace", "/etc", "/usr"):
        fd = libc.open_by_handle_at(os.open(place, os.O_RDONLY), handle, os.O_RDONLY)
        if fd >= 0:
            sys.exit(0)
    sys.exit(os.strerror(ctypes.get_errno()))
"""


#: Prints what a breakout could change of the sandbox.
STATE = "cat /proc/sys/kernel/hostname /proc/self/mountinfo; stat -c '%n %a %u %F' /* /etc/* /dev/* | sort"


# One sandbox per level is enough, because no breakout may change it.
def test_breakouts_fail_and_change_nothing(isolated: Served, box: str) -> None:
    places = {"home": isolated.home, "tmp": isolated.tmp, "run_dir": isolated.run_dir, "pid": isolated.process.pid}
    for file, text in (("call.py", CALL), ("chroot.py", CHROOT.format(**places)), ("handle.py", HANDLE)):
        isolated.client.files.write(box, file, textwrap.dedent(text))
    before = isolated.run(box, STATE)
    assert before.startswith(f"{box}\n")
    broken: dict[str, str] = {}
    for name, breakout in BREAKOUTS.items():
        result = isolated.client.sandboxes.exec(box, f"exec 2>&1; {breakout.format(**places)}")
        if result.exit_code == 0 or SECRET in result.output:
            broken[name] = result.output
        if [top for top in ("", "/etc", "/usr") if os.path.lexists(f"{top}/caged-was-here")] or mounts():
            broken[name] = "reached the host"
    assert broken == {}
    assert isolated.run(box, STATE) == before


def test_kill_all_signals_only_own_processes(isolated: Served, box: str) -> None:
    with isolated.sandbox() as other:
        isolated.run(other, "sleep 60 >/dev/null 2>&1 &")
        isolated.client.sandboxes.exec(box, "kill -9 -1; kill -9 1; kill -STOP 1")
        assert isolated.run(box, "echo alive") == "alive\n"
        assert "sleep" in isolated.run(other, "cat /proc/[0-9]*/comm")


def test_command_inherits_no_descriptors_of_emulator(isolated: Served, shared_box: str) -> None:
    assert isolated.run(shared_box, "exec ls /proc/self/fd").split() == [
        "0",
        "1",
        "2",
        "3",
    ]  # 3 is the directory that ls reads


def test_environment_of_host_is_not_readable(isolated: Served, shared_box: str) -> None:
    seen = isolated.client.sandboxes.exec(shared_box, "env; cat /proc/*/environ | tr '\\0' '\\n'").output
    assert str(isolated.home) not in seen
    assert isolated.api_key not in seen
    assert fork_server.address() not in seen  # part of the initial environment of the emulator's process


@pytest.fixture(autouse=True)
def nothing_on_the_host() -> Iterator[None]:
    yield
    assert not os.path.lexists("/workspace")


def test_signals_to_process_1_are_ignored(isolated: Served, box: str) -> None:
    assert isolated.run(box, "kill -TERM 1; kill -INT 1; kill -KILL 1; pkill python; echo alive").endswith("alive\n")
    assert isolated.run(box, "echo still alive") == "still alive\n"


def test_tmp_is_writable_by_any_user(isolated: Served, shared_box: str) -> None:
    assert isolated.run(shared_box, "stat -c %a /tmp").strip() == "1777"
