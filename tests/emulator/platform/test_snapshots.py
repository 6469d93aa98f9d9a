"""Copies of a sandbox's files: what they keep, when they are taken, restored, downloaded, and refused."""

import gzip
import hashlib
import io
import json
import os
import re
import shutil
import tarfile
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from emulator_testing import assert_problem, eventually, require_own_root
from internals import platform_of
from sockets import Term

from caged.emulator.cage.init_client import InitClient

# --- the record


def test_a_new_snapshot_is_pending_and_completes_by_itself(api, box):
    response = api.post(f"/sandboxes/{box}/snapshots", json={"name": "n", "description": "d"})
    made = response.json()
    assert response.status_code == 201
    assert re.fullmatch(r"snap_[a-z0-9]{8}", made["id"])
    assert (made["status"], made["size_bytes"], "completed_at" in made) == ("pending", 0, False)
    assert (made["sandbox_id"], made["name"], made["description"], made["trigger"]) == (box, "n", "d", "manual")
    done = api.settled(made["id"])
    assert done["status"] == "completed"
    assert done["completed_at"] >= done["created_at"]
    assert done["size_bytes"] > 0


@pytest.mark.parametrize("body", [b"", b"{}", b'{"name": null, "description": null}', b'{"name": ""}'])
def test_a_snapshot_needs_no_name(api, box, body):
    made = api.post(f"/sandboxes/{box}/snapshots", content=body)
    assert made.status_code == 201
    assert made.json()["name"]


@pytest.mark.parametrize("body", [{"name": 1}, {"description": []}, {"name": True}])
def test_a_wrong_type_is_a_400(api, box, body):
    assert_problem(api.post(f"/sandboxes/{box}/snapshots", json=body), 400, next(iter(body)))
    assert api.get(f"/sandboxes/{box}/snapshots").json() == []


def test_the_list_is_in_the_order_of_creation_and_only_the_sandboxs(api, box):
    api.snapshot(api.sandbox())
    made = [api.snapshot(box, name=f"n{number}") for number in range(3)]
    assert [found["id"] for found in api.get(f"/sandboxes/{box}/snapshots").json()] == made


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("DELETE", ""), ("GET", "/download"), ("POST", "/restore")])
def test_an_unknown_snapshot_is_a_404(api, method, path):
    body = {"target_sandbox_id": "cage_x"} if path == "/restore" else None
    assert_problem(api.request(method, f"/snapshots/snap_unknown0{path}", json=body), 404, "snapshot not found")


def test_an_unknown_sandbox_has_no_snapshots(api):
    assert_problem(api.get("/sandboxes/cage_unknown0/snapshots"), 404, "sandbox not found")
    assert_problem(api.post("/sandboxes/cage_unknown0/snapshots"), 404, "sandbox not found")


def test_a_deleted_snapshot_is_gone_with_its_file(api, box):
    snapshot = api.snapshot(box)
    response = api.delete(f"/snapshots/{snapshot}")
    assert (response.status_code, response.content) == (204, b"")
    assert_problem(api.get(f"/snapshots/{snapshot}"), 404)
    assert_problem(api.delete(f"/snapshots/{snapshot}"), 404)
    assert api.get(f"/sandboxes/{box}/snapshots").json() == []
    assert not list((api.emulator.run_dir / "snapshots").glob(f"{snapshot}*"))


def test_a_snapshot_deleted_while_it_is_taken_leaves_no_file(api, box):
    api.output(box, "head -c 10000000 /dev/urandom > big")
    for _ in range(5):
        made = api.post(f"/sandboxes/{box}/snapshots").json()["id"]
        assert api.delete(f"/snapshots/{made}").status_code == 204
    api.snapshot(box)  # they are taken one after the other
    names = [path.name for path in (api.emulator.run_dir / "snapshots").iterdir()]
    assert [name for name in names if made in name] == []


def test_snapshots_outlive_their_sandbox(api, box):
    api.write(box, "f", "kept")
    snapshot = api.snapshot(box)
    pending = api.post(f"/sandboxes/{box}/snapshots").json()["id"]
    api.delete(f"/sandboxes/{box}")
    assert api.settled(pending)["status"] in ("completed", "failed")
    target = api.sandbox()
    assert api.restore(snapshot, target).status_code == 200
    assert api.read(target, "f").text == "kept"


