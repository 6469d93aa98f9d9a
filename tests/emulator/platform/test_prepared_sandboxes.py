"""Prepared sandboxes: built once, used by `create(template=name)`, in Python, HTTP, scenario files and the CLI."""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cli_testing
import httpx
import pytest
from emulator_testing import Api, assert_problem, eventually
from internals import platform_of

from caged.emulator import Emulator, EmulatorError, RemoteEmulator
from caged.emulator.scenario import ScenarioError
from caged.emulator.scenario.reading import from_document
from caged.emulator.wire.admin import prepared

SCRIPT = """\
date +%N > /workspace/token
mkdir -p ~/tools
echo 'echo tool' > ~/tools/tool
ln -s /root/tools/tool link
echo kept > /tmp/kept
"""


@pytest.fixture
def view(emulator, api):
    return emulator.for_account(api.account_id)


def run_dir(emulator: Emulator) -> Path:
    return emulator.run_dir


def own_root(emulator: Emulator) -> bool:
    return platform_of(emulator).isolation.own_root


def test_sandboxes_are_created_from_what_was_prepared_and_have_it_for_themselves(view, api):
    with view.prepare(
        "ready", init_script=SCRIPT, files={"src/text": "t", "/root/bytes": b"\xff\0", "/tmp/x": "x"}
    ) as prepared:
        assert str(prepared) == prepared.name == "ready"
        first, second = api.sandbox(template="ready"), api.sandbox(template="ready")
        assert prepared.used == 2
        look = "cat token src/text /tmp/kept /tmp/x; sh ~/tools/tool; cat ~/bytes | od -An -tx1; readlink link; ls -A"
        assert api.output(first, look) == api.output(second, look)
        assert "tool\n ff 00\n/root/tools/tool\n" in api.output(first, look)
        assert "created from prepared sandbox 'ready'" in api.log_text(first)
        assert api.get(f"/sandboxes/{first}").json()["template"] == "minimal"
        api.output(first, "rm -r ~/tools src; echo other > token; echo more > ~/more")
        for box in (second, api.sandbox(template="ready")):
            assert api.output(box, "ls ~ src") == "/root:\nbytes\ntools\n\nsrc:\ntext\n"
            assert api.output(box, "cat token") != "other\n"
        assert api.read(first, "/root/more").text == "more\n"
        assert api.read(second, "src/text").text == "t"
        refused = api.post("/sandboxes", json={"template": "raedy"})
        assert_problem(refused, 400, "'raedy' is unknown; valid templates: minimal, ")
        assert_problem(refused, 400, "; prepared sandboxes: ready")
    # It is removed; its sandboxes stay.
    assert api.output(second, "sh ~/tools/tool") == "tool\n"
    assert_problem(api.post("/sandboxes", json={"template": "ready"}), 400, "'ready' is unknown")


def test_changes_anywhere_are_part_of_it(view, api, emulator):
    if not own_root(emulator):
        pytest.skip("sandboxes have no root of their own here")
    script = "mkdir -p /app/x && echo a > /app/x/a; echo line >> /etc/hosts; rm /etc/issue; useradd -m someone"
    script += "; rm -rf /srv; mkdir /srv; touch /srv/new; mkdir /home/someone/d"
    with view.prepare("machine", init_script=script):
        box, other = api.sandbox(template="machine"), api.sandbox(template="machine")
        assert api.output(box, "cat /app/x/a; ls /srv /home/someone; id -un someone") == (
            "a\n/home/someone:\nd\n\n/srv:\nnew\nsomeone\n"
        )
        assert api.run(box, "cat /etc/issue")["exit_code"] == 1
        # The line of the sandbox's own name is its own, and the others are what was prepared.
        for each in (box, other, *(api.sandbox(template="machine") for _ in range(4))):  # ready-made ones among them
            assert api.output(each, "tail -n 2 /etc/hosts") == f"127.0.1.1 {each}\nline\n"
        api.output(box, "rm -r /app; mkdir /app; touch /app/mine; rmdir /home/someone/d")
        assert api.output(box, "ls /app /home/someone") == "/app:\nmine\n\n/home/someone:\n"
        assert api.output(other, "ls /app /home/someone") == "/app:\nx\n\n/home/someone:\nd\n"
        assert not os.path.exists("/app/x/a")


