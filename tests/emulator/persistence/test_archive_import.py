"""`export` and `import_`: all accounts, or one, to a file and back."""

from __future__ import annotations

import io
import json
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from emulator_testing import eventually, has_own_root, require_own_root
from internals import platform_of
from levels import need
from state_testing import fill, look, of, started, without

from caged.emulator import Emulator


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "everything.tar.gz"


# Two to three seconds each: two emulators, and records of every kind.
@pytest.mark.parametrize(("made", "put"), [("namespace", "process"), ("process", "namespace")])
def test_import_restores_everything_with_sandboxes_stopped(file, made, put):
    need("namespace")
    listing = "cd /workspace; find . -printf '%p %M %y %T@ %l\\n' | sort; cat /root/link /root/.settings made"
    with started(None, isolation=made) as emulator, of(emulator, emulator.api_key) as api:
        box = fill(emulator, api)
        files = api.output(box, listing)
        (kept,) = [snap["id"] for snap in api.get(f"/sandboxes/{box}/snapshots").json() if snap["name"] == "kept"]
        assert api.post(f"/sandboxes/{box}/pause").status_code == 204
        for snapshot in api.get(f"/sandboxes/{box}/snapshots").json():
            api.settled(snapshot["id"])
        before = look(api)
        emulator.export(file)
        assert [path.name for path in file.parent.iterdir()] == [file.name]
        assert file.stat().st_mode & 0o777 == 0o600
    with started(None, isolation=put) as emulator:
        emulator.import_(file)
        with of(emulator, api.key) as api:
            after = look(api)
            logs = f"/sandboxes/{box}/logs"
            assert after.pop(logs)[: len(before[logs])] == before.pop(logs)
            moving = ("status", "stopped_at", "last_used_at", "last_used")
            assert without(after, *moving) == without(before, *moving)
            assert api.status(box) == "stopped"
            assert api.post(f"/sandboxes/{box}/resume").status_code == 204
            assert api.output(box, listing) == files
            assert "caged emulator" in api.output(box, "claude -p hello")
            api.output(box, "rm -r deep")
            assert api.restore(kept, box).status_code == 200
            assert api.read(box, "/workspace/deep/er/a").text == "text\n"


def test_import_without_overlays_logs_what_a_sandbox_has_lost(file):
    need("namespace")
    with started(None, isolation="namespace") as emulator, of(emulator, emulator.api_key) as api:
        require_own_root(api)
        changed, unchanged = api.sandbox(), api.sandbox()
        api.output(changed, "mkdir /app /var/lib/mine; touch /app/f /var/lib/mine/f; rmdir /srv; touch /root/kept")
        emulator.export(file)
    with started(None, isolation="process") as emulator:
        emulator.import_(file)
        with of(emulator, api.key) as api:
            messages = [[log["message"] for log in api.logs(box)] for box in (changed, unchanged)]
    (lost,) = [message for message in messages[0] if "not imported" in message]
    assert lost.startswith("not imported: changes in /app, /srv, /var: without overlays, an archive has only")
    assert not [message for message in messages[1] if "not imported" in message]


def test_export_of_one_account_contains_no_other(file):
    with started(None) as emulator:
        mine, other = emulator.create_account("mine"), emulator.create_account("other")
        with of(emulator, mine.api_key) as api, of(emulator, other.api_key) as others:
            box = api.sandbox()
            api.snapshot(box)
            others.snapshot(others.sandbox())
        emulator.export(file, account=mine.id)
    with tarfile.open(file) as packed:
        manifest = json.loads(packed.extractfile("manifest.json").read())
        names = packed.getnames()
    assert manifest["accounts"] == [mine.id]
    assert manifest["sandboxes"] == [box]
    assert sum(name.startswith("snapshots/") for name in names) == 1
    with started(None) as emulator:
        emulator.import_(file)
        with of(emulator, mine.api_key) as api:
            assert [shown["id"] for shown in api.get("/sandboxes").json()] == [box]
        with of(emulator, other.api_key) as api:
            assert api.get("/sandboxes").status_code == 401
        with of(emulator, emulator.api_key) as api:
            assert api.get("/sandboxes").json() == []


def test_import_into_state_directory_survives_restart(file, tmp_path):
    with started(None) as emulator, of(emulator, emulator.api_key) as api:
        box = api.sandbox()
        api.write(box, "/workspace/a", "kept")
        emulator.export(file)
    with started(tmp_path / "state") as emulator:
        emulator.import_(file)
    with started(tmp_path / "state") as emulator, of(emulator, api.key) as api:
        assert api.post(f"/sandboxes/{box}/resume").status_code == 204
        assert api.read(box, "/workspace/a").text == "kept"