def test_the_21st_manual_one_is_a_plan_limit(api, box):
    made = [api.snapshot(box) for _ in range(20)]
    response = api.post(f"/sandboxes/{box}/snapshots")
    assert_problem(response, 403, "20", "plan_limit_reached")
    assert response.json()["reason"]["action"] == "upgrade_plan"
    assert len(api.get(f"/sandboxes/{box}/snapshots").json()) == 20
    assert api.post(f"/sandboxes/{api.sandbox()}/snapshots").status_code == 201
    api.post(f"/sandboxes/{box}/pause")  # the automatic one does not count
    assert len(api.get(f"/sandboxes/{box}/snapshots").json()) == 21
    api.delete(f"/snapshots/{made[0]}")
    assert api.post(f"/sandboxes/{box}/snapshots").status_code == 201


def test_twenty_one_at_once_make_twenty(api, box):
    with ThreadPoolExecutor(21) as pool:
        statuses = list(pool.map(lambda _: api.post(f"/sandboxes/{box}/snapshots").status_code, range(21)))
    assert sorted(statuses) == [201] * 20 + [403]


# --- automatic ones


def automatic(api, box):
    found = api.get(f"/sandboxes/{box}/snapshots").json()
    return [snapshot for snapshot in found if snapshot["trigger"] == "auto"]


def test_pausing_takes_an_automatic_snapshot(api, box):
    api.write(box, "f", "asleep")
    api.post(f"/sandboxes/{box}/pause")
    (snapshot,) = automatic(api, box)
    assert snapshot["name"] == "auto-pause"
    assert api.settled(snapshot["id"])["status"] == "completed"
    target = api.sandbox()
    api.restore(snapshot["id"], target)
    assert api.read(target, "f").text == "asleep"


def test_only_the_newest_automatic_one_is_kept(api, box):
    manual = api.snapshot(box, name="auto-pause")
    seen = []
    for _ in range(3):
        api.post(f"/sandboxes/{box}/pause")
        newest = automatic(api, box)[-1]["id"]
        api.settled(newest)
        assert [found["id"] for found in automatic(api, box)] == [newest]
        seen.append(newest)
        api.post(f"/sandboxes/{box}/resume")
    assert len(set(seen)) == 3
    assert api.get(f"/snapshots/{manual}").status_code == 200


def test_a_paused_sandbox_can_be_snapshotted(api, box):
    api.write(box, "f", "x")
    api.post(f"/sandboxes/{box}/pause")
    assert api.get(f"/snapshots/{api.snapshot(box)}").json()["trigger"] == "manual"
    assert api.status(box) == "paused"


# --- what is kept

#: Run in the workspace; prints every fact about it that a copy has to keep.
FACTS = r"""
find . -print0 | sort -z | while IFS= read -r -d '' name; do
  stat --printf '%n|%F|%a|%Y.%y|%h|' "$name"
  if [ -L "$name" ]; then readlink "$name"; elif [ -f "$name" ]; then sha1sum < "$name"; else echo; fi
done
"""
CONTENT = r"""
mkdir -p dir/empty 'odd names/a b' shut
echo content > file; printf 'a\0b\xff' > bytes; : > nothing; head -c 3000000 /dev/urandom > large
chmod 4755 file; chmod 600 bytes; chmod 000 nothing; chmod 700 dir; chmod 1777 dir/empty; chmod 555 shut
ln file hard; ln bytes dir/hard2
ln -s file link; ln -s nowhere dangling; ln -s /workspace/file absolute; ln -s .. dir/up; ln -s /etc/hosts host
ln -s "$(printf 'x%.0s' $(seq 200))" long
touch -- -dash $'new\nline' $'tab\t' 'quote"'"'" 'ä€😀' $'bad\xff\xfe' ' ' '*' '\' "$(printf 'n%.0s' $(seq 255))"
mkdir -p "$(printf 'deep/%.0s' $(seq 60))"
mkfifo fifo
find . -mindepth 1 -not -type d -exec touch -h -d '2001-02-03 04:05:06.789012' {} +
touch -d '1969-12-31 23:00' file; touch -d '2100-01-01' bytes; touch -d '1999-01-01' dir/empty dir .
"""


