"""No path leads the filesystem tools of MCP out of /workspace: not to the host, and not to /root or /tmp either."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cases import each
from mcp_testing import Mcp

from caged.emulator.cage import disk, workspace

SECRET = "not for a sandbox to read"

#: HOST is a directory of the host that holds `secret`; so do /root and /tmp of the sandbox.
PATHS = [
    "../secret",
    "../root/secret",
    "../tmp/secret",
    "../../../../../../../../../../../..HOST/secret",
    "a/../../root/secret",
    "a/b/../../../tmp/secret",
    "./.././root/secret",
    ".//..//root//secret",
    "/root/secret",
    "/tmp/secret",
    "//root/secret",
    "/./root/secret",
    "/workspace/../root/secret",
    "/workspace/./../tmp/secret",
    "/workspace/a/../../root/secret",
    "/workspace/../workspace/../root/secret",
    "/workspace/../../../../../../../../..HOST/secret",
    "/workspace-sibling/secret",
    "/workspacesecret",
    "/workspace.bak/../root/secret",
    "HOST/secret",
    "//HOST/secret",
    "/workspace//..//HOST/secret",
    "/proc/self/root/HOST/secret",
    "/proc/self/cwd/../root/secret",
    "/proc/1/cwd",
    "/dev/fd/0",
    "/etc/hostname",
    "..",
    "/",
    "/..",
    "../workspace/../root/secret",
]
#: Commands that make a link `trap`, by which the secret would be `trap` itself.
FILES = {
    "absolute": "ln -s HOST/secret trap",
    "relative": "ln -s $(python3 -c 'print(\"../\" * 40)')HOST/secret trap",
    "home": "ln -s /root/secret trap",
    "home, relative": "ln -s ../root/secret trap",
    "tmp through a directory": "ln -s /tmp up; ln -s up/secret trap",
    "link to a link": "ln -s HOST/secret one; ln -s one trap",
    "through a directory link": "ln -s HOST dir; ln -s dir/secret trap",
    "out and in and out": "ln -s /workspace/../workspace/../root/secret trap",
    "through tmp and back out": "ln -s HOST/secret /tmp/one; ln -s /tmp/one trap",
    "proc root": "ln -s /proc/self/root/HOST/secret trap",
    "proc cwd": "ln -s /proc/self/cwd/../root/secret trap",
    "odd slashes": "ln -s //.//root//./secret trap",
    "long chain": "ln -s HOST/secret l0; for i in $(seq 30); do ln -s l$((i-1)) l$i; done; ln -s l30 trap",
    "etc": "ln -s /etc/hostname trap",
}
#: Commands that make a link `trap` to a directory, by which the secret would be `trap/secret`.
DIRECTORIES = {
    "absolute": "ln -s HOST trap",
    "with a slash": "ln -s HOST/ trap",
    "relative": "ln -s $(python3 -c 'print(\"../\" * 40)')HOST trap",
    "home": "ln -s /root trap",
    "tmp, relative": "ln -s ../tmp trap",
    "the top": "ln -s / trap",
    "the parent": "ln -s .. trap",
    "the parent, deeper": "mkdir d; ln -s ../.. d/up; ln -s d/up trap",
    "link to a link": "ln -s HOST one; ln -s one trap",
    "proc fd": "ln -s /proc/self/fd trap",
}
#: Removes what the link before has left.
CLEAN = "find /workspace -mindepth 1 -delete; rm -f /tmp/one"


@pytest.fixture
def host() -> Iterator[Path]:
    """A directory of the host. Not under /tmp: a path there means the sandbox's own /tmp."""
    with tempfile.TemporaryDirectory(prefix="host-of-a-caged-test-", dir="/var/tmp") as place:
        (Path(place) / "secret").write_text(SECRET)
        yield Path(place)


@pytest.fixture
def mcp(api, box):
    for place in ("/root", "/tmp"):
        assert api.write(box, f"{place}/secret", SECRET).status_code == 200
    return Mcp(api, box)


def calls(path):
    return [
        ("filesystem_read", {"path": path}),
        ("filesystem_list", {"path": path}),
        ("filesystem_list", {"path": os.path.dirname(path)}),
        ("filesystem_write", {"path": path, "content": "overwritten"}),
        ("filesystem_write", {"path": f"{path}/new/file", "content": "overwritten"}),
        ("filesystem_delete", {"path": path}),
        ("filesystem_delete", {"path": os.path.dirname(path)}),
    ]


def assert_untouched(api, box, host):
    assert {path.name: path.read_text() for path in host.iterdir()} == {"secret": SECRET}
    assert api.output(box, "cat /root/secret /tmp/secret") == SECRET * 2


def test_a_path_out_of_the_workspace_is_blocked(api, box, mcp, host):
    """All of them in one sandbox: what is blocked leaves nothing that the next could find."""
    before = api.output(box, "ls -A /root /tmp")
    for path in (path.replace("HOST", str(host)) for path in PATHS):
        for tool, arguments in (call for call in calls(path) if call[1]["path"] == path):
            assert mcp.failure(tool, **arguments) == f"path traversal blocked: {path}"
        for tool, arguments in calls(path):
            assert "secret" not in str(mcp.call(tool, **arguments)).replace(arguments["path"], ""), (tool, arguments)
        assert_untouched(api, box, host)
        assert api.output(box, "ls -A /root /tmp") == before, path