def test_deleted_and_changed_top_level_directories_and_pipes_are_part_of_it(view, api, emulator):
    if not own_root(emulator):
        pytest.skip("sandboxes have no root of their own here")
    script = (
        "rm -r /boot /media; rmdir /srv; mkdir -p /app/x /home/u; ln -s /app /srv; chmod 711 /home; chmod 1777 /mnt"
    )
    script += "; mkfifo /app/pipe ~/pipe /usr/local/pipe pipe"
    look = (
        "ls -d /boot /media; stat -c '%n %A' /home /mnt /app/pipe ~/pipe /usr/local/pipe pipe; ls /home; readlink /srv"
    )
    with view.prepare("ready", init_script=script):
        box = api.sandbox(template="ready")
        shown = api.run(box, look)["output"].splitlines()
        assert sorted(shown) == [
            "/app",
            "/app/pipe prw-r--r--",
            "/home drwx--x--x",
            "/mnt drwxrwxrwt",
            "/root/pipe prw-r--r--",
            "/usr/local/pipe prw-r--r--",
            "ls: cannot access '/boot': No such file or directory",
            "ls: cannot access '/media': No such file or directory",
            "pipe prw-r--r--",
            "u",
        ]
        # What is prepared from a snapshot of such a sandbox has the same, and what the sandbox has changed since.
        api.output(box, "rm /srv; rm -r /home; mkdir /boot")
        look = "ls -d /boot /home /media /srv; stat -c '%n %A' /mnt /app/pipe"
        shown = api.run(box, look)["output"]
        assert "/boot\n" in shown
        assert shown.count("No such file") == 3
        with view.prepare("again", from_snapshot=api.snapshot(box)):
            assert api.run(api.sandbox(template="again"), look)["output"] == shown


@pytest.mark.parametrize("made", ["/etc/issue", "/dev/null"])
def test_hosts_file_that_is_not_a_usual_one_is_not_part_of_it(view, api, emulator, made):
    if not own_root(emulator):
        pytest.skip("sandboxes have no root of their own here")
    with view.prepare("linked", init_script=f"ln -sf {made} /etc/hosts"):
        box = api.sandbox(template="linked")
        assert f"127.0.1.1 {box}\n" in api.output(box, "cat /etc/hosts")


def test_environment_and_processes_are_not_kept(view, api):
    with view.prepare("ready", init_script="export A=1; echo $$ > pid; sleep 3600 & echo $! > /tmp/sleep"):
        box = api.sandbox(template="ready", env={"B": "2"})
        assert api.output(box, "echo $A$B; pgrep sleep || true") == "2\n"