def test_a_restore_gives_back_modes_times_links_empty_directories_and_odd_names(api, box):
    api.output(box, CONTENT)
    before = api.output(box, FACTS)
    assert before.count("\n") > 80
    snapshot = api.snapshot(box)
    target = api.sandbox()
    api.output(target, "mkdir shut; touch shut/x; chmod 000 shut; echo other > file")
    assert api.restore(snapshot, target).status_code == 200
    # The link counts and everything else; two names of one file are one file again.
    assert api.output(target, FACTS) == before
    assert api.output(target, "test file -ef hard && test bytes -ef dir/hard2 && echo same") == "same\n"
    assert api.output(box, FACTS) == before


def test_a_snapshot_does_not_change_the_workspace(api, box):
    api.output(box, CONTENT)
    before = api.output(box, FACTS)
    api.snapshot(box)
    assert api.output(box, FACTS) == before


def test_a_socket_is_left_out(api, box):
    api.output(box, "python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"socket\")'; touch file")
    target = api.sandbox()
    api.restore(api.snapshot(box), target)
    assert api.output(target, "ls") == "file\n"


def test_home_and_tmp_are_part_of_it(api, box):
    api.output(box, "touch ~/h /tmp/t w; chmod 700 ~; chmod 1770 /tmp")
    target = api.sandbox()
    api.write(target, "/root/other", "x")
    api.restore(api.snapshot(box), target)
    assert api.output(target, "ls; ls ~ /tmp; stat -c %a ~ /tmp") == "w\n/root:\nh\n\n/tmp:\nt\n700\n1770\n"


#: Changes everywhere in the file system, and a command that prints what has come of them.
CHANGES = """
mkdir -p /app/d /var/lib/mine /data; echo app > /app/d/f; ln -s d /app/link; chmod 700 /app/d
chown 7:8 /app/d/f 2> /dev/null; rm -r /usr/share/doc 2> /dev/null  # root of an ordinary user may not
echo etc > /etc/mine; echo 10.1.1.1 example >> /etc/hosts; rm /etc/issue; chmod 600 /etc/motd; touch /file
rm -r /etc/skel; mkdir /etc/skel; touch /etc/skel/new; rmdir /srv; mkdir /home/me
echo '#!/bin/sh' > /usr/local/bin/tool; chmod 4755 /usr/local/bin/tool; ln /usr/local/bin/tool /usr/local/bin/same
ln -s /app /usr/local/app; echo x > /opt/x
"""
WHOLE = """
cd /; find app data file home etc/mine etc/motd etc/skel usr/local/bin/tool usr/local/app opt/x var/lib/mine -printf \
  '%p %y %m %U %G %n %l %TY\n' | sort
ls -A1 / /etc /home /opt /usr/local/bin; cat app/d/f etc/mine opt/x; grep -c example etc/hosts
ls -d etc/issue usr/share/doc srv 2>&1; test usr/local/bin/tool -ef usr/local/bin/same && echo same; tool && echo runs
"""


