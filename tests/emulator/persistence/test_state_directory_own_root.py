"""What a sandbox changes anywhere in its file system is kept: while it is paused, and by a state directory."""

from __future__ import annotations

from emulator_testing import require_own_root
from internals import call_on_loop, platform_of
from state_testing import of, started

CHANGES = """
mkdir -p /app/d /var/lib/mine; echo app > /app/d/f; ln -s d /app/link; chmod 700 /app/d
echo etc > /etc/mine; echo line >> /etc/hosts; rm /etc/issue; rm -r /etc/skel; mkdir /etc/skel; touch /etc/skel/new
echo '#!/bin/sh' > /usr/local/bin/tool; chmod 755 /usr/local/bin/tool; echo var > /var/lib/mine/f
chown 7:8 /app/d/f 2> /dev/null
rmdir /srv; mkdir /home/me
"""
FACTS = """
cd /; stat -c '%n %F %a %u %g' app app/d app/d/f app/link etc/mine etc/skel usr/local/bin/tool var/lib/mine/f home/me
cat app/d/f etc/mine var/lib/mine/f; tail -1 etc/hosts; ls -A etc/skel; ls -d etc/issue srv 2>&1
tool && echo run
"""


def test_changes_survive_pause_and_restart(tmp_path):
    with started(tmp_path / "state") as emulator, of(emulator, emulator.api_key) as api:
        require_own_root(api)
        box = api.sandbox()
        api.output(box, CHANGES)
        before = api.output(box, FACTS)
        assert "app/link symbolic link" in before
        assert "cannot access 'etc/issue'" in before
        assert api.post(f"/sandboxes/{box}/pause").status_code == 204
        assert api.post(f"/sandboxes/{box}/resume").status_code == 204
        assert api.output(box, FACTS) == before
        key = emulator.api_key
        # As a write of the file API that the end of the emulator has interrupted.
        api.output(box, "touch /etc/.0123456789abcdef.caged-write /app/d/.0123456789abcdef.caged-write")
    with started(tmp_path / "state") as emulator, of(emulator, key) as api:
        assert api.post(f"/sandboxes/{box}/resume").status_code == 204
        assert api.output(box, FACTS) == before
        assert api.output(box, "ls -A /app/d") == "f\n"
        assert api.run(box, "ls -A /etc | grep caged-write")["exit_code"] == 1
        assert api.read(box, "/app/d/f").text == "app\n"
        assert not list((tmp_path / "state").glob("lost+found/*"))
        assert api.delete(f"/sandboxes/{box}").status_code == 204
    assert not list((tmp_path / "state" / "sandboxes").glob("*"))


def test_disk_usage_counts_the_whole_file_system(tmp_path):
    with started(None) as emulator, of(emulator, emulator.api_key) as api:
        require_own_root(api)
        box = api.sandbox()
        platform = platform_of(emulator)
        cage = platform.live.of(platform.store.sandboxes[box]).cage
        before = call_on_loop(emulator, cage.disk_usage())
        for path in ("/usr/local/big", "/app", "/tmp/big"):
            api.output(box, f"head -c 3000000 /dev/urandom > {path}")
        grown = call_on_loop(emulator, cage.disk_usage()) - before
        assert grown >= 9_000_000
        assert grown < 20_000_000