def test_import_of_same_archive_again_adds_copies_with_ids_of_their_own(file):
    with started(None) as emulator, of(emulator, emulator.api_key) as api:
        mine, box = emulator.create_account(), fill(emulator, api)
        emulator.export(file)
        emulator.remove_account(mine.id)
        moving = ("cost", "total_cost", "pending_seconds", "last_used_at", "last_used", "status", "unread_count")
        before = without(look(api), *moving)
        emulator.import_(file)
        emulator.import_(file)
        with of(emulator, mine.api_key) as deleted:
            assert deleted.get("/sandboxes").json() == []
        after = without(look(api), *moving)
        boxes = [shown["id"] for shown in api.get("/sandboxes").json()]
        assert (len(boxes), len(set(boxes)), boxes[0], api.status(box)) == (3, 3, box, "running")
        # What the account has itself is as before, and what is added has ids of its own.
        for path, answer in before.items():
            if path.startswith(("/sandboxes/", "/sessions/", "/keys", "/trust/")):
                assert after[path] == answer, path
        for kind in ("alerts", "notifications"):
            earlier, all_of_it = (len(answers[f"/{kind}"][kind]) for answers in (before, after))
            assert all_of_it == 3 * earlier
            assert len({one["id"] for one in after[f"/{kind}"][kind]}) == all_of_it
        assert {one["sandbox_id"] for one in after["/alerts"]["alerts"]} - {""} == set(boxes)
        for copy in boxes[1:]:
            (session,) = after[f"/sandboxes/{copy}/sessions"]
            assert session["sandbox_id"] == copy
            replayed = platform_of(emulator).store.sessions[session["id"]].history.events()
            assert {(one.sandbox_id, one.session_id) for one in replayed} == {(copy, session["id"])}
            assert any(f"imported as {copy}: {box} existed already" in log["message"] for log in api.logs(copy))
        copy = boxes[2]
        assert api.post(f"/sandboxes/{copy}/resume").status_code == 204
        assert api.output(copy, "cat deep/er/a /root/.settings") == "text\nhome\n"
        (kept,) = [one["id"] for one in after[f"/sandboxes/{copy}/snapshots"] if one["name"] == "kept"]
        for change in ("true", "rm -r deep"):
            api.output(copy, change)
            if has_own_root(api):
                assert api.output(copy, "grep -o 'cage_.*' /etc/hosts") == f"{copy}\n"
            assert api.restore(kept, copy).status_code == 200
        assert api.read(copy, "/workspace/deep/er/a").text == "text\n"
        assert sorted(path.name for path in emulator.run_dir.glob("import-*")) == []


def test_imports_of_one_archive_at_the_same_time_add_complete_copies(file):
    with started(None) as emulator, of(emulator, emulator.api_key) as api:
        for _ in range(3):
            api.output(api.sandbox(), "for i in $(seq 100); do echo $i > $i; done")
        emulator.export(file)
    with started(None) as emulator, of(emulator, api.key) as api:
        with ThreadPoolExecutor(4) as threads:
            for done in [threads.submit(emulator.import_, file) for _ in range(4)]:
                done.result()
        boxes = [shown["id"] for shown in api.get("/sandboxes").json()]
        assert len(set(boxes)) == 12
        files = emulator.run_dir / "sandboxes"
        assert {box: len(list((files / box / "workspace").iterdir())) for box in boxes} == dict.fromkeys(boxes, 100)


def test_import_of_account_whose_id_is_that_of_another_is_refused_and_changes_nothing(file):
    def signed_up(emulator: Emulator, email: str) -> str:
        body = {"email": email, "password": "long enough 1", "name": "x"}
        answer = httpx.post(f"{emulator.base_url}/signup", json=body, trust_env=False, timeout=60)
        assert answer.status_code in (200, 201), answer.text
        return email

    with started(None, seed=1) as emulator:
        signed_up(emulator, "a@example.com")
        emulator.export(file)
    with started(None, seed=1) as emulator:
        signed_up(emulator, "b@example.com")
        before = list(platform_of(emulator).store.accounts)
        with pytest.raises(ValueError, match=r"nothing was imported: account acct_.* is here already, with another"):
            emulator.import_(file)
        assert list(platform_of(emulator).store.accounts) == before


