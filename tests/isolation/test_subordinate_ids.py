"""The emulator of an ordinary user whose sandboxes have users besides root: newuidmap maps those of /etc/subuid.

As root, the tests start it as another user, with lines of their own in /etc/subuid. As an ordinary user they need what
the machine has.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Callable, Optional

import fork_server
import pytest
from leftovers import children_of, command_of, processes_with, run_dirs, until
from levels import ORDINARY_USER, Served, as_ordinary_user, is_mapped, masks_of, need, subordinate_ids
from setup_commands import NO, SET_UPS, YES

from caged import AsyncCaged, Caged
from caged.emulator import RemoteEmulator
from caged.emulator.cage import subordinate_ids as ids
from caged.emulator.cage.subordinate_ids import Unavailable
from caged.emulator.platform.scheduler import DISK_INTERVAL

AS_ROOT = os.geteuid() == 0
LEVEL = "namespace-user" if AS_ROOT else "namespace"
FIRST = 200000
#: Owners and contents of what `_FILES` makes.
_LIST = "cd / && stat -c '%u:%g %a %n' home/alice home/alice/private home/alice/private/key workspace/theirs srv/theirs"
_FILES = (
    "useradd -m alice && su alice -c 'umask 077; mkdir ~/private; echo secret > ~/private/key'"
    " && echo x | tee /workspace/theirs /srv/theirs && chown 4:7 /workspace/theirs /srv/theirs && chmod 600 /srv/theirs"
)
_OWNED = (
    "1001:1001 755 home/alice\n1001:1001 700 home/alice/private\n1001:1001 600 home/alice/private/key\n"
    "4:7 644 workspace/theirs\n4:7 600 srv/theirs\n"
)

Start = Callable[..., Served]


def user_name() -> str:
    return pwd.getpwuid(ORDINARY_USER).pw_name


def prepared(folder: Path, lines: Optional[str] = None) -> list[str]:
    """Return the words before a command that give the user subordinate ids."""
    return subordinate_ids(folder, f"{user_name()}:{FIRST}:65536\n" if lines is None else lines) if AS_ROOT else []


def doctor(folder: Path, words: list[str], **environment: str) -> str:
    """Return what `doctor` says of an ordinary user's sandboxes. The words are those of `prepared`."""
    folder.chmod(0o755)
    masks = masks_of(ORDINARY_USER if AS_ROOT else None)
    home = folder / "home"
    home.mkdir(exist_ok=True)
    if AS_ROOT:
        os.chown(home, ORDINARY_USER, ORDINARY_USER)
    words = [*words, *(as_ordinary_user([home, masks]) if AS_ROOT else ())]
    run = fork_server.run if words else subprocess.run
    done = run(
        [*words, sys.executable, "-m", "caged.emulator", "doctor"],
        env={**os.environ, "HOME": str(home), "TMPDIR": str(home), "XDG_CACHE_HOME": str(masks), **environment},
        capture_output=True,
        text=True,
        timeout=300,
        cwd="/",
    )
    assert done.returncode == 0, done.stderr
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("  users:"))
    return line


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of emulators that run one after the other, and of the /etc of all: so they share a mask."""
    return tmp_path_factory.mktemp("place")


@pytest.fixture(scope="module", autouse=True)
def mapping(place: Path) -> None:
    """Skip where newuidmap cannot map users. Another program decides."""
    need(LEVEL)
    if not shutil.which("newuidmap"):
        pytest.skip("there is no newuidmap here (package uidmap)")
    if not AS_ROOT:
        found = ids.find()
        if isinstance(found, Unavailable):
            pytest.skip(f"{found.reason}: {found.fix}")
    words = [*prepared(place), *(as_ordinary_user([]) if AS_ROOT else ())]
    command = [*words, "unshare", "--map-root-user", "--map-auto", "true"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd="/")
    if done.returncode != 0:
        pytest.skip(f"`unshare --map-auto` fails here: {done.stderr.strip()[-300:]}")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, place: Path) -> Iterator[Served]:
    one = Served(tmp_path_factory.mktemp("served"), LEVEL, prepare=prepared(place))
    yield one
    one.stop()
    assert run_dirs(one.tmp) == []


@pytest.fixture
def start(place: Path) -> Iterator[Start]:
    """Starts an emulator; the one before has to have ended."""
    started: list[Served] = []

    def start_one(state: Optional[Path] = None, *options: str, wrap: Sequence[str] = ()) -> Served:
        options = (*(() if state is None else ("--state-dir", str(state))), *options)
        started.append(Served(place, LEVEL, *options, run_base=state, prepare=prepared(place), wrap=wrap))
        return started[-1]

    yield start_one
    for one in started:
        one.end()


async def search(served: Served, box: str, pattern: str) -> str:
    """Return what the MCP tool finds by name in the workspace."""
    async with AsyncCaged(api_key=served.api_key, base_url=served.base_url) as client:
        async with await client.sandboxes.mcp(box) as mcp:
            result = await mcp.call_tool("filesystem_search", {"pattern": pattern})
    return str(result)


def files_of_other_users(directory: Path) -> list[str]:
    """Return what belongs neither to the emulator's user nor to root. The user alone may not look everywhere."""
    own = ORDINARY_USER if AS_ROOT else os.geteuid()
    found = []
    for folder, directories, names in os.walk(directory):
        for path in (os.path.join(folder, name) for name in (*directories, *names)):
            try:
                found += [path] if os.lstat(path).st_uid not in (0, own) else []
            except FileNotFoundError:
                pass  # it is being removed
    return found


