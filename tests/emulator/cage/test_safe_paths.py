"""The file API and snapshots reach no file of the host, neither by `..` nor by a link.

At level `process` a command can read what its user can read; these tests are about the emulator's own accesses. At the
others the sandbox has a file system of its own, in which a path of the host may be written: there the file API finds
what a command finds.
"""

import contextlib
import gzip
import io
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cases import each
from emulator_testing import assert_problem, require_own_root

from caged.emulator import Emulator

SECRET = "the host's own"

#: Commands that create a link at /workspace/trap. HOST is a directory of the host that contains `secret`.
LINKS = {
    "absolute link": "ln -s HOST/secret trap",
    "relative link": "ln -s $(printf '../%.0s' $(seq 40))HOST/secret trap",
    "link to a link": "ln -s HOST/secret one; ln -s one trap",
    "link through a directory link": "ln -s HOST dir; ln -s dir/secret trap",
    "link through a relative directory": "mkdir a; ln -s ../../../../../../../..HOST a/up; ln -s a/up/secret trap",
    "link into a place and out again": "ln -s /workspace/../../../../../../../../../..HOST/secret trap",
    "link to the sandbox's real place and out": 'ln -s "$(readlink -f .)"/../../../../../../../..HOST/secret trap',
    "link with odd slashes": "ln -s //./HOST//./secret trap",
    "link through proc root": "ln -s /proc/self/root/HOST/secret trap",
    "link through proc cwd": "ln -s /proc/self/cwd/../../../../../../../../../..HOST/secret trap",
    "link through tmp": "ln -s HOST/secret /tmp/one; ln -s /tmp/one trap",
    "link through home": "ln -s HOST ~/one; ln -s /root/one/secret trap",
    # 20 links, half of what the kernel follows: when anything is mounted meanwhile, it walks a second time, and counts
    # on. More would now and then be too many for `cat`.
    "long chain": "ln -s HOST/secret l0; for i in $(seq 18); do ln -s l$((i-1)) l$i; done; ln -s l18 trap",
    "link to etc": "ln -s /etc/hostname trap",
    "link to the emulator's lock": "ln -s ../../../lock trap",
}
DIRECTORIES = {
    "absolute link": "ln -s HOST trap",
    "relative link": "ln -s $(printf '../%.0s' $(seq 40))HOST trap",
    "link to a link": "ln -s HOST one; ln -s one trap",
    "link with a slash": "ln -s HOST/ trap",
    "link to the root": "ln -s / trap",
    "link through dots": "ln -s /workspace/../../../../../../../../../..HOST trap",
    "link to the parent": "ln -s ../.. trap",
    "link to proc": "ln -s /proc/self/fd trap",
}
PATHS = [
    "../../../../../../../../../../..HOST/secret",
    "/workspace/../../../../../../../../..HOST/secret",
    "/../../../HOST/secret",
    "HOST/secret",
    "/workspace/./../.././..HOST/secret",
    "a/../../../../../../../../..HOST/secret",
    "/tmp/../../../../../../../../..HOST/secret",
    "/root/../..HOST/secret",
    "//HOST/secret",
    "/proc/self/root/HOST/secret",
    "/proc/self/cwd",
    "/dev/stdin",
    "/opt/caged/bin/../../../../secret",
]


@contextlib.contextmanager
def host_directory(base: str = "/var/tmp") -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="host-of-a-caged-test-", dir=base) as place:
        (Path(place) / "secret").write_text(SECRET)
        yield Path(place)


@pytest.fixture
def host() -> Iterator[Path]:
    """A directory of the host. Not below /tmp, because a path there is one of the sandbox's own /tmp."""
    with host_directory() as place:
        yield place


@pytest.fixture
def host_on_same_disk(process_emulator: Emulator) -> Iterator[Path]:
    """A directory of the host on the file system of the sandboxes, so that hard links between them are possible."""
    beside = process_emulator.run_dir.parent
    base = "/var/tmp" if os.stat("/var/tmp").st_dev == os.stat(beside).st_dev else str(beside)
    with host_directory(base) as place:
        yield place


