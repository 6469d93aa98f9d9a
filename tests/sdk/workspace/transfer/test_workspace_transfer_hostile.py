"""What a hostile sandbox sends changes nothing outside of the target."""

from __future__ import annotations

import io
import itertools
import os
import re
import shlex
import tarfile

import pytest
from cases import each
from transfer_testing import host_path, look, replace_program
from workspace_testing import new_sandbox

from caged import CagedError, CagedPathError

_numbers = itertools.count()


@each(
    "target, path",
    [
        ("/etc/passwd", "l"),
        ("..", "l"),
        ("../..", "d/l"),
        ("../../x", "d/l"),
        ("../cheapest", "l"),
        ("d/../../x", "l"),
        ("d/../e", "l"),
        ("/", "l"),
        ("{folder}x", "l"),
        ("{folder}/../x", "l"),
    ],
)
def test_link_that_leads_out_is_refused(process_box, tmp_path, target, path):
    folder = f"/workspace/links-{next(_numbers)}"
    link = shlex.join(["ln", "-s", target.format(folder=folder), f"{folder}/{path}"])
    process_box.run(f"mkdir -p {folder}/d && {link}", check=True)

    with pytest.raises(CagedPathError, match="leave it out with ignore") as caught:
        process_box.download(folder, tmp_path / "out" / "x")

    assert caught.value.path == f"{folder}/{path}"
    assert not (tmp_path / "out").exists()
    process_box.download(folder, tmp_path / "x", ignore=["l"])
    process_box.remove(folder, recursive=True)


def test_links_that_stay_inside_are_kept(process_box, cheap, tmp_path):
    process_box.write(f"{cheap}/d/e/f", "x")
    links = {"a": "d/e/f", "d/b": "../d/e", "d/e/c": "../..", "d/e/g": "f", "self": ".", "none": "d/none"}
    for path, target in {**links, "absolute": f"{cheap}/d/e/f", "d/up": cheap}.items():
        process_box.run(["ln", "-s", target, f"{cheap}/{path}"], check=True)

    process_box.download(cheap, tmp_path / "x")

    expected = {**links, "absolute": "d/e/f", "d/up": ".."}
    assert {name: known[1] for name, known in look(tmp_path / "x").items() if known[0] == "link"} == expected


def test_link_in_target_is_not_followed(process_box, cheap, tmp_path):
    """A sandbox that knows of a link in the target cannot write through it."""
    process_box.write(f"{cheap}/link/f", "evil")
    process_box.write(f"{cheap}/file", "new")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "g").write_text("kept")
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "link").symlink_to("../outside")

    with pytest.raises(NotADirectoryError):
        process_box.download(cheap, tmp_path / "target")
    process_box.remove(f"{cheap}/link", recursive=True)
    (tmp_path / "target" / "file").symlink_to("../outside/g")
    process_box.download(cheap, tmp_path / "target")

    assert look(tmp_path / "outside") == {"g": look(tmp_path / "outside")["g"]}
    assert (tmp_path / "outside" / "g").read_text() == "kept"
    assert ((tmp_path / "target" / "file").read_text(), (tmp_path / "target" / "file").is_symlink()) == ("new", False)


FILE, DIRECTORY, LINK = "81a4", "41ed", "a1ff"


def record(path, mode=FILE, size=1):
    return f"S{mode} {size} 1000000000 0 0 root root {path}"


BAD_LISTS = [
    [record("/workspace/d/../../outside")],
    [record("/workspace/d/..")],
    [record("/workspace/d/./f")],
    [record("/workspace/d//f")],
    [record("/workspace/d/")],
    [record("/outside/f")],
    [record("/workspace/dx")],
    [record("relative")],
    [record("/workspace/d/missing/f")],
    [record("/workspace/d/f"), record("/workspace/d/f/g")],
    [record("/workspace/d/l", LINK), "L/workspace/d/l", "Td", record("/workspace/d/l/f")],
    [record("/workspace/d/l", LINK), "L/workspace/d/l", "T../../outside"],
    [record("/workspace/d/l", LINK), "L/workspace/d/l", "T"],
    [record("/workspace/d/l", LINK)],
    [record("/workspace/d/x", DIRECTORY), record("/workspace/d/x/..", DIRECTORY)],
    ["Sgarbage"],
    ["Xgarbage"],
    [record("/workspace/d/f", size="many")],
    [record("/workspace/d/f", mode="zz")],
]