def test_set_up_commands_work_as_for_root(served: Served) -> None:
    with served.sandbox() as box:
        assert is_mapped(served.client, box)
        assert "users" in served.client.sandboxes.logs(box)[0].message
        for row in SET_UPS:
            if not row.can_be_tested:
                continue
            result = served.client.sandboxes.exec(box, row.command)
            works = YES if result.exit_code == 0 else NO
            assert works == row.expected(LEVEL, AS_ROOT, is_mapped=True), (row.says, result.output)


def test_users_own_and_reach_what_they_should(served: Served) -> None:
    with served.sandbox() as box:
        served.run(box, _FILES)
        assert served.run(box, _LIST) == _OWNED
        assert served.run(box, "id -G; sudo -u alice id -un; runuser -u alice -- cat /home/alice/private/key") == (
            "0\nalice\nsecret\n"
        )
        refused = served.client.sandboxes.exec(box, "su daemon -s /bin/sh -c 'cat /home/alice/private/key /etc/shadow'")
        assert refused.exit_code != 0
        assert "secret" not in refused.output
        # tar as root, and a package with files of another owner.
        served.run(box, "cd /home && tar cf /tmp/home.tar alice && rm -r alice && tar xf /tmp/home.tar")
        assert served.run(box, _LIST) == _OWNED
        if shutil.which("dpkg-deb"):
            package = (
                "cd /tmp && mkdir -p deb/DEBIAN deb/srv/packaged && echo x > deb/srv/packaged/file && chown -R 4:7"
                " deb/srv/packaged && printf 'Package: caged-owned\\nVersion: 1\\nArchitecture: all\\nMaintainer: x"
                " <x@example.com>\\nDescription: x\\n' > deb/DEBIAN/control && dpkg-deb --build deb o.deb >/dev/null"
                " && dpkg --install o.deb >/dev/null && stat -c %u:%g /srv/packaged/file"
            )
            assert served.run(box, package) == "4:7\n"
        # A user that leaves its group and one that is not mapped.
        assert served.client.sandboxes.exec(box, "touch /srv/x && chown 65536 /srv/x").exit_code != 0


def test_file_api_reaches_files_of_users_as_root_does(served: Served) -> None:
    files = served.client.files
    with served.sandbox() as box:
        served.run(box, _FILES)
        assert files.read(box, "/home/alice/private/key") == "secret\n"
        files.write(box, "/home/alice/private/key", "changed\n")
        files.write(box, "/home/alice/private/new/file", "of root\n")
        names = [entry.name for entry in files.list(box, "/home/alice/private")]
        assert names == ["key", "new"]
        assert served.run(box, "cat /srv/../home/alice/private/key; stat -c %U /home/alice/private/new/file") == (
            "changed\nroot\n"
        )
        assert served.run(box, _LIST) == _OWNED
        served.run(box, "mkdir -m 700 /workspace/d && touch /workspace/d/found && chown -R alice /workspace/d")
        assert "d/found" in asyncio.run(search(served, box, "found"))


def test_snapshot_and_restore_keep_owners(served: Served) -> None:
    with served.sandbox() as box, served.sandbox() as other:
        served.run(box, _FILES)
        snapshot = served.client.snapshots.create(box)
        served.client.snapshots.wait(snapshot.id)
        served.run(box, "rm -r /home/alice /workspace/theirs && chown 9 /srv/theirs && userdel alice")
        for target in (box, other):
            served.client.snapshots.restore(snapshot.id, target)
            assert served.run(target, _LIST) == _OWNED
            assert served.run(target, "su alice -c 'cat ~/private/key'") == "secret\n"