@pytest.fixture
def trap(api, box, host):
    """A function that creates the link and checks that the command succeeded."""

    def lay(command):
        # What the link before has made, also in the sandbox's own place of the host's directory.
        own = f" {host}" if is_isolated(api) else ""
        api.output(box, f"find /workspace -mindepth 1 -delete; rm -rf ~/one /tmp/one{own}")
        api.output(box, command.replace("HOST", str(host)))
        assert os.path.lexists(api.emulator.run_dir / "sandboxes" / box / "workspace" / "trap")

    return lay


def assert_untouched(host: Path) -> None:
    assert {path.name: path.read_text() for path in host.iterdir()} == {"secret": SECRET}


def is_isolated(api) -> bool:
    return api.emulator.isolation != "process"


def assert_trap_is_harmless(api, box, path: str, host: Path) -> None:
    """Neither reading nor writing a path that leads to the host's secret reaches it, and the shell agrees."""
    response = api.read(box, path)
    assert SECRET not in response.text
    if response.status_code == 200:
        assert is_isolated(api)
        assert response.text == api.output(box, f"cat {path}")
    elif response.status_code == 400:
        assert_problem(response, 400, "outside", "path_outside_sandbox")
        assert api.run(box, f"test -e {path}")["exit_code"] == 0
    else:
        assert_problem(response, 404, "no such file")
        assert api.run(box, f"test -e {path}")["exit_code"] == 1
    written = api.write(box, path, "overwritten")
    if written.status_code == 200:
        assert is_isolated(api)
        assert api.output(box, f"cat {path}") == "overwritten"
    else:
        assert_problem(written, 400, "outside", "path_outside_sandbox")
    assert_untouched(host)


@each("command", LINKS.values())
def test_link_out_of_sandbox_is_not_followed(api, box, host, trap, command):
    trap(command)
    assert_trap_is_harmless(api, box, "trap", host)
    # A listing does not show the size of the target.
    (host / "secret").write_text(SECRET * 50)
    (entry,) = [entry for entry in api.listing(box).json() if entry["name"] == "trap"]
    assert (entry["type"], entry["size"] == len(SECRET * 50)) == ("file", False)
    (host / "secret").write_text(SECRET)


#: Directories of the root that a sandbox has of its own, in which the same links are made.
PLACES = ["/etc/caged-test", "/usr/local/lib/caged-test", "/app", "/home/someone"]
#: Links to files of the kernel.
KERNEL_LINKS = [
    "ln -s /proc/self/environ trap",
    "ln -s /proc/1/root/etc/shadow trap",
    "ln -s ../../../../../proc/self/fd/0 trap",
    "ln -s /sys/kernel/uevent_helper trap",
    "ln -s /dev/mem trap",
    "ln -s /dev/../proc/../dev/null trap",
]


@pytest.mark.parametrize("place", PLACES)
def test_link_in_own_root_is_not_followed_out_of_it(api, box, host, place):
    require_own_root(api)
    # Every shape in one place; some of each kind in the others, which differ in what is below them.
    some = slice(None, None, 1 if place == PLACES[0] else 4)
    for command in (*LINKS.values(), *KERNEL_LINKS)[some]:
        api.output(box, f"rm -rf {place}; mkdir -p {place}; cd {place}; " + command.replace("HOST", str(host)))
        assert_trap_is_harmless(api, box, f"{place}/trap", host)
        # What the write has made is the sandbox's own; the next link begins anew.
        api.output(box, f"rm -rf {host} ~/one /tmp/one")
    for command in list(DIRECTORIES.values())[some]:
        api.output(box, f"rm -rf {place}; mkdir -p {place}; cd {place}; " + command.replace("HOST", str(host)))
        listing = api.listing(box, f"{place}/trap")
        if listing.status_code == 200:
            assert [entry["name"] for entry in listing.json()] == api.output(box, f"ls -A1 {place}/trap/").split("\n")[
                :-1
            ]
        for path in ("trap/secret", "trap/../secret", f"trap/{host}/secret", "trap/new/file"):
            assert SECRET not in api.read(box, f"{place}/{path}").text
            api.write(box, f"{place}/{path}", "overwritten")
        api.output(box, f"rm -rf {host}")
    assert_untouched(host)