def test_everything_that_a_sandbox_changed_is_restored_with_its_deletions(api, box):
    require_own_root(api)
    clean = api.snapshot(box)
    unchanged = api.output(box, WHOLE + "true")
    api.output(box, CHANGES)
    before = api.output(box, WHOLE)
    assert f"app/d/f f 644 {'7 8' if os.geteuid() == 0 else '0 0'}" in before
    assert before.count("No such file") == (3 if os.geteuid() == 0 else 2)
    assert before.endswith("same\nruns\n")
    snapshot = api.snapshot(box)
    assert api.output(box, WHOLE) == before
    # Into a sandbox that has other changes, among them where the snapshot has none, with processes that go on.
    target = api.sandbox()
    api.output(
        target,
        "mkdir -p /app/d/f /other /srv/x /var/lib/else; rm /etc/motd /bin/ls; ln -s /etc /data; echo x > /etc/issue\n"
        "rm -r /home; echo home > /home; exec 3< /usr/bin/env; touch /run/kept\n"
        "(while :; do date +%N > /tmp/alive; sleep 0.02; done) > /dev/null 2>&1 &",
    )
    assert api.restore(snapshot, target).status_code == 200
    assert api.output(target, WHOLE) == before
    assert eventually(lambda: api.read(target, "/tmp/alive").status_code == 200, "the process to go on")
    assert api.output(target, "pwd; ls /run/kept; ls /other /var/lib/else 2>&1 | grep -c 'No such'").endswith(
        "kept\n2\n"
    )
    # A host name of its own stays; what the other had added is there.
    assert api.output(target, "getent hosts $(hostname) | wc -l; grep -c cage_ /etc/hosts") == "1\n1\n"
    assert api.output(target, "cat /etc/hosts").count(target) == 1
    # The restored one changes as before, and can be saved again.
    api.output(
        target, "echo more >> /etc/mine; rm /app/link /usr/local/bin/same; touch /etc/new; apt-config dump > /dev/null"
    )
    again = api.snapshot(target)
    assert api.restore(again, box).status_code == 200
    assert api.run(box, "cat /etc/mine; ls /app; ls /etc/new; ls /usr/local/bin | grep -cx same")["output"] == (
        "etc\nmore\nd\n/etc/new\n0\n"
    )
    assert api.restore(clean, box).status_code == 200
    assert api.output(box, WHOLE + "true") == unchanged
    # The file API and programs of the emulator work as before, and no directory is left of the restores.
    assert api.write(box, "/usr/local/bin/by-api", "x").status_code == 200
    assert api.output(box, "cat /usr/local/bin/by-api; ls /opt/caged") != ""
    assert not [name for name in os.listdir(api.emulator.run_dir / "sandboxes" / box) if name.startswith("restore")]
    host = [path for path in ("/app", "/data", "/etc/mine", "/usr/local/bin/tool", "/file") if os.path.lexists(path)]
    assert host == []


def test_restore_that_cannot_mount_keeps_everything_as_it_was(api, box, monkeypatch):
    require_own_root(api)
    api.output(box, CHANGES)
    snapshot = api.snapshot(box)
    api.output(box, "rm -r /app /etc/mine; echo mine > w; echo later > /etc/later")
    before = api.output(box, WHOLE + "cd /workspace" + FACTS)
    real = InitClient.remount
    system = api.emulator.run_dir / "sandboxes" / box / "system"

    async def refuse(client):
        raise OSError(5, "refused")

    async def fail(client):
        (system / "work" / "var").rmdir()  # of the last overlay: the others have been mounted by then
        await real(client)

    for broken, words in ((refuse, "refused"), (fail, "cannot be mounted again")):
        monkeypatch.setattr(InitClient, "remount", broken)
        answer = api.restore(snapshot, box)
        assert_problem(answer, 507, "untouched")
        assert words in answer.json()["detail"]
        monkeypatch.undo()
        assert api.output(box, WHOLE + "cd /workspace" + FACTS) == before
        assert api.output(box, "touch /var/new /etc/new && rm /var/new /etc/new") == ""
        assert not [name for name in os.listdir(system.parent) if name.startswith("restore")]
    assert api.restore(snapshot, box).status_code == 200
    assert api.output(box, "cat /app/d/f /etc/mine; ls w 2>&1 | grep -c 'No such'") == "app\netc\n1\n"


def test_process_level_restores_workspace_home_and_tmp_of_an_archive_of_all(api, box, process_api):
    require_own_root(api)
    api.output(
        box, "mkdir /app; touch /app/x /etc/mine w ~/h /tmp/t; rm /etc/issue; echo link > f; ln -s /workspace/f l"
    )
    snapshot = api.snapshot(box)
    source = platform_of(api.emulator).store.snapshots[snapshot].file
    target = process_api.sandbox()
    made = process_api.snapshot(target)
    shutil.copy(source, platform_of(process_api.emulator).store.snapshots[made].file)
    assert process_api.restore(made, target).status_code == 200
    assert process_api.output(target, "ls; ls ~ /tmp; cat l") == "f\nl\nw\n/root:\nh\n\n/tmp:\nt\nlink\n"
    assert "not restored" in process_api.log_text(target)
    assert "/app" in process_api.log_text(target)
    # The other way round, everything else stays.
    process_api.write(target, "only", "process")
    plain = process_api.snapshot(target)
    shutil.copy(platform_of(process_api.emulator).store.snapshots[plain].file, source)
    api.output(box, "touch /etc/stays; rm w")
    assert api.restore(snapshot, box).status_code == 200
    assert api.output(box, "ls; ls /etc/stays /app") == "f\nl\nonly\nw\n/etc/stays\n\n/app:\nx\n"