def test_forged_directory_listing_is_refused(own_box, tmp_path):
    own_box.write("/workspace/d/f", "x")
    replace_program(
        own_box,
        "stat",
        'case "$2" in *S%f*) ;; *) exec /usr/bin/stat "$@";; esac\nk=${2%%S*}\n'
        f'while read -r line;do echo "$k$line";done <{host_path(own_box, "/workspace")}/records\n',
    )
    replace_program(own_box, "tar", "exit 0\n")
    for number, records in enumerate(BAD_LISTS):
        own_box.write("records", "".join(f"{line}\n" for line in records))

        with pytest.raises(CagedError) as caught:
            own_box.download("/workspace/d", tmp_path / "a" / "target")

        message = str(caught.value)
        assert re.search(r"the sandbox lists|has an entry that cannot be read|leads out", message), (
            number,
            message,
        )
        assert look(tmp_path).keys() <= {"a"}, number


def archive(*members):
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.GNU_FORMAT) as writer:
        for name, kind, target in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            info.size = 4 if kind == tarfile.REGTYPE else 0
            writer.addfile(info, io.BytesIO(b"evil"))
    return made.getvalue()


def test_archive_writes_only_what_was_requested(own_box, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    target = tmp_path / "a" / "target"
    own_box.write("/workspace/d/f", "x")
    good = ("./f", tarfile.REGTYPE, "")
    hostile = [
        ("../../outside/x", tarfile.REGTYPE, ""),
        (f"{outside}/x", tarfile.REGTYPE, ""),
        ("./../x", tarfile.REGTYPE, ""),
        ("./g", tarfile.SYMTYPE, str(outside)),
        ("./g/x", tarfile.REGTYPE, ""),
        ("./g", tarfile.CHRTYPE, ""),
        ("./p", tarfile.FIFOTYPE, ""),
        ("./h", tarfile.LNKTYPE, str(outside)),
        ("./h2", tarfile.LNKTYPE, "./nothing"),
        ("", tarfile.REGTYPE, ""),
        ("..", tarfile.DIRTYPE, ""),
    ]
    own_box.write("archive", archive(good, *hostile))
    replace_program(own_box, "tar", f"cat {host_path(own_box, '/workspace')}/archive\n")

    own_box.download("/workspace/d", target)

    assert {name: known[2] for name, known in look(target).items()} == {"f": b"evil"}
    assert look(tmp_path).keys() == {"outside", "a", "a/target", "a/target/f"}


BAD_ARCHIVES = [
    b"",
    b"garbage",
    b"\xff" * 2048,
    archive(("./g", tarfile.REGTYPE, "")),
    archive(("./f", tarfile.SYMTYPE, "/etc/passwd")),
    archive(("./f", tarfile.CHRTYPE, "")),
    archive(("./f", tarfile.DIRTYPE, "")),
    archive(("./f", tarfile.LNKTYPE, "/etc/passwd")),
    archive(("./f", tarfile.LNKTYPE, "./f")),
    archive(("./f", tarfile.REGTYPE, ""))[:514],
    tarfile.TarInfo("./f").tobuf()[:124] + b"\x80" + b"\xff" * 11 + tarfile.TarInfo("./f").tobuf()[136:],
]


def test_archive_without_requested_file_is_an_error(process_box, cheap, tmp_path):
    process_box.write(f"{cheap}/d/f", "x")
    replace_program(process_box, "tar", f"cat {host_path(process_box, cheap)}/archive\n")
    try:
        for number, content in enumerate(BAD_ARCHIVES):
            process_box.write(f"{cheap}/archive", content)
            with pytest.raises(CagedPathError) as caught:
                process_box.download(f"{cheap}/d", tmp_path / "a" / "target")
            assert caught.value.path == f"{cheap}/d/f", number
    finally:
        process_box.remove("/root/.local/bin/tar")

    assert os.listdir(tmp_path / "a") == []


def test_download_of_a_directory_without_tar_says_that_it_is_missing(places, tmp_path):
    with new_sandbox(places.served("namespace-sync")) as sandbox_id:
        box = places.bind("namespace-sync", sandbox_id, "sync")
        box.write("d/f", "x")
        box.run("rm -f $(which -a tar)", check=True)

        with pytest.raises(CagedPathError, match="tar, which reads directories, is not installed") as caught:
            box.download("d", tmp_path / "d")
        box.download("d/f", tmp_path / "f")

    assert (caught.value.path, os.listdir(tmp_path)) == ("/workspace/d", ["f"])