def test_directory_of_own_root_repeatedly_swapped_for_link_is_not_followed(api, box, host):
    require_own_root(api)
    api.output(
        box,
        f"mkdir -p /etc/x/real; cd /etc/x; echo inside > real/secret; ln -s {host} evil\n"
        "(while [ ! -e stop ]; do mv -T real x; mv -T evil real; mv -T real evil; mv -T x real; done) &> /dev/null &",
    )
    seen = set()
    for _ in range(20):
        seen.add(api.read(box, "/etc/x/real/secret").text)
        api.write(box, "/etc/x/real/secret", "inside\n")
        api.listing(box, "/etc/x/real")
    api.write(box, "/etc/x/stop", "")
    assert not [text for text in seen if SECRET in text]
    assert_untouched(host)


@each("command", DIRECTORIES.values())
def test_link_to_directory_outside_is_not_followed(api, box, host, trap, git, command):
    trap(command)
    for path in ("trap", "trap/", "trap/."):
        listing = api.listing(box, path)
        names = [entry["name"] for entry in listing.json()] if listing.status_code == 200 else []
        # A link to the root shows the root of the sandbox.
        if is_isolated(api):
            assert not names or names == api.output(box, "ls -A1 trap/").split("\n")[:-1]
        else:
            assert names == ["root", "tmp", "workspace"] or listing.status_code in (400, 404)
    for path in ("trap/secret", "trap/../secret", f"trap/{host}/secret", "trap/new/file"):
        assert SECRET not in api.read(box, path).text
        assert api.write(box, path, "overwritten").status_code == 400 or is_isolated(api)
    assert_untouched(host)
    git("init", "-q", cwd=host)
    response = api.get(f"/sandboxes/{box}/git/diff", params={"path": "trap"})
    assert "secret" not in response.text
    shutil.rmtree(host / ".git")


@pytest.mark.shared_sandbox
@pytest.mark.parametrize("path", PATHS)
def test_path_out_of_sandbox_reaches_no_file(api, box, host, path):
    path = path.replace("HOST", str(host))
    for response in (api.read(box, path), api.write(box, path, "overwritten"), api.listing(box, path)):
        assert SECRET not in response.text
    assert_untouched(host)
    response = api.listing(box, os.path.dirname(path))
    if response.status_code not in (400, 404):
        # What was written is in the sandbox's own file system.
        assert "secret" not in [entry["name"] for entry in response.json()] or api.read(box, path).text == "overwritten"


@pytest.mark.parametrize("place", ["/workspace", "/root", "/tmp"])
def test_top_directory_replaced_by_link_is_not_followed(process_api, process_box, host, place):
    api, box = process_api, process_box
    api.output(box, f"rm -rf {place}; ln -s {host} {place}")
    assert api.read(box, f"{place}/secret").status_code in (400, 404)
    assert api.write(box, f"{place}/secret", "overwritten").status_code in (400, 404)
    assert api.listing(box, place).status_code in (400, 404)
    assert "secret" not in api.get(f"/sandboxes/{box}/git/diff").text
    assert_untouched(host)


@pytest.mark.parametrize("up", ["../..", '"$(dirname "$(dirname "$(readlink -f .)")")"'])
def test_link_to_other_sandbox_is_not_followed(api, box, up):
    neighbour = api.sandbox()
    api.write(neighbour, "secret", SECRET)
    api.output(box, f"ln -s {up}/{neighbour}/workspace/secret trap")
    assert api.read(box, "trap").status_code in (400, 404)
    api.write(box, "trap", "overwritten")
    assert api.read(neighbour, "secret").text == SECRET


def test_directory_repeatedly_swapped_for_link_is_not_followed(api, box, host):
    api.output(
        box,
        f"mkdir real; echo inside > real/secret; cp -r real spare; ln -s {host} evil\n"
        "(while [ ! -e stop ]; do mv -T real x; mv -T evil real; mv -T real evil; mv -T x real; done) &> /dev/null &",
    )
    seen = set()
    for _ in range(20):
        seen.add(api.read(box, "real/secret").text)
        api.write(box, "real/secret", "inside\n")
        api.listing(box, "real")
    api.write(box, "stop", "")
    assert not [text for text in seen if SECRET in text]
    assert_untouched(host)