def test_an_archive_of_a_workspace_alone_is_restored(api, box, tmp_path):
    """The form of snapshots before they had everything."""
    snapshot = api.snapshot(box)
    with tarfile.open(platform_of(api.emulator).store.snapshots[snapshot].file, "w") as archive:
        top = tarfile.TarInfo(".")
        top.type, top.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(top)
        for name in ("./.wh.literal", "./etc"):
            member = tarfile.TarInfo(name)
            member.size = 1
            archive.addfile(member, io.BytesIO(b"x"))
    api.output(box, "touch ~/stays; touch gone")
    assert api.restore(snapshot, box).status_code == 200
    assert api.output(box, "ls -A; ls ~; cat .wh.literal etc") == ".wh.literal\netc\nstays\nxx"


def test_a_name_that_marks_deletions_fails_the_snapshot_outside_of_the_own_directories(api, box):
    require_own_root(api)
    api.output(box, "mkdir /app; touch .wh.f ~/.wh.f /app/.wh.f /home/.wh..wh..opq")
    target = api.sandbox()
    assert api.restore(api.snapshot(box), target).status_code == 200
    assert api.output(target, "ls -A; ls -A /app /home") == ".wh.f\n/app:\n.wh.f\n\n/home:\n.wh..wh..opq\n"
    for path in ("/etc/.wh.f", "/usr/local/.wh..wh..opq", "/.wh.f"):
        api.output(box, f"touch {path}")
        made = api.post(f"/sandboxes/{box}/snapshots").json()["id"]
        assert api.settled(made)["status"] == "failed"
        assert "marks deletions" in api.log_text(box)
        api.output(box, f"rm {path}")
    api.snapshot(box)


def test_a_tree_deeper_than_pythons_recursion_is_kept(api, box):
    # 1,200 levels: a path near the longest that the kernel takes, and some time to walk.
    api.output(box, "python3 -c \"import os\nfor _ in range(1200): os.mkdir('d'); os.chdir('d')\nopen('f', 'w')\"")
    target = api.sandbox()
    assert api.restore(api.snapshot(box), target).status_code == 200
    assert api.read(target, "d/" * 1200 + "f").status_code == 200


def test_an_open_directory_sees_the_restored_content(api, box):
    api.write(box, "f", "old")
    snapshot = api.snapshot(box)
    api.write(box, "f", "new")
    api.output(box, "(while [ ! -e stop ]; do sleep 0.01; done; cat f > /tmp/seen) &")
    api.restore(snapshot, box)
    api.write(box, "stop", "")
    assert eventually(lambda: api.read(box, "/tmp/seen").text == "old", "the process in the workspace to read it")


# --- consistency


def test_a_snapshot_is_of_one_moment_while_a_process_writes(api, box):
    """Two files that are always written one after the other never differ by more than the one write in between."""
    api.output(
        box,
        "head -c 3000000 /dev/urandom > between\n"
        "(i=0; while :; do i=$((i+1)); echo $i > a; echo $i > z; done) &> /dev/null &",
    )
    eventually(lambda: api.read(box, "z").text.strip().isdigit(), "the writer to begin")
    target = api.sandbox()
    for _ in range(6):
        assert api.restore(api.snapshot(box), target).status_code == 200
        first, last = (api.read(target, name).text.strip() for name in "az")
        # The shell empties a file before it writes: the moment may be in between.
        if first and last:
            assert 0 <= int(first) - int(last) <= 1


def test_the_sandbox_goes_on_after_a_snapshot_and_a_restore(api, box):
    api.output(box, "(while :; do echo x >> /tmp/alive; sleep 0.01; done) > /dev/null 2>&1 &")
    snapshot = api.snapshot(box)
    for act in (lambda: api.snapshot(box), lambda: api.restore(snapshot, box)):
        act()
        size = len(api.read(box, "/tmp/alive").content)
        eventually(lambda size=size: len(api.read(box, "/tmp/alive").content) > size, "the process to go on")