def test_prepared_sandbox_has_files_of_users(served: Served) -> None:
    with RemoteEmulator(served.base_url, served.admin_key) as emulator, emulator.account() as view:
        view.prepare("with-alice", init_script=_FILES)
        with view.client() as client:
            box = client.sandboxes.create(template="with-alice").id
            result = client.sandboxes.exec(box, f"{_LIST}; su alice -c 'cat ~/private/key'")
            assert result.output == f"{_OWNED}secret\n"
            client.sandboxes.destroy(box)


def test_disk_usage_counts_files_of_users_and_destroy_removes_them(served: Served) -> None:
    with served.sandbox(disk_gb=1) as box, RemoteEmulator(served.base_url, served.admin_key) as emulator:
        served.run(box, _FILES)
        directory = served.sandbox_dir(box)
        assert directory.exists()
        served.run(box, "cd /home/alice/private && fallocate -l 520M a && fallocate -l 520M b && chown alice a b")
        emulator.clock.advance(DISK_INTERVAL + 1)
        lines = [entry.message for entry in served.client.sandboxes.logs(box)]
        assert [line for line in lines if "GB on disk, disk_gb is 1" in line], lines
    if AS_ROOT:
        until(lambda: not files_of_other_users(served.run_dir), what=lambda: files_of_other_users(served.run_dir))
    until(lambda: not directory.exists() and not list(directory.parent.glob("*.removed")))


@pytest.mark.skipif(not AS_ROOT, reason="only root can make files of other users on the host")
def test_files_of_hosts_users_stay_out_of_reach(served: Served, place: Path) -> None:
    """The user number of an owner inside is not that of the host's user with this number."""
    etc = place / "etc" / "profile.d"
    owners = {"caged-daemon.sh": 1, "caged-root.sh": 0}
    for name, owner in owners.items():
        (etc / name).write_text("secret\n")
        (etc / name).chmod(0o600)
        os.chown(etc / name, owner, owner)
        (etc / f"open-{name}").write_text("open\n")
        os.chown(etc / f"open-{name}", owner, owner)
    with served.sandbox() as box:
        for name in owners:
            for user in ("root", "daemon"):
                command = f"su {user} -s /bin/sh -c 'cat /etc/profile.d/{name}; echo y >> /etc/profile.d/open-{name}'"
                assert "secret" not in served.client.sandboxes.exec(box, command).output
        served.client.sandboxes.exec(box, "chown 5:5 /etc/profile.d/* /etc/passwd; rm -f /etc/profile.d/*")
        assert served.run(box, "cat /proc/self/uid_map").split() == [
            *("0", str(ORDINARY_USER), "1"),
            *("1", str(FIRST), "65535"),
        ]
    for name, owner in owners.items():
        assert (etc / name).read_text() == "secret\n"
        assert (etc / f"open-{name}").read_text() == "open\n"
        assert (etc / name).stat().st_uid == (etc / f"open-{name}").stat().st_uid == owner
        for made in (name, f"open-{name}"):
            (etc / made).unlink()


def test_sandboxes_and_owners_survive_restart(start: Start, place: Path, tmp_path: Path) -> None:
    state = place / "tmp" / "state"
    first = start(state)
    box = first.client.sandboxes.create().id
    first.run(box, _FILES)
    first.run(
        box, "chown alice /etc && chmod 700 /etc && chown -R alice:alice /workspace && chown 4:7 /workspace/theirs"
    )
    first.stop()
    second = start(state, "--api-key", first.api_key)
    second.client.sandboxes.resume(box)
    assert second.run(box, _LIST) == _OWNED
    assert second.run(box, "stat -c %U /etc /workspace") == "alice\nalice\n"
    second.process.kill()
    second.process.wait()
    third = start(state, "--api-key", first.api_key)
    third.client.sandboxes.resume(box)
    assert third.run(box, _LIST) == _OWNED
    archive = tmp_path / "archive.tar.gz"
    with RemoteEmulator(third.base_url, third.admin_key) as emulator:
        emulator.export(archive)
        third.client.sandboxes.destroy(box)
        until(lambda: list((state / "sandboxes").iterdir()) == [])
    third.stop()
    if AS_ROOT:
        assert files_of_other_users(state) == []
    fourth = start()
    with RemoteEmulator(fourth.base_url, fourth.admin_key) as emulator:
        emulator.import_(archive)
    with Caged(api_key=first.api_key, base_url=fourth.base_url) as client:
        client.sandboxes.resume(box)
        assert client.sandboxes.exec(box, _LIST).output == _OWNED