def test_write_to_hard_link_of_host_file_does_not_change_it(process_api, process_box, host_on_same_disk):
    api, box, host = process_api, process_box, host_on_same_disk
    done = api.run(box, f"ln {host}/secret mine")
    if done["exit_code"] != 0:
        pytest.skip(f"no hard links across here: {done['output']}")
    before = (host / "secret").stat().st_mode
    assert api.write(box, "mine", "overwritten").status_code == 200
    api.output(box, "chmod 000 mine")
    assert api.delete(f"/sandboxes/{box}").status_code == 204
    assert_untouched(host)
    assert (host / "secret").stat().st_mode == before


# --- snapshots


def test_snapshot_stores_links_as_links(api, box, host):
    api.output(box, f"ln -s {host}/secret file; ln -s {host} dir; ln -s /etc etc")
    members = members_of(api, api.snapshot(box))
    inside = {name: member for name, member in members.items() if name.startswith("./workspace/")}
    assert {name for name, member in inside.items() if member.issym()} == set(inside)
    assert set(inside) == {"./workspace/file", "./workspace/dir", "./workspace/etc"}


@pytest.mark.parametrize("target", ["HOST", "/etc", "/"])
def test_snapshot_of_workspace_that_is_a_link_fails(process_api, process_box, host, target):
    api, box = process_api, process_box
    api.output(box, f"rm -rf /workspace; ln -s {target.replace('HOST', str(host))} /workspace")
    made = api.post(f"/sandboxes/{box}/snapshots").json()["id"]
    assert api.settled(made)["status"] == "failed"
    assert "not a directory" in api.log_text(box)


def test_restore_replaces_workspace_link_and_not_its_target(process_api, process_box, host):
    api, box = process_api, process_box
    api.write(box, "kept", "x")
    snapshot = api.snapshot(box)
    api.output(box, f"rm -rf /workspace; ln -s {host} /workspace")
    assert api.restore(snapshot, box).status_code == 200
    assert_untouched(host)
    assert api.output(box, "ls -A; cat kept") == "kept\nx"


@pytest.mark.parametrize(
    "ground",
    ["rm -rf /workspace", "rm -rf /workspace; echo x > /workspace", "rm -rf /workspace; ln -s nowhere /workspace"],
)
def test_restore_recreates_missing_workspace(api, box, ground):
    api.write(box, "kept", "x")
    snapshot = api.snapshot(box)
    api.run(box, ground)
    assert api.restore(snapshot, box).status_code == 200
    assert api.output(box, "pwd; ls -A") == "/workspace\nkept\n"


def test_restored_link_reaches_no_other_sandbox(api, box, host):
    api.output(box, f"ln -s {host}/secret out; ln -s /workspace/in in2; echo in > in")
    target = api.sandbox()
    assert api.restore(api.snapshot(box), target).status_code == 200
    assert api.read(target, "out").status_code in (400, 404)
    assert api.read(target, "in2").text == "in\n"
    api.write(target, "in", "target's own")
    assert api.output(target, "cat in2") == "target's own"
    assert api.read(box, "in").text == "in\n"


def test_destroy_does_not_follow_links(api, box, host):
    api.output(box, f"ln -s {host} a; mkdir d; ln -s {host} d/b; chmod 000 d; rm -rf /tmp; ln -s {host} /tmp")
    assert api.delete(f"/sandboxes/{box}").status_code == 204
    assert_untouched(host)


def test_git_diff_does_not_run_programs_of_sandbox(api, box, git, tmp_path):
    api.output(
        box,
        "git init -q; printf '#!/bin/sh\\ntouch /workspace/ran\\n' > env; chmod +x env\n"
        "mkdir -p ~/.local/bin; cp env ~/.local/bin",
    )
    api.get(f"/sandboxes/{box}/git/diff")
    assert "ran" not in [entry["name"] for entry in api.listing(box).json()]


def members_of(api, snapshot):
    url = api.get(f"/snapshots/{snapshot}/download").json()["url"]
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(api.get(url).content))) as archive:
        return {member.name: member for member in archive}