def test_options_of_the_create_come_on_top(view, api):
    with view.prepare("ready", template="python-311", init_script="echo base > file"):
        box = api.sandbox(template="ready", init_script="cat file > copy; echo more >> file", agents=["claude-code"])
        assert api.output(box, "cat file copy; command -v claude python3 | wc -l") == "base\nmore\nbase\n2\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "python-311"}, "name: 'python-311' is a template of the platform; choose another name"),
        ({"name": "node"}, "name: 'node' is a template of the platform"),
        ({"name": "a b"}, "name: 'a b' cannot be used; begin with a letter or digit"),
        ({"name": ""}, "name: '' cannot be used"),
        ({"template": "pythn-311"}, "template: 'pythn-311' is unknown; did you mean 'python-311'"),
        ({"packages": ["-r"]}, "packages: '-r' is not a package name"),
        ({"packages": "pytest"}, "packages: must be a list of str, not the str 'pytest'"),
        ({"files": {"/proc/x": "x"}}, "files: /proc/x"),
        ({"files": {"": "x"}}, "files: '' is not a path"),
        ({"from_snapshot": "snap_1"}, "from_snapshot: there is no snapshot 'snap_1'"),
        ({"from_archive": "/nowhere.tar.gz"}, "/nowhere.tar.gz does not exist"),
        ({"archive_sandbox": "cage_1"}, "archive_sandbox: needs from_archive"),
        ({"from_snapshot": "a", "from_archive": __file__}, "from_archive: cannot be combined with from_snapshot"),
        ({"init_script": "echo broken; exit 3"}, "init_script failed with exit code 3: broken"),
        ({"packages": ["./no"], "template": "python-311"}, r"packages \./no failed with exit code"),
    ],
    ids=str,
)
def test_what_cannot_be_prepared_is_refused_and_leaves_nothing(view, emulator, options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        view.prepare(**{"name": "ready", **options})
    assert view.prepared.list() == []
    for name in ("prepared", "builders"):
        place = run_dir(emulator) / name
        assert not place.exists() or os.listdir(place) == []
    assert not list(run_dir(emulator).glob("prepare-*"))


def test_name_that_is_prepared_already_is_refused(view, emulator):
    with view.prepare("ready", optional=True):
        with pytest.raises(ValueError, match="name: 'ready' is prepared already for the account; remove it first"):
            view.prepare("ready")
    view.prepare("ready", optional=True).remove()


def test_each_account_has_its_own_and_those_of_all(view, api, emulator, new_api):
    other = new_api(emulator)
    shared = emulator.prepare("shared", files={"f": "shared"}, account="*")
    try:
        with view.prepare("mine", files={"f": "mine"}):
            assert api.output(api.sandbox(template="mine"), "cat f") == "mine"
            assert api.output(api.sandbox(template="shared"), "cat f") == "shared"
            assert other.output(other.sandbox(template="shared"), "cat f") == "shared"
            assert_problem(other.post("/sandboxes", json={"template": "mine"}), 400, "'mine' is unknown")
            with view.prepare("shared", files={"f": "own"}):  # comes before that of all accounts
                assert api.output(api.sandbox(template="shared"), "cat f") == "own"
                assert other.output(other.sandbox(template="shared"), "cat f") == "shared"
            assert [one.name for one in view.prepared.list()] == ["mine", "shared"]
    finally:
        shared.remove()
    view.prepare("again", optional=True)
    view.reset_controls()
    assert view.prepared.list() == []


def test_unused_one_is_reported_unless_it_is_optional(view):
    with pytest.raises(AssertionError, match=r"(?s)no sandbox was created from a prepared one:.*optional=True"):
        with view.prepare("ready"):
            pass
    with view.prepare("ready", optional=True):
        assert view.unused() == []
    view.prepare("ready")
    (text,) = view.unused()
    assert "'ready'" in text
    (unused,) = view.describe_unused()
    assert Path(unused.source.rpartition(":")[0]).name == Path(__file__).name
    view.prepared.clear()


def test_files_go_when_the_last_sandbox_that_uses_them_goes(view, api, emulator):
    first, second = (view.prepare(name, init_script="touch ~/f") for name in ("first", "second"))
    directory = run_dir(emulator) / "prepared"
    box = api.sandbox(template="first")
    first.remove()
    assert len(os.listdir(directory)) == 2
    assert api.output(box, "ls ~") == "f\n"
    assert api.delete(f"/sandboxes/{box}").status_code == 204
    api.sandbox(template="second")
    second.remove()
    assert len(os.listdir(directory)) == 1
    api.delete(f"/sandboxes/{api.get('/sandboxes').json()[0]['id']}")
    view.prepare("third", optional=True).remove()
    assert os.listdir(directory) == []


def test_prepared_from_a_snapshot(view, api):
    box = api.sandbox()
    api.output(box, "mkdir d; echo of-snapshot > d/f")
    snapshot = api.snapshot(box)
    with view.prepare("ready", from_snapshot=snapshot, init_script="echo more >> d/f"):
        assert api.output(api.sandbox(template="ready"), "cat d/f") == "of-snapshot\nmore\n"
    assert api.output(box, "cat d/f") == "of-snapshot\n"


def test_prepared_from_an_archive_any_number_of_times(view, api, tmp_path):
    box = api.sandbox()
    api.output(box, "mkdir d; echo of-archive > d/f; echo home > ~/f; chmod 700 d")
    archive = tmp_path / "kept.tar.gz"
    view.export(archive)
    with view.prepare("once", from_archive=archive), view.prepare("twice", from_archive=str(archive), files={"g": "g"}):
        for name in ("once", "twice"):
            assert api.output(api.sandbox(template=name), "cat d/f ~/f; stat -c %a d") == "of-archive\nhome\n700\n"
        assert api.output(api.sandbox(template="twice"), "cat g") == "g"
    other = api.sandbox()
    view.export(archive)
    with pytest.raises(ValueError, match=r"archive_sandbox: the archive holds several sandboxes; name one of cage_"):
        view.prepare("several", from_archive=archive)
    with pytest.raises(ValueError, match="archive_sandbox: the archive has no sandbox 'cage_x'"):
        view.prepare("several", from_archive=archive, archive_sandbox="cage_x")
    with view.prepare("several", from_archive=archive, archive_sandbox=other, optional=True):
        pass
    archive.write_bytes(b"no archive")
    with pytest.raises(ValueError, match="cannot be read as an export"):
        view.prepare("damaged", from_archive=archive)


def test_sandbox_from_a_prepared_one_is_exported_with_what_it_sees(view, api, tmp_path):
    with view.prepare("ready", init_script="mkdir ~/d; touch ~/d/a ~/d/b; echo w > w"):
        box = api.sandbox(template="ready")
        api.output(box, "rm ~/d/a; echo c > ~/d/c")
        archive = tmp_path / "kept.tar.gz"
        for one in api.get("/sandboxes").json():
            assert one["id"] == box
        view.export(archive)
        with view.prepare("copy", from_archive=archive):
            assert api.output(api.sandbox(template="copy"), "ls ~/d; cat w") == "b\nc\nw\n"


def test_snapshot_of_sandbox_with_layers_has_what_it_sees(view, api, emulator):
    if not own_root(emulator):
        pytest.skip("sandboxes have no root of their own here")
    script = (
        "mkdir ~/d; touch ~/d/a ~/d/b; echo t > /usr/local/lib/layered; echo l >> /etc/issue; rm /etc/motd; echo w > w"
    )
    with view.prepare("ready", init_script=script):
        box = api.sandbox(template="ready")
        look = (
            "ls ~/d; cat /usr/local/lib/layered w; tail -1 /etc/issue; test ! -e /etc/motd && ls -A ~ | grep -v '^.p'"
        )
        api.output(box, "rm ~/d/a; echo c > ~/d/c")
        before = api.output(box, look)
        assert before.startswith("b\nc\nt\nw\nl\n")
        snapshot = api.snapshot(box)
        other = api.sandbox()
        assert api.restore(snapshot, other).status_code == 200
        assert api.output(other, look) == before
        # Into the sandbox itself, and twice: its layers do not show through.
        for _ in range(2):
            api.output(box, "rm -r ~/d /usr/local/lib/layered w; mkdir ~/d; touch ~/d/a ~/more /usr/local/lib/more")
            assert api.restore(snapshot, box).status_code == 200
            assert api.output(box, look) == before
            assert api.run(box, "ls ~/more /usr/local/lib/more")["exit_code"] == 2
            assert api.read(box, "/root/d/c").text == "c\n"
        again = api.snapshot(box)
        assert api.restore(again, other).status_code == 200
        assert api.output(other, look) == before
        # A snapshot of another sandbox: nothing of the layers is left.
        empty = api.snapshot(api.sandbox())
        late = api.sandbox(template="ready")
        assert api.restore(empty, late).status_code == 200
        assert api.run(late, "ls ~/d /usr/local/lib/layered w")["output"].count("No such file") == 3
        assert api.run(late, "test -e /etc/motd")["exit_code"] == (0 if os.path.exists("/etc/motd") else 1)


def test_restore_into_sandbox_with_a_root_of_a_layer_is_refused(view, api, emulator):
    if not own_root(emulator):
        pytest.skip("sandboxes have no root of their own here")
    with view.prepare("ready", init_script="mkdir /app; echo a > /app/a"):
        box = api.sandbox(template="ready")
        api.output(box, "echo b > /app/b")
        snapshot = api.snapshot(box)
        assert_problem(api.restore(snapshot, box), 507, "restore into another sandbox")
        assert api.output(box, "cat /app/a /app/b") == "a\nb\n"
        other = api.sandbox()
        assert api.restore(snapshot, other).status_code == 200
        assert api.output(other, "cat /app/a /app/b") == "a\nb\n"


def test_stubs_apply_to_what_is_prepared(view, api):
    with view.commands.stub("make setup", output="stubbed"), view.prepare("ready", init_script="make setup"):
        api.sandbox(template="ready")
    (ran,) = [one for one in view.journal.commands() if one.command == "make setup"]
    assert ran.source == "build"


def test_sandbox_of_prepared_one_survives_a_restart(own_emulator, tmp_path):
    emulator = own_emulator(state_dir=tmp_path / "state")
    line = "echo line >> /etc/hosts" if own_root(emulator) else ":"
    emulator.prepare("ready", init_script=f"echo home > ~/f; echo w > w; {line}")
    with emulator.client() as client:
        box = client.sandboxes.create(template="ready").id
    emulator.stop()
    emulator.start()
    with emulator.client() as client:
        client.sandboxes.resume(box)
        assert client.sandboxes.exec(box, "cat ~/f w").output == "home\nw\n"
        if own_root(emulator):
            assert client.sandboxes.exec(box, "tail -n 2 /etc/hosts").output == f"127.0.1.1 {box}\nline\n"
    assert emulator.prepared.list() == []


def test_at_level_process_files_are_copied(process_emulator, process_api):
    view = process_emulator.for_account(process_api.account_id)
    with view.prepare("ready", init_script="echo home > ~/f; echo w > w"):
        first, second = process_api.sandbox(template="ready"), process_api.sandbox(template="ready")
        process_api.output(first, "rm ~/f")
        assert process_api.output(second, "cat ~/f w") == "home\nw\n"


def test_scenario_prepares_and_uses(own_emulator, tmp_path):
    file = tmp_path / "scenario.toml"
    (tmp_path / "f").write_text("content")
    file.write_text(
        '[[prepared]]\nname = "ready"\ninit_script = "echo made > made"\nfiles = { f = { from = "f" } }\n'
        '[[sandboxes]]\nname = "box"\ntemplate = "ready"\n'
    )
    emulator = own_emulator(scenario=file)
    with emulator.client() as client:
        assert client.sandboxes.exec(emulator.loaded.sandboxes["box"], "cat made f").output == "made\ncontent"
    with pytest.raises(ScenarioError, match=r"prepared\[0\]: from_archive: is not possible in a scenario"):
        from_document({"prepared": [{"name": "a", "from_archive": "x"}]})
    with pytest.raises(ScenarioError, match=r"prepared\[0\]: packages: must be a list of texts"):
        from_document({"prepared": [{"name": "a", "packages": "x"}]})


def test_command_line(emulator, api):
    target = ["--url", emulator.base_url, "--admin-key", emulator.admin_key, "--account", api.account_id]
    words = ["prepared", "add", "ready", "--files", "f=x", "--init-script", "echo y >> f", *target]
    added = cli_testing.call(*words)
    assert added.returncode == 0, added.stderr
    assert api.output(api.sandbox(template="ready"), "cat f") == "xy\n"
    assert "ready" in cli_testing.call("prepared", "list", *target).stdout
    again = cli_testing.call(*words)
    assert again.returncode == 1
    assert "is prepared already" in again.stderr
    assert cli_testing.call("prepared", "remove", added.stdout.strip(), *target).returncode == 0
    assert cli_testing.call(*words).returncode == 0
    assert "not found" in cli_testing.call("prepared", "remove", "raedy", *target).stderr
    assert cli_testing.call("prepared", "remove", "ready", *target).returncode == 0
    assert cli_testing.call("prepared", "list", *target).stdout == ""


def test_remote_emulator_prepares(emulator, api, tmp_path):
    box = api.sandbox()
    api.output(box, "echo remote > f")
    with RemoteEmulator(emulator.base_url, emulator.admin_key, account=api.account_id) as remote:
        remote.export(tmp_path / "a.tar.gz")
        with remote.prepare("ready", from_archive=tmp_path / "a.tar.gz"):
            assert api.output(api.sandbox(template="ready"), "cat f") == "remote\n"
        with pytest.raises(EmulatorError, match="prepared sandbox not found"):
            remote.prepared.get("prepared_x")


def test_only_what_is_complete_can_be_used(view, api: Api):
    """While it is built, its name is taken, and means nothing yet."""
    outcome: list[object] = []

    def build() -> None:
        try:
            outcome.append(view.prepare("slow", init_script="until [ -e /tmp/go ]; do sleep 0.05; done", optional=True))
        except ValueError as error:
            outcome.append(error)

    thread = threading.Thread(target=build)
    thread.start()
    eventually(lambda: view.prepared.list(), "the preparation to begin")
    assert_problem(api.post("/sandboxes", json={"template": "slow"}), 400, "'slow' is unknown")
    with pytest.raises(ValueError, match="is prepared already"):
        view.prepare("slow")
    view.prepared.clear()
    (builder,) = eventually(lambda: list((run_dir(api.emulator) / "builders").iterdir()), "the builder's directory")
    eventually(lambda: (builder / "tmp").is_dir(), "its files")
    (builder / "tmp" / "go").touch()
    thread.join(60)
    (error,) = outcome
    assert "was removed while it was built" in str(error)
    assert os.listdir(run_dir(api.emulator) / "builders") == []


def test_uploads_that_are_not_abandoned_stay_and_a_further_one_is_refused(own_emulator):
    emulator = own_emulator()
    headers = {"Authorization": f"Bearer {emulator.admin_key}"}
    with httpx.Client(
        base_url=f"{emulator.base_url}/_emulator", headers=headers, trust_env=False, verify=False
    ) as admin:

        def upload(number: int) -> httpx.Response:
            return admin.post(f"/prepared-archives/{number:032x}", content=b"x")

        for number in range(prepared.MOST_UPLOADS):
            assert upload(number).status_code == 204
        assert_problem(upload(99), 409, "8 uploaded archives wait for their preparation already")
        assert upload(0).status_code == 204  # in its own place
        waiting = list(run_dir(emulator).glob("prepare-*.tar.gz"))
        assert len(waiting) == prepared.MOST_UPLOADS
        os.utime(waiting[0], (1, 1))  # abandoned
        assert upload(99).status_code == 204
        assert not waiting[0].exists()


def test_several_at_a_time_are_prepared_while_layers_are_removed(view, api, emulator):
    """Layers that a sandbox used are removed with the next preparation, which is not the only one."""
    layers = run_dir(emulator) / "prepared"
    before = set(layers.iterdir()) if layers.exists() else set()
    boxes = []
    for number in range(4):
        with view.prepare(f"used-{number}", files={f"f{each}": "" for each in range(200)}):
            boxes.append(api.sandbox(template=f"used-{number}"))
    assert len(set(layers.iterdir()) - before) == 4
    for box in boxes:
        api.delete(f"/sandboxes/{box}")

    def prepare(number: int) -> None:
        view.prepare(f"new-{number}", optional=True).remove()

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(prepare, range(8)))
    eventually(lambda: set(layers.iterdir()) <= before, "the layers stay")