def test_export_pauses_running_sandbox(file):
    script = "i=0; while :; do i=$((i+1)); echo $i > a; echo $i > b; done"
    with started(None) as emulator, of(emulator, emulator.api_key) as api:
        box = api.sandbox()
        # A large file to copy between the two files.
        api.output(box, "mkdir -p aa; head -c 20M /dev/zero > aa/much; touch a b")
        api.output(box, f"({script}) > /dev/null 2>&1 &")
        eventually(lambda: api.read(box, "/workspace/b").text.strip(), "the loop to have gone round once")
        emulator.export(file)
        assert api.status(box) == "running"
        before = api.read(box, "/workspace/a").text
        eventually(lambda: api.read(box, "/workspace/a").text != before, "the loop to go on")
    with started(None) as emulator:
        emulator.import_(file)
        with of(emulator, api.key) as api:
            resumed = api.post(f"/sandboxes/{box}/resume")
            assert resumed.status_code == 204, (resumed.text, api.log_text(box))
            first, second = api.read(box, "/workspace/a").text, api.read(box, "/workspace/b").text
    # One of the two may be empty, because it was just being written.
    numbers = [int(text) for text in (first, second) if text.strip()]
    assert numbers
    assert max(numbers) - min(numbers) <= 1


def test_export_replaces_existing_file_only_on_success(file):
    file.write_text("before")
    with started(None) as emulator:
        with pytest.raises(ValueError, match="acct_unknown is unknown"):
            emulator.export(file, account="acct_unknown")
        assert file.read_text() == "before"
        with pytest.raises(ValueError, match="is not a directory; create it first"):
            emulator.export(file.parent / "missing" / "x.tar.gz")
        emulator.export(file)
        assert tarfile.is_tarfile(file)
        assert list(file.parent.iterdir()) == [file]


def pack(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for member, content in members:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def test_import_of_other_file_is_refused_with_reason(file, tmp_path):
    manifest = json.dumps({"format": "caged-state", "version": 1}).encode()
    newer = json.dumps({"format": "caged-state", "version": 9}).encode()
    with started(None) as emulator:
        emulator.export(file)
        whole = file.read_bytes()

        def assert_refused(path: Path, words: str) -> None:
            with pytest.raises(ValueError, match=words):
                emulator.import_(path)

        assert_refused(tmp_path / "nothing.tar.gz", "does not exist")
        (tmp_path / "half.tar.gz").write_bytes(whole[: len(whole) // 2])
        assert_refused(tmp_path / "half.tar.gz", "cannot be read as an export")
        (tmp_path / "text.tar.gz").write_text("text")
        assert_refused(tmp_path / "text.tar.gz", "cannot be read as an export")
        other = pack(tmp_path / "other.tar.gz", (tarfile.TarInfo("a"), b"x"))
        assert_refused(other, "is not an export of an emulator")
        future = pack(tmp_path / "new.tar.gz", (tarfile.TarInfo("manifest.json"), newer))
        assert_refused(future, "has version 9; this release reads 1")
        first = (tarfile.TarInfo("manifest.json"), manifest)
        assert_refused(pack(tmp_path / "out.tar.gz", first, (tarfile.TarInfo("../out"), b"x")), "holds '../out'")
        assert not (emulator.run_dir / "out").exists()
        assert_refused(pack(tmp_path / "empty.tar.gz", first), "its records are missing")
        with of(emulator, emulator.api_key) as api:
            assert api.get("/sandboxes").json() == []


def members(*pairs: tuple[str, str]) -> bytes:
    """Return a sandbox's directory as a tar, with links (`name`, target) and files (`name`, "")."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        top = tarfile.TarInfo(".")
        top.type, top.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(top)
        for name, link in pairs:
            member = tarfile.TarInfo(name)
            if link:
                member.type, member.linkname = tarfile.SYMTYPE, link
                archive.addfile(member)
            else:
                member.size = 4
                archive.addfile(member, io.BytesIO(b"evil"))
    return target.getvalue()


def test_import_refuses_files_outside_of_sandbox(file, tmp_path):
    with started(None) as emulator, of(emulator, emulator.api_key) as api:
        box = api.sandbox()
        emulator.export(file)
    evil = tmp_path / "evil.tar.gz"
    with started(None) as emulator:
        for entries in ([("./../../out", "")], [("./l", "/tmp"), ("./l/out", "")], [("/out", "")]):
            with tarfile.open(file) as source, tarfile.open(evil, "w:gz") as target:
                for member in source:
                    content = source.extractfile(member).read()
                    if member.name == f"sandboxes/{box}/workspace.tar":
                        content = members(*entries)
                    member.size = len(content)
                    target.addfile(member, io.BytesIO(content))
            with pytest.raises(ValueError, match=r"leads out of its directory|not in a directory that the archive"):
                emulator.import_(evil)
            assert list((emulator.run_dir / "sandboxes").iterdir()) == [], entries
            assert len(platform_of(emulator).store.accounts) == 1, entries


def test_export_of_stopped_emulator_raises(file):
    with pytest.raises(RuntimeError, match="not running"):
        Emulator().export(file)