def test_a_write_during_a_snapshot_comes_after_it(api, box):
    api.output(box, "head -c 30000000 /dev/zero > big")
    made = api.post(f"/sandboxes/{box}/snapshots").json()["id"]
    api.write(box, "later", "x")
    assert "./workspace/later" not in names_in(api, made)


def test_a_terminal_opened_during_a_snapshot_comes_after_it(api, box):
    api.output(box, "head -c 30000000 /dev/zero > big")
    assert api.post(f"/sandboxes/{box}/snapshots").json()["status"] == "pending"
    with Term(api.emulator.base_url, box, api.key) as term:
        term.prompt()


# --- restoring


def test_a_restore_answers_restored_and_replaces_everything(api, box):
    api.output(box, "mkdir d; echo old > d/f; echo old > g")
    snapshot = api.snapshot(box)
    api.output(box, "rm -r d; echo new > g; mkdir e; touch e/x .hidden; ln -s g d")
    response = api.restore(snapshot, box)
    assert (response.status_code, response.json()) == (200, {"status": "restored"})
    assert api.output(box, "find . | sort; cat d/f g") == ".\n./d\n./d/f\n./g\nold\nold\n"


def test_an_empty_snapshot_empties_the_workspace(api, box):
    snapshot = api.snapshot(box)
    api.output(box, "mkdir -p a/b; touch a/b/c .x; chmod 000 a/b")
    assert api.restore(snapshot, box).status_code == 200
    assert api.listing(box).json() == []


def test_the_older_spelling_of_the_target_is_taken_with_a_warning(api, box):
    snapshot = api.snapshot(box)
    response = api.post(f"/snapshots/{snapshot}/restore", json={"sandbox_id": box})
    assert response.json() == {"status": "restored"}
    entry = api.emulator.journal.requests(account=api.account_id)[-1]
    assert entry.operation == "snapshots.restore"
    assert "target_sandbox_id" in " ".join(entry.warnings)


@pytest.mark.shared_sandbox
@pytest.mark.parametrize(
    "body", [b"", b"{}", b'{"target_sandbox_id": ""}', b'{"target_sandbox_id": null}', b'{"target": "x"}']
)
def test_a_target_is_required(api, box, body):
    response = api.post(f"/snapshots/{api.snapshot(box)}/restore", content=body)
    assert_problem(response, 400)
    assert response.json()["detail"] == "target_sandbox_id required"


@pytest.mark.shared_sandbox
@pytest.mark.parametrize("target", [1, ["x"], {}, True])
def test_a_target_must_be_a_string(api, box, target):
    assert_problem(api.restore(api.snapshot(box), target), 400, "target_sandbox_id")


def test_an_unknown_target_is_a_404(api, box):
    assert_problem(api.restore(api.snapshot(box), "cage_unknown0"), 404, "sandbox not found")


def test_a_target_in_error_is_a_409(api, box):
    target = api.post("/sandboxes", json={"template": "minimal", "init_script": "exit 1"}).json()["id"]
    assert_problem(api.restore(api.snapshot(box), target), 409, "is error", "sandbox_not_running")


def test_a_pending_snapshot_is_not_restored_or_downloaded(api, box):
    record = platform_of(api.emulator).store.snapshots[api.snapshot(box)]
    record.status = "pending"
    assert_problem(api.restore(record.id, box), 409, "is pending", "snapshot_not_ready")
    assert_problem(api.get(f"/snapshots/{record.id}/download"), 409, "is pending", "snapshot_not_ready")


def test_a_failed_snapshot_is_not_restored_or_downloaded(process_api, process_box):
    api, box = process_api, process_box
    api.run(box, "rm -rf /workspace; echo x > /workspace")
    made = api.post(f"/sandboxes/{box}/snapshots").json()["id"]
    assert api.settled(made)["status"] == "failed"
    assert "failed" in api.log_text(box)
    target = api.sandbox()
    assert_problem(api.restore(made, target), 409, "is failed", "snapshot_not_ready")
    assert_problem(api.get(f"/snapshots/{made}/download"), 409, "is failed", "snapshot_not_ready")


