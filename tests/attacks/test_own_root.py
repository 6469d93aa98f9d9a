"""Attacks on the root that a sandbox has of its own: what it writes stays inside, and what is hidden stays hidden."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from isolation_testing import isolated, python
from levels import SECRET, Served

from caged import CagedError

__all__ = ["isolated"]


def require_isolation(served: Served, box: str) -> None:
    """Fail before an attack deletes something, if a change reached the host."""
    name = f"caged-isolated-{os.getpid()}"
    served.run(box, f"touch /etc/{name}")
    served.client.sandboxes.exec(box, f"touch /usr/{name} /var/{name} /{name}")
    assert [place for place in ("", "/etc", "/usr", "/var") if os.path.lexists(f"{place}/{name}")] == []


def test_write_through_every_directory_stays_in_sandbox(isolated: Served) -> None:
    """Each directory that can be listed near the root, and each that the mount table names."""
    name = f"caged-was-here-{os.getpid()}"
    with isolated.sandbox() as box:
        tried = isolated.run(
            box,
            "{ find / -maxdepth 3 -type d 2>/dev/null; cut -d' ' -f5 /proc/self/mountinfo; find /proc/1 -maxdepth 2; }"
            f" | sort -u | while read -r place; do echo x > $place/{name}; done 2>/dev/null; ls -d /*/{name}",
        )
        assert len(tried.split()) > 5
        found = [
            path
            for top in (
                "/",
                "/etc",
                "/usr",
                "/usr/bin",
                "/usr/lib",
                "/usr/local/bin",
                "/var",
                "/var/lib",
                "/opt",
                "/srv",
            )
            for path in [Path(top, name)]
            if os.path.lexists(path)
        ]
        assert found == []
        with isolated.sandbox() as other:
            assert isolated.run(other, f"find / -maxdepth 3 -name {name} 2>/dev/null; true") == ""


SECRETS = """
    import json, os

    read = dict()
    for path in ("/etc/shadow", "/etc/gshadow"):
        with open(path) as file:
            read[path] = [line.split(":")[1] for line in file]
    read["seen"] = [
        path
        for path in (
            "/etc/ssh", "/etc/ssl/private", "/etc/sudoers.d", "/etc/apt/auth.conf", "/etc/shadow-", "/var/lib/docker",
            "/var/lib/containerd", "/var/lib/private", "/var/run/docker.sock", "/run/docker.sock", "/run/user",
            "/run/dbus", "/var/spool/cron", "/var/backups", "/lost+found", {run_dir!r}, {home!r},
        )
        if os.path.lexists(path)
    ]
    print(json.dumps(read))
"""


def test_secrets_of_host_are_hidden(isolated: Served) -> None:
    with isolated.sandbox(template="python-312") as box:
        program = SECRETS.format(run_dir=str(isolated.run_dir), home=str(isolated.home))
        read = python(isolated, box, program)
    assert set(read["/etc/shadow"]) == {"*"}
    assert set(read["/etc/gshadow"]) == {"*"}
    assert read["seen"] == []


#: Puts something of the sandbox's own in the place of what is hidden: overlays merge in some of these cases. Those of
#: a group have different places, and share a sandbox.
UNCOVER = (
    (
        "mkdir /etc/ssh; ls -A /etc/ssh",
        "rm -rf /etc/ssl; mkdir -p /etc/ssl/private; ls -A /etc/ssl/private",
        "rm -rf /var/lib/private /var/backups; mkdir -p /var/lib/private /var/backups;"
        " ls -A /var/lib/private /var/backups | grep -v ':$'",
    ),
    (
        "rm -rf /etc/ssh; mkdir /etc/mine; mv /etc/mine /etc/ssh; ls -A /etc/ssh",
        "rm -f /etc/shadow; cat /etc/shadow 2>/dev/null | grep -v ':[*]:'",
        "rm -rf /var/log; mkdir /var/log; ls -A /var/log",
    ),
    (
        "rm -rf /etc/ssh; mkdir /srv/ssh; mv /srv/ssh /etc/ssh; ls -A /etc/ssh",
        "mv /etc/ssl /etc/moved; ls -A /etc/moved/private /etc/ssl/private 2>/dev/null",
    ),
)


@pytest.mark.parametrize("attempts", UNCOVER, ids=["made anew", "replaced", "moved"])
def test_hidden_entry_is_not_uncovered_by_replacing_it(isolated: Served, attempts: tuple[str, ...]) -> None:
    """Also not when the layers are mounted again."""
    with isolated.sandbox() as box:
        require_isolation(isolated, box)
        for attempt in attempts:
            shown = isolated.client.sandboxes.exec(box, f"exec 2>/dev/null; {attempt}").output.strip()
            assert shown == "", attempt
        isolated.client.sandboxes.pause(box)
        isolated.client.sandboxes.resume(box)
        for attempt in attempts:
            again = isolated.client.sandboxes.exec(box, attempt.rpartition(";")[2])
            assert again.output.strip() == "", attempt


ATTRIBUTES = """
    import json, os

    allowed = []
    os.makedirs("/etc/mine", exist_ok=True)
    for path in ("/", "/etc", "/etc/mine", "/etc/apt", "/usr", "/var", "/var/lib"):
        for space in ("trusted", "user"):
            for name, value in (("opaque", b"y"), ("redirect", b"/ssh"), ("metacopy", b""), ("whiteout", b"y")):
                try:
                    os.setxattr(path, f"{space}.overlay.{name}", value)
                except OSError:
                    continue
                # In an overlay it may be kept under another name, where it means nothing.
                allowed.append([path, f"{space}.overlay.{name}"])
    os.makedirs("/var/lib/mine", exist_ok=True)
    print(json.dumps([entry for entry in allowed if entry[1].startswith("trusted")]))