def test_layer_of_removed_one_stays_until_its_sandbox_is_removed(view, api, emulator):
    """The removal waits for a snapshot, which reads the layer."""
    platform = platform_of(emulator)
    ready = view.prepare("ready", init_script="echo home > ~/f")
    box = api.sandbox(template="ready")
    (layer,) = [one.layers[0] for one in platform.prepared.added_for(api.account_id) if one.name == "ready"]
    sandbox = platform.store.sandboxes[box]

    async def hold() -> asyncio.Lock:
        lock = platform.live.of(sandbox).workspace_lock
        await lock.acquire()
        return lock

    loop = emulator._runtime._loop
    lock = asyncio.run_coroutine_threadsafe(hold(), loop).result(30)
    thread = threading.Thread(target=lambda: api.delete(f"/sandboxes/{box}"))
    thread.start()
    try:
        eventually(lambda: box not in platform.store.sandboxes, "the sandbox to be destroyed")
        ready.remove()
        assert (layer / "root" / "f").exists()
    finally:
        loop.call_soon_threadsafe(lock.release)
        thread.join(60)
    with view.prepare("next", optional=True):
        assert not layer.exists()


def test_what_cannot_be_had_without_overlays_is_an_error(own_emulator, tmp_path):
    """An archive of a sandbox with a file system of its own, used where there is none."""
    source = own_emulator(allow_unused=True)
    (account,) = platform_of(source).store.accounts
    if not own_root(source):
        pytest.skip("sandboxes have no root of their own here")
    with source.client() as client:
        box = client.sandboxes.create(template="minimal").id
        client.sandboxes.exec(box, "echo home > ~/f")
        source.export(tmp_path / "plain.tar.gz")
        client.sandboxes.exec(box, "mkdir /app; echo a > /app/a; echo x > /usr/local/lib/x")
        source.export(tmp_path / "changed.tar.gz")
        snapshot = client.snapshots.create(box).id
        source.export(tmp_path / "all.tar.gz")
    target = own_emulator(isolation="process", allow_unused=True)
    target.import_(tmp_path / "all.tar.gz")
    view = target.for_account(account)
    with pytest.raises(ValueError, match=rf"from_snapshot: snapshot {snapshot} has /app, /usr, which a sandbox cannot"):
        view.prepare("ready", from_snapshot=snapshot)
    with pytest.raises(ValueError, match="from_archive: the archive has /app, /usr, which a sandbox cannot have here"):
        view.prepare("ready", from_archive=tmp_path / "changed.tar.gz")
    view.prepare("ready", from_archive=tmp_path / "plain.tar.gz", optional=True)