@pytest.mark.parametrize("damage", ["cut", "garbage", "missing"])
def test_a_restore_that_fails_leaves_the_workspace_untouched(api, box, damage):
    api.output(box, "mkdir d; head -c 100000 /dev/urandom > d/f; touch a z")
    snapshot = api.snapshot(box)
    file = platform_of(api.emulator).store.snapshots[snapshot].file
    if damage == "cut":
        os.truncate(file, 50_000)
    elif damage == "garbage":
        file.write_bytes(os.urandom(5000))
    else:
        file.unlink()
    api.output(box, "rm a; echo mine > mine; chmod 500 d")
    before = api.output(box, FACTS)
    assert api.restore(snapshot, box).status_code >= 400
    assert api.output(box, FACTS) == before
    assert "untouched" in api.log_text(box) or "failed" in api.log_text(box)
    # The hosts file is there at the levels that have one.
    left = {"opt", "root", "tmp", "workspace"}
    assert set(os.listdir(api.emulator.run_dir / "sandboxes" / box)) - {"hosts", "system"} == left


def test_restores_at_once_leave_one_of_the_two(api, box):
    snapshots = []
    for content in "ab":
        api.output(box, f"for i in $(seq 30); do echo {content} > f$i; done")
        snapshots.append(api.snapshot(box))
    with ThreadPoolExecutor(6) as pool:
        statuses = list(pool.map(lambda number: api.restore(snapshots[number % 2], box).status_code, range(6)))
    assert statuses == [200] * 6
    assert api.output(box, "cat f* | sort -u") in ("a\n", "b\n")
    assert api.output(box, "ls | wc -l") == "30\n"


# --- downloading


def download(api, snapshot):
    response = api.get(f"/snapshots/{snapshot}/download")
    assert response.status_code == 200, response.text
    return response.json()


def names_in(api, snapshot):
    api.settled(snapshot)
    content = httpx.get(download(api, snapshot)["url"], trust_env=False, verify=False, timeout=60).content
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(content))) as archive:
        return archive.getnames()


def test_a_download_is_a_url_that_works_without_a_key(api, box):
    api.output(box, "echo hello > file; ln -s file link; mkdir empty; chmod 750 file")
    offer = download(api, api.snapshot(box))
    assert offer["expires_in_seconds"] == 3600
    assert offer["url"].startswith(api.emulator.base_url + "/v1/snapshots/")
    response = httpx.get(offer["url"], trust_env=False, verify=False, timeout=60)
    assert (response.status_code, response.headers["content-type"]) == (200, "application/gzip")
    assert ".tar.gz" in response.headers["content-disposition"]
    with tarfile.open(fileobj=io.BytesIO(response.content), mode="r:gz") as archive:
        assert archive.extractfile("./workspace/file").read() == b"hello\n"
        assert archive.getmember("./workspace/file").mode == 0o750
        assert archive.getmember("./workspace/link").linkname == "file"
        assert archive.getmember("./workspace/empty").isdir()


def test_a_downloads_links_say_workspace_and_name_no_place_of_the_host(api, box):
    api.output(box, 'touch f; ln -s /workspace/f a; ln -s "$(readlink -f f)" b')
    content = gzip.decompress(
        httpx.get(download(api, api.snapshot(box))["url"], trust_env=False, verify=False, timeout=60).content
    )
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        members = {member.name: member.linkname for member in archive}
    assert members["./workspace/a"] == members["./workspace/b"] == "/workspace/f"
    assert os.fsencode(str(api.emulator.run_dir)) not in content


def test_a_large_download_is_whole(api, box):
    api.output(box, "head -c 9000000 /dev/urandom > big; sha1sum < big > sum")
    content = httpx.get(download(api, api.snapshot(box))["url"], trust_env=False, verify=False, timeout=60).content
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
        digest = hashlib.sha1(archive.extractfile("./workspace/big").read()).hexdigest()
        assert archive.extractfile("./workspace/sum").read().decode().startswith(digest)