@pytest.mark.parametrize("with_zygote", [False, True])
def test_kill_leaves_nothing(start: Start, with_zygote: bool) -> None:
    """The zygote removes the files of users; when it is killed, too, the next emulator does."""
    one = start()
    box = one.client.sandboxes.create().id
    one.run(box, _FILES)
    assert one.client.files.read(box, "/home/alice/private/key") == "secret\n"  # by the process that may
    children = children_of(one.process.pid)
    assert len(children) == 2
    if with_zygote:
        os.kill(one.zygote, signal.SIGSTOP)
    zygote = one.zygote
    one.process.kill()
    one.process.wait()
    if with_zygote:
        os.kill(zygote, signal.SIGKILL)
        until(lambda: processes_with(str(one.run_dir)) == [])
        assert one.run_dir.exists()
        start().stop()
    until(lambda: run_dirs(one.tmp) == [], what=lambda: run_dirs(one.tmp))
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children))


@pytest.mark.parametrize("often", ["once", "always"])
def test_removal_after_kill_is_tried_again_and_failure_is_reported(start: Start, place: Path, often: str) -> None:
    directory = place / f"failing-{often}"
    directory.mkdir()
    failing, program = directory / "now", directory / "newuidmap"
    program.write_text(
        f'#!/bin/sh\nif [ -e {failing} ]; then\n  read often < {failing}\n  [ "$often" = once ] && rm {failing}\n'
        f'  echo it is broken >&2\n  exit 1\nfi\nexec {shutil.which("newuidmap")} "$@"\n'
    )
    program.chmod(0o755)
    if AS_ROOT:
        os.chown(directory, ORDINARY_USER, ORDINARY_USER)
    one = start(wrap=("env", f"PATH={directory}:{os.environ['PATH']}"))
    box = one.client.sandboxes.create().id
    one.run(box, _FILES)
    one.process.send_signal(signal.SIGSTOP)  # so that from now on only the zygote runs it
    failing.write_text(f"{often}\n")
    one.process.kill()
    output = one.process.communicate(timeout=60)[0]  # until the zygote, too, has ended
    if often == "once":
        assert not failing.exists()
        assert run_dirs(one.tmp) == []
        assert "is left" not in output
    else:
        assert f"{one.run_dir} of an emulator that was killed is left" in output
        assert "newuidmap failed: it is broken" in output
        assert run_dirs(one.tmp) == [one.run_dir]
        start().stop()
        assert run_dirs(one.tmp) == []


def has_ended(pid: int) -> bool:
    """Whether a process that was killed has let go of its sockets: it is gone, or its last thread is a zombie."""
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z" and len(tasks) == 1


def test_killed_process_for_files_is_started_again(served: Served) -> None:
    with served.sandbox() as box:
        served.run(box, _FILES)
        assert served.client.files.read(box, "/home/alice/private/key") == "secret\n"
        # Besides the zygote, there may be a program that runs for a moment.
        (helper,) = (pid for pid in children_of(served.process.pid) if "import root_process" in command_of(pid))
        os.kill(helper, signal.SIGKILL)
        until(lambda: has_ended(helper))
        assert served.client.files.read(box, "/home/alice/private/key") == "secret\n"


@pytest.mark.skipif(not AS_ROOT, reason="only root can change /etc/subuid")
def test_doctor_says_how_many_users_or_what_to_do(tmp_path: Path, place: Path) -> None:
    assert "a sandbox has 65,536 users" in doctor(tmp_path, prepared(place))
    advice = f"add the line `{user_name()}:FIRST:65536` to /etc/subuid and /etc/subgid"
    failing = tmp_path / "home" / "bin"
    failing.mkdir()
    (failing / "newuidmap").write_text("#!/bin/sh\necho it is broken >&2\nexit 1\n")
    (failing / "newuidmap").chmod(0o755)
    broken = doctor(tmp_path, prepared(place), PATH=f"{failing}:{os.environ['PATH']}")
    assert "a sandbox has root alone (newuidmap failed: it is broken)" in broken
    none = doctor(tmp_path, prepared(tmp_path, "another:300000:65536\n"))
    assert f"a sandbox has root alone (/etc/subuid has no line for {user_name()})" in none
    assert f"To change that: {advice}" in none