"""


def test_attributes_of_overlays_cannot_be_forged(isolated: Served) -> None:
    with isolated.sandbox(template="python-312") as box:
        assert python(isolated, box, ATTRIBUTES) == []
        isolated.client.sandboxes.pause(box)
        isolated.client.sandboxes.resume(box)
        hidden = isolated.client.sandboxes.exec(box, "ls -A /etc/mine; ls -d /etc/ssh /var/lib/private 2>/dev/null")
        assert hidden.output == ""
        # What was below stays below.
        assert isolated.run(box, "test -e /etc/passwd && test -d /usr/bin && echo whole") == "whole\n"


def test_devices_cannot_be_made_anywhere(isolated: Served) -> None:
    """A character device 0:0 can: it is how an overlay marks a deleted file, and can neither be opened nor lead on."""
    with isolated.sandbox() as box:
        said = isolated.run(
            box,
            "for place in / /app /etc /usr/bin /var/lib /opt /srv /home /workspace /root /tmp; do mkdir -p $place;"
            " for node in 'b 8 0' 'c 1 1' 'c 1 3'; do mknod $place/node $node 2>/dev/null && echo $place $node; done;"
            " done; true",
        )
        assert said == ""
        for place in ("/workspace", "/srv", "/tmp"):
            isolated.client.sandboxes.exec(box, f"mknod {place}/white c 0 0")
            opened = isolated.client.sandboxes.exec(box, f"cat {place}/white")
            assert opened.exit_code != 0
        with pytest.raises(CagedError):
            isolated.client.files.read(box, "/workspace/white")


def test_setuid_file_of_sandbox_cannot_be_reached_by_users_of_host(isolated: Served) -> None:
    with isolated.sandbox() as box:
        isolated.run(box, "cp /bin/sh /usr/local/bin/caged-sh && chmod 4755 /usr/local/bin/caged-sh")
        directory = isolated.sandbox_dir(box)
        assert stat.S_IMODE(os.stat(directory).st_mode) == 0o700
        gained = isolated.client.sandboxes.exec(box, "useradd caged-u; su caged-u -c 'caged-sh -p -c \"id -u\"'")
        assert "0" not in gained.output.split()


def test_links_do_not_change_files_of_host(isolated: Served) -> None:
    before = {path: os.stat(path) for path in ("/etc/passwd", "/usr/bin/env")}
    with isolated.sandbox() as box:
        require_isolation(isolated, box)
        isolated.client.sandboxes.exec(
            box,
            "ln /etc/passwd /etc/linked; echo x >> /etc/linked; ln /usr/bin/env /usr/bin/linked;"
            " echo x >> /usr/bin/linked; ln -s /usr/bin/env /srv/link; echo x >> /srv/link; mv /usr/bin/env /etc/;"
            " chmod 777 /etc/env; rm /etc/passwd",
        )
    for path, status in before.items():
        now = os.stat(path)
        assert (now.st_ctime_ns, now.st_size, now.st_nlink) == (status.st_ctime_ns, status.st_size, status.st_nlink)


def test_link_in_place_of_mount_point_is_not_followed_when_sandbox_starts_again(isolated: Served) -> None:
    """The emulator mounts and writes as its own user: a link in the sandbox must not lead it to the host's files."""
    target = isolated.home / "target"
    target.mkdir()
    target.chmod(0o777)
    with isolated.sandbox() as box:
        require_isolation(isolated, box)
        places = "/workspace /root /tmp /srv /home /opt /var /proc /dev /run /sys /etc"
        replace = f"rmdir $place; mv $place /gone; ln -s {target} $place"
        isolated.client.sandboxes.exec(
            box, f"for place in {places}; do {replace}; done; rm -f /etc/hosts; ln -s {target}/hosts /etc/hosts"
        )
        isolated.client.sandboxes.pause(box)
        try:
            isolated.client.sandboxes.resume(box)
        except CagedError:
            pass
        assert os.listdir(target) == []


def test_files_of_other_sandbox_and_emulator_are_not_found_below_root(isolated: Served) -> None:
    with isolated.sandbox() as other, isolated.sandbox() as box:
        isolated.client.files.write(other, "file", SECRET)
        isolated.client.sandboxes.exec(other, f"mkdir /app; echo {SECRET} > /app/file; echo {SECRET} > /etc/caged-file")
        # What holds the secret was written by this run; of the machine's other files there are thousands.
        found = isolated.client.sandboxes.exec(
            box,
            "find /app /etc /srv /opt /home /mnt /var /run /workspace /root /tmp -type f -mtime -1"
            f" -exec grep -ls {SECRET} {{}} + 2>/dev/null",
        )
        assert found.output == ""