ALTERATIONS = [
    lambda url: url[:-1] + ("0" if url[-1] != "0" else "1"),
    lambda url: url.partition("?")[0],
    lambda url: re.sub(r"expires=\d+", "expires=99999999999", url),
    lambda url: re.sub(r"expires=(\d+)", r"expires=\g<1>0", url),
    lambda url: re.sub(r"expires=(\d+)", r"expires=+\g<1>", url),
    lambda url: re.sub(r"expires=(\d+)", r"expires=0\g<1>", url),
    lambda url: re.sub(r"expires=(\d+)", r"expires=\g<1>.0", url),
    lambda url: re.sub(r"expires=\d+", "expires=", url),
    lambda url: re.sub(r"expires=\d+", "expires=" + "9" * 5000, url),
    lambda url: re.sub(r"signature=.*", "signature=", url),
    lambda url: re.sub(r"signature=.*", "signature=%ff%00", url),
    lambda url: re.sub(r"signature=.*", "signature=ä", url),
    lambda url: re.sub(r"snap_[a-z0-9]{8}", "snap_other000", url),
]


def test_an_altered_download_url_is_a_403(api, box):
    url = download(api, api.snapshot(box))["url"]
    assert httpx.get(url, trust_env=False, verify=False, timeout=60).status_code == 200
    for change in ALTERATIONS:
        assert_problem(httpx.get(change(url), trust_env=False, verify=False, timeout=60), 403, code="policy_denied")


def test_the_content_is_not_there_for_a_key_alone(api, box):
    assert_problem(api.get(f"/snapshots/{api.snapshot(box)}/download/content"), 403, code="policy_denied")


def test_a_signature_opens_no_other_snapshot(api, box):
    first, second = api.snapshot(box), api.snapshot(box)
    url = download(api, first)["url"].replace(first, second)
    assert_problem(httpx.get(url, trust_env=False, verify=False, timeout=60), 403, code="policy_denied")


def test_a_download_url_ends_after_an_hour(timed):
    api, clock = timed
    url = download(api, api.snapshot(api.sandbox()))["url"]
    clock.advance(3590)
    assert httpx.get(url, trust_env=False, verify=False, timeout=60).status_code == 200
    clock.advance(20)
    assert_problem(httpx.get(url, trust_env=False, verify=False, timeout=60), 403, "expired", "policy_denied")


def test_a_deleted_snapshots_url_is_a_404(api, box):
    snapshot = api.snapshot(box)
    url = download(api, snapshot)["url"]
    api.delete(f"/snapshots/{snapshot}")
    assert_problem(httpx.get(url, trust_env=False, verify=False, timeout=60), 404, "snapshot not found")


def test_a_download_that_began_is_finished_when_the_snapshot_is_deleted(api, box):
    api.output(box, "head -c 20000000 /dev/urandom > big")
    snapshot = api.snapshot(box)
    with httpx.stream("GET", download(api, snapshot)["url"], trust_env=False, verify=False, timeout=60) as response:
        pieces = response.iter_raw()
        first = next(pieces)
        api.delete(f"/snapshots/{snapshot}")
        content = first + b"".join(pieces)
    assert len(gzip.decompress(content)) > 20_000_000


def test_the_same_workspace_gives_the_same_bytes(api, box):
    api.output(box, "touch b a c; mkdir d")
    contents = {
        httpx.get(download(api, api.snapshot(box))["url"], trust_env=False, verify=False, timeout=60).content
        for _ in range(2)
    }
    assert len(contents) == 1


def test_a_snapshot_is_json_without_nulls(api, box):
    assert None not in json.loads(api.get(f"/snapshots/{api.snapshot(box)}").text).values()


@pytest.mark.parametrize("mode", ["555", "000", "200", "500"])
def test_a_workspace_that_its_owner_may_not_write_or_read_is_restored(api, box, mode):
    where = api.emulator.run_dir / "sandboxes" / box / "workspace"
    api.output(box, f"mkdir -p d/e; touch f d/e/g; chmod {mode} d /workspace")
    snapshot = api.snapshot(box)
    assert where.stat().st_mode & 0o777 == int(mode, 8)
    where.chmod(0o755)
    assert api.output(box, "stat -c %a d") == f"{int(mode):d}\n"
    api.output(box, "rm f; touch new; chmod 500 /workspace")
    assert api.restore(snapshot, box).status_code == 200
    assert where.stat().st_mode & 0o777 == int(mode, 8)
    where.chmod(0o755)
    assert api.output(box, "stat -c '%a %n' *; chmod 755 d; ls d/e") == f"{int(mode):d} d\n644 f\ng\n"
