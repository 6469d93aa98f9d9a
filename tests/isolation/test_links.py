"""The file API follows no link to a file outside of the sandbox: 20 kinds of links, and one swapped meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from levels import SECRET, Served

from caged import CagedAPIError

# shape -> (commands that create it, path given to the file API). {out}: a directory of the host that the emulator's
# user can read and write and that contains `file`. {dots}: enough `../` to reach the root from anywhere.
SHAPES = {
    "absolute_to_a_file": ("ln -s {out}/file bait", "bait"),
    "absolute_to_a_directory": ("ln -s {out} bait", "bait/file"),
    "absolute_to_the_root": ("ln -s / bait", "bait{out_plain}/file"),
    "relative_to_a_file": ("ln -s {dots}{out_plain}/file bait", "bait"),
    "relative_to_a_directory": ("ln -s {dots}{out_plain} bait", "bait/file"),
    "relative_upwards_only": ("ln -s {dots} bait", "bait{out_plain}/file"),
    "one_up_from_the_place": ("ln -s .. bait", "bait/../../../..{out_plain}/file"),
    "dots_behind_a_link": ("mkdir d; ln -s d bait", "bait/{dots}{out_plain}/file"),
    "dots_in_the_path_alone": ("true", "{dots}{out_plain}/file"),
    "chained": ("ln -s {out} a; ln -s a b; ln -s /workspace/b c; ln -s ./c/. bait", "bait/file"),
    "chained_through_directories": ("mkdir -p x/y; ln -s {out} x/y/z; ln -s x/y d; ln -s d/z bait", "bait/file"),
    "through_proc_self_root": ("ln -s /proc/self/root{out_plain} bait", "bait/file"),
    "through_proc_1_root": ("ln -s /proc/1/root{out_plain}/file bait", "bait"),
    "through_proc_thread_self_cwd": ("ln -s /proc/thread-self/cwd/{dots}{out_plain} bait", "bait/file"),
    "through_proc_self_fd": ("ln -s /proc/self/fd/3 bait", "bait"),
    "through_dev_fd": ("ln -s /dev/fd/3 bait", "bait"),
    "in_the_home": ("ln -s {out} /root/bait", "/root/bait/file"),
    "in_tmp": ("ln -s {out}/file /tmp/bait", "/tmp/bait"),
    "place_itself_replaced": ("cd /; ln -s {out} /workspace/l; mv -T /workspace/l /tmp/../workspace/bait", "bait/file"),
    "trailing_slashes_and_dots": ("ln -s {out} bait", "./bait/.//./file"),
    "loop": ("ln -s b a; ln -s a b; ln -s a bait", "bait/file"),
    "hard_link": ("ln {out}/file bait || ln -s {out}/file bait", "bait"),
}


@pytest.fixture
def out(anywhere: Served) -> Iterator[Path]:
    """A directory next to those of the sandboxes, on the same file system."""
    place = anywhere.home / "out"
    place.mkdir(exist_ok=True)
    place.chmod(0o777)
    (place / "file").write_text(SECRET)
    (place / "file").chmod(0o666)
    yield place
    assert [path.name for path in place.iterdir()] == ["file"], "the file API wrote outside"


def try_every_call(served: Served, box: str, path: str) -> list[object]:
    """Read, list and write the path. Returns the responses, or the statuses of refusals."""
    answers: list[object] = []
    for call in (
        lambda: served.client.files.read(box, path),
        lambda: [entry.name for entry in served.client.files.list(box, path.rpartition("/")[0] or ".")],
        lambda: [entry.name for entry in served.client.files.list(box, path)],
        lambda: served.client.files.write(box, path, "overwritten"),
        lambda: served.client.files.write(box, f"{path}/below/it", "overwritten"),
    ):
        try:
            answers.append(call())
        except CagedAPIError as error:
            answers.append(error.status)
    return answers


# The file API walks the sandbox's directory on the host in the same way at every level. Two are enough: with commands
# in a namespace and outside of any.
@pytest.mark.parametrize("anywhere", ["namespace", "process"], indirect=True)
def test_link_to_file_outside_is_not_followed(anywhere: Served, box: str, out: Path) -> None:
    """All shapes in one sandbox, which is emptied after each."""
    names = {"out": f"/''{str(out)[1:]}", "out_plain": str(out), "dots": "../" * 24 + "."}
    empty = "cd /workspace && rm -rf -- ..?* .[!.]* * /root/bait /tmp/bait && ls -A && cd /workspace && echo emptied"
    for shape, (plant, path) in SHAPES.items():
        if shape == "hard_link" and anywhere.level == "process":
            continue  # at level `process` a command can hard-link any file, but it can also read the file
        command = f"{empty}; exec 3< /''etc/hostname; {plant.format(**names)}"
        assert anywhere.client.sandboxes.exec(box, command).output.startswith("emptied\n"), shape
        answers = try_every_call(anywhere, box, path.format(**names))
        assert SECRET not in str(answers), shape
        assert 500 not in answers, shape
        assert (out / "file").read_text() == SECRET, shape
    assert anywhere.run(box, "echo alive") == "alive\n"


SWAP_FILE = """
import os
while not os.path.exists("stop"):
    os.link("real", "next")
    os.rename("next", "bait")
    os.symlink("{out}/file", "next")
    os.rename("next", "bait")
"""
# A write may create a directory while there is none: move that away.
SWAP_DIRECTORY = """
import os, itertools
for number in itertools.count():
    if os.path.exists("stop"):
        break
    try:
        os.rename("real", "bait")
        for _ in range(100):
            os.stat("bait")
        os.rename("bait", "real")
        os.symlink("{out}", "bait")
        os.unlink("bait")
    except OSError:
        os.rename("bait", "in-the-way-%d" % number)
"""


SWAPS = {
    "file": ("echo inside > real", SWAP_FILE, "bait"),
    "directory": ("mkdir real; echo inside > real/file", SWAP_DIRECTORY, "bait/file"),
}


# Half a second, so that the race can happen.
@pytest.mark.parametrize(
    ("anywhere", "swap"),
    [("namespace", "file"), ("process", "directory")],
    indirect=["anywhere"],
)
def test_link_swapped_during_access_is_not_followed(anywhere: Served, box: str, out: Path, swap: str) -> None:
    plant, script, path = SWAPS[swap]
    anywhere.client.files.write(box, "swap.py", script.format(out=out))
    anywhere.run(box, plant)
    swapping = threading.Thread(target=anywhere.client.sandboxes.exec, args=(box, "exec python3 swap.py"))
    swapping.start()
    seen: set[object] = set()
    begun = time.monotonic()
    # On a busy machine it may take long until the real file is seen.
    while time.monotonic() < begun + 0.4 or (
        ("inside\n" not in seen or len(seen) < 2) and time.monotonic() < begun + 30
    ):
        try:
            seen.add(anywhere.client.files.read(box, path))
        except CagedAPIError as error:
            seen.add(error.status)
    deadline = time.monotonic() + 0.2
    while time.monotonic() < deadline:
        try:
            anywhere.client.files.write(box, path, "inside, by the file API")
        except CagedAPIError as error:
            seen.add(error.status)
    anywhere.client.files.write(box, "stop", "")
    swapping.join(60)
    assert not swapping.is_alive()
    assert "inside\n" in seen, "the race was never won by the real file"
    assert len(seen) > 1, f"nothing was swapped: {seen}"
    assert seen <= {"inside\n", "inside, by the file API", 403, 404, 400}
    assert (out / "file").read_text() == SECRET
