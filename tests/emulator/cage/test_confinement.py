"""Neither `..` nor a link of any kind leads the file API, or a snapshot, to a file of the host.

In `process` isolation a command may read what its user may read; these are about what the emulator does itself.
"""

import contextlib
import gzip
import io
import os
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from emulator_testing import assert_problem

from caged.emulator import Emulator

SECRET = "the host's own"

#: Commands that lay a trap at /workspace/trap. HOST is a directory of the host that holds `secret`.
LINKS = {
    "absolute link": "ln -s HOST/secret trap",
    "relative link": "ln -s $(python3 -c 'print(\"../\" * 40)')HOST/secret trap",
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
    "long chain": "ln -s HOST/secret l0; for i in $(seq 30); do ln -s l$((i-1)) l$i; done; ln -s l30 trap",
    "link to etc": "ln -s /etc/hostname trap",
    "link to the emulator's lock": "ln -s ../../../lock trap",
}
DIRECTORIES = {
    "absolute link": "ln -s HOST trap",
    "relative link": "ln -s $(python3 -c 'print(\"../\" * 40)')HOST trap",
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
    """A directory of the host. Not under /tmp: a path there means the sandbox's own /tmp."""
    with host_directory() as place:
        yield place


@pytest.fixture
def host_on_same_disk(process_emulator: Emulator) -> Iterator[Path]:
    """A directory of the host on the file system of the sandboxes, where hard links lead from one to the other."""
    beside = process_emulator.run_dir.parent
    base = "/var/tmp" if os.stat("/var/tmp").st_dev == os.stat(beside).st_dev else str(beside)
    with host_directory(base) as place:
        yield place


@pytest.fixture
def trap(api, box, host):
    """Lays a trap and checks that the command did it."""

    def lay(command):
        api.output(box, command.replace("HOST", str(host)))
        assert os.path.lexists(api.emulator.run_dir / "sandboxes" / box / "workspace" / "trap")

    return lay


def assert_untouched(host: Path) -> None:
    assert {path.name: path.read_text() for path in host.iterdir()} == {"secret": SECRET}


@pytest.mark.parametrize("command", LINKS.values(), ids=LINKS)
def test_no_link_is_read_through(api, box, host, trap, command):
    trap(command)
    response = api.read(box, "trap")
    # What the sandbox's own commands do not find either is not there.
    if response.status_code == 400:
        assert_problem(response, 400, "outside", "path_outside_sandbox")
        assert api.run(box, "test -e trap")["exit_code"] == 0
    else:
        assert_problem(response, 404, "no such file")
        assert api.run(box, "test -e trap")["exit_code"] == 1
    assert SECRET not in response.text


@pytest.mark.parametrize("command", LINKS.values(), ids=LINKS)
def test_no_link_is_written_through(api, box, host, trap, command):
    trap(command)
    assert_problem(api.write(box, "trap", "overwritten"), 400, "outside", "path_outside_sandbox")
    assert_untouched(host)


@pytest.mark.parametrize("command", LINKS.values(), ids=LINKS)
def test_a_listing_tells_nothing_of_what_a_link_hides(api, box, host, trap, command):
    (host / "secret").write_text(SECRET * 50)
    trap(command)
    (entry,) = [entry for entry in api.listing(box).json() if entry["name"] == "trap"]
    assert (entry["type"], entry["size"] == len(SECRET * 50)) == ("file", False)


@pytest.mark.parametrize("command", DIRECTORIES.values(), ids=DIRECTORIES)
def test_no_directory_link_is_listed_read_written_or_entered(api, box, host, trap, command):
    trap(command)
    for path in ("trap", "trap/", "trap/."):
        listing = api.listing(box, path)
        # A link to the top shows the top of the sandbox, as `/` does.
        top = listing.status_code == 200 and [entry["name"] for entry in listing.json()] == ["root", "tmp", "workspace"]
        assert top or listing.status_code in (400, 404)
    for path in ("trap/secret", "trap/../secret", f"trap/{host}/secret", "trap/new/file"):
        assert api.read(box, path).status_code in (400, 404)
        assert api.write(box, path, "overwritten").status_code == 400
    assert_untouched(host)


@pytest.mark.parametrize("command", DIRECTORIES.values(), ids=DIRECTORIES)
def test_git_does_not_look_behind_a_directory_link(api, box, host, trap, git, command):
    git("init", "-q", cwd=host)
    trap(command)
    response = api.get(f"/sandboxes/{box}/git/diff", params={"path": "trap"})
    assert "secret" not in response.text


@pytest.mark.parametrize("path", PATHS)
def test_no_path_leads_out(api, box, host, path):
    path = path.replace("HOST", str(host))
    for response in (api.read(box, path), api.write(box, path, "overwritten"), api.listing(box, path)):
        assert SECRET not in response.text
    assert_untouched(host)


@pytest.mark.parametrize("path", PATHS)
def test_no_path_lists_what_is_outside(api, box, host, path):
    directory = os.path.dirname(path.replace("HOST", str(host)))
    response = api.listing(box, directory)
    assert response.status_code in (400, 404) or "secret" not in [entry["name"] for entry in response.json()]


@pytest.mark.parametrize("place", ["/workspace", "/root", "/tmp"])
def test_a_place_replaced_by_a_link_is_not_followed(process_api, process_box, host, place):
    api, box = process_api, process_box
    api.output(box, f"rm -rf {place}; ln -s {host} {place}")
    assert api.read(box, f"{place}/secret").status_code in (400, 404)
    assert api.write(box, f"{place}/secret", "overwritten").status_code in (400, 404)
    assert api.listing(box, place).status_code in (400, 404)
    assert "secret" not in api.get(f"/sandboxes/{box}/git/diff").text
    assert_untouched(host)


@pytest.mark.parametrize("up", ["../..", '"$(dirname "$(dirname "$(readlink -f .)")")"'])
def test_a_link_to_a_neighbour_reaches_nothing_of_it(api, box, up):
    neighbour = api.sandbox()
    api.write(neighbour, "secret", SECRET)
    api.output(box, f"ln -s {up}/{neighbour}/workspace/secret trap")
    assert api.read(box, "trap").status_code in (400, 404)
    api.write(box, "trap", "overwritten")
    assert api.read(neighbour, "secret").text == SECRET


def test_a_directory_swapped_for_a_link_again_and_again_is_never_followed(api, box, host):
    api.output(
        box,
        f"mkdir real; echo inside > real/secret; cp -r real spare; ln -s {host} evil\n"
        "(while [ ! -e stop ]; do mv -T real x; mv -T evil real; mv -T real evil; mv -T x real; done) &> /dev/null &",
    )
    seen = set()
    for _ in range(150):
        seen.add(api.read(box, "real/secret").text)
        api.write(box, "real/secret", "inside\n")
        api.listing(box, "real")
    api.write(box, "stop", "")
    assert not [text for text in seen if SECRET in text]
    assert_untouched(host)


def test_a_write_to_a_hard_link_of_a_host_file_leaves_that_alone(process_api, process_box, host_on_same_disk):
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


def test_a_snapshot_keeps_links_as_links(api, box, host):
    api.output(box, f"ln -s {host}/secret file; ln -s {host} dir; ln -s /etc etc")
    members = members_of(api, api.snapshot(box))
    assert {name for name, member in members.items() if member.issym()} == {"./file", "./dir", "./etc"}
    assert set(members) == {".", "./file", "./dir", "./etc"}


@pytest.mark.parametrize("target", ["HOST", "/etc", "/"])
def test_a_snapshot_does_not_follow_a_workspace_that_is_a_link(process_api, process_box, host, target):
    api, box = process_api, process_box
    api.output(box, f"rm -rf /workspace; ln -s {target.replace('HOST', str(host))} /workspace")
    made = api.post(f"/sandboxes/{box}/snapshots").json()["id"]
    assert api.settled(made)["status"] == "failed"
    assert "not a directory" in api.log_text(box)


def test_a_restore_does_not_empty_what_a_workspace_link_leads_to(process_api, process_box, host):
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
def test_a_restore_makes_a_lost_workspace_anew(api, box, ground):
    api.write(box, "kept", "x")
    snapshot = api.snapshot(box)
    api.run(box, ground)
    assert api.restore(snapshot, box).status_code == 200
    assert api.output(box, "pwd; ls -A") == "/workspace\nkept\n"


def test_a_restored_link_leads_nowhere_new(api, box, host):
    api.output(box, f"ln -s {host}/secret out; ln -s /workspace/in in2; echo in > in")
    target = api.sandbox()
    assert api.restore(api.snapshot(box), target).status_code == 200
    assert api.read(target, "out").status_code in (400, 404)
    assert api.read(target, "in2").text == "in\n"
    api.write(target, "in", "target's own")
    assert api.output(target, "cat in2") == "target's own"
    assert api.read(box, "in").text == "in\n"


def test_removing_a_sandbox_does_not_follow_its_links(api, box, host):
    api.output(box, f"ln -s {host} a; mkdir d; ln -s {host} d/b; chmod 000 d; rm -rf /tmp; ln -s {host} /tmp")
    assert api.delete(f"/sandboxes/{box}").status_code == 204
    assert_untouched(host)


def test_a_program_called_git_in_the_workspace_is_not_run_by_the_emulator(api, box, git, tmp_path):
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