@each("command", FILES.values())
def test_a_link_to_a_file_outside_is_neither_read_nor_written_through(api, box, mcp, host, command):
    api.output(box, f"{CLEAN}; {command}".replace("HOST", str(host)))
    assert mcp.failure("filesystem_read", path="trap") == "path traversal blocked: trap"
    assert mcp.failure("filesystem_list", path="trap") == "path traversal blocked: trap"
    assert mcp.failure("filesystem_write", path="trap", content="x") == "path traversal blocked: trap"
    assert mcp.failure("filesystem_write", path="trap/new", content="x") == "path traversal blocked: trap/new"
    (entry,) = [entry for entry in mcp.structured("filesystem_list")["entries"] if entry["name"] == "trap"]
    assert (entry["type"], entry["size"] == len(SECRET)) == ("file", False)
    assert mcp.text("filesystem_delete", path="trap") == "deleted: trap"  # the link, not what it leads to
    assert api.output(box, "[ -L trap ] || echo gone") == "gone\n"
    assert_untouched(api, box, host)


@each("command", DIRECTORIES.values())
def test_a_link_to_a_directory_outside_is_not_entered(api, box, mcp, host, command):
    api.output(box, f"{CLEAN}; {command}".replace("HOST", str(host)))
    for path in ("trap", "trap/.", "trap/secret", "trap/root/secret", "trap/new/file", f"trap{host}/secret"):
        for tool in ("filesystem_read", "filesystem_list", "filesystem_write"):
            arguments = {"path": path, "content": "overwritten"} if tool == "filesystem_write" else {"path": path}
            assert SECRET not in mcp.failure(tool, **arguments)
    for path in ("trap/secret", "trap/root/secret", "trap/tmp", f"trap{host}"):
        mcp.call("filesystem_delete", path=path)
    assert "secret" not in mcp.text("filesystem_search", pattern="*")
    assert mcp.text("filesystem_delete", path="trap/") == "deleted: trap/"
    assert_untouched(api, box, host)


@each("command", DIRECTORIES.values())
def test_deleting_a_directory_does_not_follow_the_links_in_it(api, box, mcp, host, command):
    api.output(box, f"mkdir -p in/side; cd in/side; {command}; chmod 500 .".replace("HOST", str(host)))
    assert mcp.text("filesystem_delete", path="in") == "deleted: in"
    assert api.output(box, "ls -A") == ""
    assert_untouched(api, box, host)


def test_links_that_stay_inside_are_followed(api, box, mcp):
    api.output(box, "mkdir -p d/e; echo x > d/e/f; ln -s /workspace/d one; ln -s ../d/e d/two; ln -s d/two/f file")
    for path in ("one/e/f", "one/two/f", "file", "d/two/../e/f"):
        assert mcp.text("filesystem_read", path=path) == "x\n"
    mcp.text("filesystem_write", path="file", content="y")
    assert api.output(box, "cat d/e/f; [ -L file ] && echo link") == "ylink\n"


def test_a_workspace_that_was_replaced_by_a_link_is_not_followed(process_api, process_box, host):
    mcp = Mcp(process_api, process_box)
    process_api.output(process_box, f"cd /; rm -rf /workspace; ln -s {host} /workspace")
    for tool, arguments in calls("secret"):
        mcp.failure(tool, **arguments)
    mcp.failure("filesystem_search", pattern="*")
    assert {path.name: path.read_text() for path in host.iterdir()} == {"secret": SECRET}


def test_a_directory_swapped_for_a_link_again_and_again_is_never_followed(api, box, mcp, host):
    api.output(
        box,
        f"mkdir real; echo inside > real/secret; ln -s {host} evil\n"
        "(while [ ! -e stop ]; do mv -T real x; mv -T evil real; mv -T real evil; mv -T x real; done) &> /dev/null &",
    )
    answers = []
    for _ in range(60):
        answers.append(str(mcp.call("filesystem_read", path="real/secret")))
        answers.append(str(mcp.call("filesystem_search", pattern="sec*")))
        mcp.call("filesystem_list", path="real")
        mcp.call("filesystem_write", path="real/secret", content="inside\n")
        mcp.call("filesystem_delete", path="real/secret")
        mcp.call("filesystem_write", path="real/d/secret", content="inside\n")
        mcp.call("filesystem_delete", path="real/d")
    mcp.text("filesystem_write", path="stop", content="")
    assert not [text for text in answers if SECRET in text]
    assert_untouched(api, box, host)


def test_letting_oneself_into_a_directory_changes_no_mode_behind_a_link(tmp_path, host):
    host.chmod(0o500)
    (tmp_path / "link").symlink_to(host)
    directory = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(NotADirectoryError):
            disk.unlock("link", directory)
    finally:
        os.close(directory)
    assert host.stat().st_mode & 0o777 == 0o500


def test_a_directory_that_is_filled_while_it_is_deleted_ends_in_one_way_or_the_other(api, box, mcp, monkeypatch):
    monkeypatch.setattr(workspace, "DELETE_SECONDS", 0.5)
    api.output(box, "mkdir d; (while [ ! -e stop ]; do mkdir -p d/$RANDOM/$RANDOM; done) &> /dev/null &")
    result = mcp.call("filesystem_delete", path="d")
    assert "deleted" in str(result) or "not empty" in str(result)
    mcp.text("filesystem_write", path="stop", content="")
