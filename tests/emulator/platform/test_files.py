"""Reading, writing and listing files, and that the shell sees the same."""

import os
import threading

import pytest
from cases import each
from emulator_testing import assert_problem, require_own_root

from caged import Caged, CagedNotFoundError, CagedValidationError
from caged.emulator.control.clock import rfc3339


@pytest.mark.shared_sandbox
@each("content", ["", "text", "ä€😀", "a\r\nb\n", "\0", "\ufeffbom", "x" * (1 << 20), "\u2028\u0085"])
def test_what_is_written_is_read(api, box, content):
    assert api.write(box, "file", content).status_code == 200
    response = api.read(box, "file")
    assert response.content == content.encode()
    assert response.headers["content-type"] == "text/plain; charset=utf-8"


@pytest.mark.shared_sandbox
@each("path", ["/workspace/a/b.txt", "a/b.txt", "./a//b.txt", "/root/x", "/tmp/x", "/workspace/../tmp/y"])
def test_a_write_answers_with_the_path_as_given(api, box, path):
    response = api.write(box, path, "x")
    assert (response.status_code, response.json()) == (200, {"status": "ok", "path": path})


@pytest.mark.shared_sandbox
@each(
    ("written", "in_the_shell"),
    [
        ("f", "/workspace/f"),
        ("/workspace/f", "f"),
        ("a/b/c", "a/b/c"),
        ("./f", "f"),
        ("a/../f", "f"),
        ("/workspace/./a//f", "a/f"),
        ("/root/f", "~/f"),
        ("/tmp/f", "$TMPDIR/f"),
        ("/workspace/../root/f", "/root/f"),
        ("/../workspace/f", "f"),
        ("a b", "'a b'"),
        ("ä😀", "ä😀"),
        ("-rf", "./-rf"),
        ("a\nb", "$'a\\nb'"),
        ("a\\b", "'a\\b'"),
        ("*", "'*'"),
        ("~", "./~"),
        ("$HOME", "'$HOME'"),
        ("%41", "%41"),
        ("a+b&c=d?e#f", "'a+b&c=d?e#f'"),
        (" ", "' '"),
        ("...", "./..."),
        ("x" * 255, "x" * 255),
    ],
)
def test_the_shell_and_the_file_api_agree_on_a_path(api, box, written, in_the_shell):
    if written == "a/../f":
        api.output(box, "mkdir -p a")
    assert api.write(box, written, "same").status_code == 200
    assert api.output(box, f"cat {in_the_shell}") == "same"
    assert api.read(box, written).text == "same"


def test_a_file_made_by_the_shell_is_read_byte_for_byte(api, box):
    api.output(box, r"printf 'a\xff\0\xfeb' > bytes")
    assert api.read(box, "bytes").content == b"a\xff\0\xfeb"


@pytest.mark.shared_sandbox
@pytest.mark.parametrize("method", ["GET", "PUT"])
@pytest.mark.parametrize("query", ["", "?path=", "?other=x"])
def test_a_missing_path_is_a_400_in_the_platforms_words(api, box, method, query):
    body = {"content": "x"} if method == "PUT" else None
    response = api.request(method, f"/sandboxes/{box}/files/content{query}", json=body)
    assert_problem(response, 400)
    assert response.json()["detail"] == "missing path parameter"


def test_a_path_in_the_body_does_not_count(api, box):
    response = api.put(f"/sandboxes/{box}/files/content", json={"path": "f", "content": "x"})
    assert_problem(response, 400, "missing path parameter")
    assert api.listing(box).json() == []


@each("body", [{}, {"content": None}, {"content": 1}, {"content": ["x"]}, {"text": "x"}])
def test_content_must_be_a_string(api, box, body):
    assert_problem(api.put(f"/sandboxes/{box}/files/content", params={"path": "f"}, json=body), 400, "content")
    assert api.listing(box).json() == []


@pytest.mark.shared_sandbox
@each("path", ["missing", "/workspace/missing/b", "/root/missing", "missing/../x", "%", "\ufffd"])
def test_a_missing_file_is_a_404(api, box, path):
    assert_problem(api.read(box, path), 404, path)
    assert_problem(api.listing(box, path), 404, path)


@pytest.mark.shared_sandbox
@each("path", ["/workspace", "/workspace/", ".", "dir", "dir/", "dir/.", "dir/..", "link", "/tmp", "/root"])
def test_a_directory_is_not_read_or_written(api, box, path):
    api.output(box, "mkdir -p dir; ln -sfn dir link")
    assert_problem(api.read(box, path), 400, "directory")
    assert_problem(api.write(box, path, "x"), 400, "directory")
    assert api.output(box, "ls -A dir") == ""


@pytest.mark.shared_sandbox
@each("path", ["file", "file/", "file/.", "to-file"])
def test_a_file_is_not_listed(api, box, path):
    api.output(box, "echo x > file; ln -sfn file to-file")
    assert_problem(api.listing(box, path), 400, "directory")


@pytest.mark.shared_sandbox
@each("path", ["file/", "file/.", "file/x", "file/..", "file/../file"])
def test_a_file_is_not_a_directory_on_the_way_either(api, box, path):
    api.write(box, "file", "x")
    assert api.run(box, f"cat {path}")["exit_code"] != 0
    assert_problem(api.read(box, path), 400, "directory")


@each("path", ["new/", "a/b/"])
def test_a_write_to_a_path_that_says_directory_makes_nothing(api, box, path):
    assert_problem(api.write(box, path, "x"), 400, "directory")
    assert api.listing(box).json() == []


@pytest.mark.shared_sandbox
@each("path", ["a\0b", "\0", "/workspace/\0"])
def test_a_nul_in_a_path_is_a_400(api, box, path):
    assert_problem(api.read(box, path), 400, "NUL")
    assert_problem(api.write(box, path, "x"), 400, "NUL")
    assert_problem(api.listing(box, path), 400, "NUL")


@pytest.mark.shared_sandbox
@each("path", ["x" * 256, "d/" * 3000 + "f", "ä" * 200])
def test_a_path_too_long_for_the_kernel_is_a_400(api, box, path):
    assert_problem(api.read(box, path), 400, "too long")
    assert_problem(api.write(box, path, "x"), 400, "too long")


def test_a_path_of_a_thousand_levels_does_not_take_all_descriptors(api, box):
    before = len(os.listdir("/proc/self/fd"))
    most = [before]

    def count():
        while threads[0].is_alive():
            most[0] = max(most[0], len(os.listdir("/proc/self/fd")))

    threads = [
        threading.Thread(target=lambda: api.write(box, "d/" * 1000 + "f", "deep")),
        threading.Thread(target=count),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert api.read(box, "d/" * 1000 + "f").text == "deep"
    assert most[0] < before + 100


def assert_outside(api, box, path):
    """The path cannot be used, and the answer says whether a command finds it."""
    code = "path_outside_sandbox" if path.strip("/.") else None  # `/` is a directory that can be listed
    assert_problem(api.write(box, path, "x"), 400, code=code)
    there = api.run(box, f"test -e {path}")["exit_code"] == 0
    answer = api.read(box, path)
    if there:
        assert_problem(answer, 400, path, code)
    else:
        assert_problem(answer, 404, f"no such file or directory: {path}")


@pytest.mark.shared_sandbox
@each("path", ["/", "/proc/self/environ", "/sys/kernel/new", "/dev/null", "/dev/shm/new", "/.."])
def test_files_of_the_kernel_are_a_400(api, box, path):
    assert_outside(api, box, path)


@pytest.mark.shared_sandbox
@each("path", ["/proc/self/environ", "/sys/kernel/new", "/dev/shm/new"])
def test_refusal_of_a_file_of_the_kernel_says_what_can_be_used(api, box, path):
    if api.emulator.isolation == "process":
        usable = "a path below /workspace, /root or /tmp"
    else:
        usable = "a path that is not in /proc, /sys, /dev or another file system of the kernel's own"
    detail = f"{path} is outside the sandbox's files; use {usable}, or exec"
    assert_problem(api.write(box, path, "x"), 400, detail, "path_outside_sandbox")


def test_at_level_process_a_path_outside_the_writable_places_is_a_400(process_api, process_box):
    for path in ("/", "/etc/passwd", "/usr/new", "/proc/self/environ", "/workspacex/f", "/opt/caged/bin/x", "/.."):
        assert_outside(process_api, process_box, path)


@pytest.mark.shared_sandbox
@each("path", ["/nothing", "/nothing/here", "/etc/nothing", "/workspacex", "/workspace/../nothing"])
def test_a_path_that_does_not_exist_is_a_404_wherever_it_would_be(api, box, path):
    for answer in (api.read(box, path), api.listing(box, path)):
        assert_problem(answer, 404, "no such file or directory")


def test_an_existing_directory_outside_cannot_be_listed_and_the_refusal_says_what_can(process_api, process_box):
    api, box = process_api, process_box
    assert_problem(api.listing(box, "/etc"), 400, "/workspace, /root or /tmp, or exec", "path_outside_sandbox")
    api.output(box, "ln -s /etc out; ln -s /etc/nothing dangling")
    assert_problem(api.listing(box, "out"), 400, code="path_outside_sandbox")
    assert_problem(api.read(box, "out/nothing"), 404)
    assert_problem(api.read(box, "dangling"), 404)


def test_a_look_whether_a_path_exists_leaves_no_trace(process_api, process_box):
    """It is not a command of a client: not in the log, the journal or the events, nor an option of `test`."""
    api, box = process_api, process_box
    before = api.logs(box)
    for path in ("/etc/hostname", "/nothing", "/-e", "/it's", '/"; touch /workspace/trace; "', "/$(touch trace)"):
        assert api.read(box, path).status_code in (400, 404)
    assert api.logs(box) == before
    assert api.emulator.journal.commands(account=api.account_id) == []
    assert api.listing(box).json() == []


def test_a_path_outside_is_a_validation_error_to_the_sdk(api, box):
    with Caged(api.key, api.emulator.base_url) as caged:
        with pytest.raises(CagedValidationError) as refused:
            caged.files.write(box, "/proc/motd", "x")
        assert refused.value.reason.code == "path_outside_sandbox"
        with pytest.raises(CagedNotFoundError):
            caged.files.read(box, "/nothing")


def test_a_file_of_1_mib_is_read_and_a_larger_one_is_refused(api, box):
    api.output(box, "head -c 1048576 /dev/zero > most; head -c 1048577 /dev/zero > more")
    assert len(api.read(box, "most").content) == 1048576
    assert_problem(api.read(box, "more"), 400, "1 MiB", "file_too_large")


@each("kind", ["mkfifo odd", "python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"odd\")'"])
def test_what_is_not_a_regular_file_is_a_400_and_does_not_block(api, box, kind):
    api.output(box, f"rm -f odd; {kind}")
    assert_problem(api.read(box, "odd"), 400)
    assert_problem(api.write(box, "odd", "x"), 400, "regular file")
    assert [entry["name"] for entry in api.listing(box).json()] == ["odd"]


# --- writing


@pytest.mark.shared_sandbox
@each("mode", ["755", "600", "444", "640", "000", "4755"])
def test_the_mode_of_an_existing_file_is_kept(api, box, mode):
    api.output(box, f"rm -f moded; echo old > moded; chmod {mode} moded")
    assert api.write(box, "moded", "new").status_code == 200
    assert api.output(box, "stat -c %a moded; chmod u+r moded; cat moded") == f"{int(mode)}\nnew"


def test_a_new_file_is_not_a_program(api, box):
    api.write(box, "f", "x")
    assert api.output(box, "stat -c %a f") == "644\n"


def test_parents_are_made(api, box):
    assert api.write(box, "a/b/c/d.txt", "x").status_code == 200
    assert api.output(box, "stat -c %F a/b/c") == "directory\n"


def test_a_write_through_a_link_writes_its_target_and_keeps_the_link(api, box):
    api.output(box, "mkdir d; ln -s d/target link; ln -s missing/new dangling; ln -s /root/home absolute")
    for name, target in [("link", "d/target"), ("dangling", "missing/new"), ("absolute", "/root/home")]:
        assert api.write(box, name, name).status_code == 200
        assert api.output(box, f"test -L {name} && cat {target}") == name


def test_a_write_to_a_hard_link_leaves_the_other_name_alone(api, box):
    api.output(box, "echo old > a; ln a b")
    api.write(box, "b", "new")
    assert api.read(box, "a").text == "old\n"


def test_file_that_is_being_written_is_never_read_in_part(api, box):
    old, new = "a" * 300_000, "b" * 300_000
    api.write(box, "f", old)
    api.output(
        box,
        "(while [ ! -e stop ]; do cat f | tr -d '\\n' | fold -w 300000 | cut -c1,150000,300000; done > seen) 2>&1 &",
    )
    for content in [new, old] * 6:
        assert api.write(box, "f", content).status_code == 200
        assert api.read(box, "f").text == content
    api.write(box, "stop", "")
    assert set(api.read(box, "seen").text.split()) <= {"aaa", "bbb"}


def test_a_failed_write_leaves_nothing(api, box):
    api.output(box, "mkdir d; touch d/x")
    assert api.write(box, "d", "x").status_code == 400
    assert api.output(box, "find . | sort") == ".\n./d\n./d/x\n"


def test_writers_at_once_leave_one_whole_content(api, box):
    contents = [letter * 100_000 for letter in "abcdefgh"]
    threads = [threading.Thread(target=api.write, args=(box, "f", content)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert api.read(box, "f").text in contents
    assert api.output(box, "ls -A") == "f\n"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_without_write_permission_is_a_400(api, box):
    api.output(box, "mkdir d; chmod 555 d")
    assert_problem(api.write(box, "d/f", "x"), 400, "permission denied", "permission_denied")


# --- listing


def test_a_listing_is_sorted_and_has_hidden_files(api, box):
    api.output(box, "touch b .hidden a Z ä; mkdir dir .git")
    names = [entry["name"] for entry in api.listing(box).json()]
    assert names == sorted([".git", ".hidden", "Z", "a", "b", "dir", "ä"])


def test_an_entry_has_name_path_type_size_and_time(api, box):
    api.output(box, "printf 12345 > f; mkdir d; TZ=UTC touch -d '2020-02-03 04:05:06.789' f d")
    directory, file = api.listing(box).json()
    time = "2020-02-03T04:05:06.789Z"
    assert file == {"name": "f", "path": "/workspace/f", "type": "file", "size": 5, "mod_time": time}
    assert directory == {"name": "d", "path": "/workspace/d", "type": "directory", "size": 0, "mod_time": time}


@each(
    ("requested", "shown"),
    [
        (None, "/workspace/d"),
        ("", "/workspace/d"),
        ("/workspace", "/workspace/d"),
        ("/workspace/", "/workspace/d"),
        (".", "/workspace/d"),
        ("d", "/workspace/d/e"),
        ("/workspace//d/.", "/workspace/d/e"),
        ("d/..", "/workspace/d"),
        ("/root/../workspace/d", "/workspace/d/e"),
    ],
)
def test_the_paths_of_a_listing_are_absolute(api, box, requested, shown):
    api.output(box, "mkdir -p d/e")
    assert [entry["path"] for entry in api.listing(box, requested).json()] == [shown]


def test_at_level_process_the_listing_of_the_top_shows_the_writable_places(process_api, process_box):
    listed = process_api.listing(process_box, "/").json()
    assert [entry["path"] for entry in listed] == ["/root", "/tmp", "/workspace"]


# --- the whole file system


def test_the_file_api_reaches_what_a_command_reaches(api, box):
    require_own_root(api)
    assert [entry["name"] for entry in api.listing(box, "/").json()] == api.output(box, "ls -A1 /").split()
    for path in (
        "/app/new/f",
        "/etc/new.d/f",
        "/usr/local/bin/f",
        "/home/f",
        "/srv/f",
        "/var/lib/new/f",
        "/opt/f",
        "/f",
    ):
        assert api.write(box, path, path).status_code == 200, path
        assert api.output(box, f"cat {path}; stat -c ' %a %u' {path}") == f"{path} 644 0\n"
        assert api.read(box, path).text == path
        assert "f" in [entry["name"] for entry in api.listing(box, os.path.dirname(path)).json()]
    api.output(box, "mkdir -p /app/x; echo made > /app/x/made; echo 10.1.1.1 example >> /etc/hosts; rm /etc/issue")
    assert api.read(box, "/app/x/made").text == "made\n"
    assert "10.1.1.1 example" in api.read(box, "/etc/hosts").text
    assert_problem(api.read(box, "/etc/issue"), 404, "no such file")
    assert api.read(box, "/bin/sh").status_code == 200  # a link of the root to a program of the host
    api.output(box, "ln -s /etc/hosts l; ln -s /usr/local/bin d; chmod 600 /etc/new.d/f")
    if os.geteuid() == 0:
        api.output(box, "chown 7:8 /etc/new.d/f")
    assert api.read(box, "l").text == api.output(box, "cat /etc/hosts")
    assert api.write(box, "d/g", "x").status_code == 200
    assert api.output(box, "cat /usr/local/bin/g") == "x"
    assert api.write(box, "/etc/new.d/f", "again").status_code == 200
    owner = "7 8" if os.geteuid() == 0 else "0 0"
    assert api.output(box, "stat -c '%a %u %g' /etc/new.d/f") == f"600 {owner}\n"
    api.output(box, "cd /app && git init -q && echo x > tracked")
    diff = api.get(f"/sandboxes/{box}/git/diff", params={"path": "/app"}).json()
    assert {"path": "tracked", "status": "untracked"} in diff["files"]
    # The emulator's programs can be read and not changed.
    assert api.listing(box, "/opt/caged").status_code == 200
    assert_problem(api.write(box, "/opt/caged/x", "x"), 400, "read-only", "permission_denied")
    other = api.sandbox()
    assert api.listing(other, "/app").status_code == 404
    assert "example" not in api.read(other, "/etc/hosts").text
    assert not os.path.exists("/etc/new.d")
    assert not os.path.exists("/usr/local/bin/f")
    # A file that is refused leaves nothing half written.
    assert_problem(api.write(box, "/app/x", "x"), 400, "directory")
    assert api.output(box, "ls -A /app/x") == "made\n"


def test_a_link_counts_as_what_it_leads_to(api, box):
    api.output(box, "mkdir d; printf 123 > f; ln -s d ld; ln -s f lf; ln -s nowhere lost; ln -s loop loop")
    types = {entry["name"]: (entry["type"], entry["size"]) for entry in api.listing(box).json()}
    assert types["ld"] == ("directory", 0)
    assert types["lf"] == ("file", 3)
    assert types["lost"][0] == types["loop"][0] == "file"


def test_an_empty_directory_is_an_empty_list(api, box):
    assert api.listing(box).json() == []


def test_a_name_that_is_not_utf8_is_shown_replaced(api, box):
    api.output(box, r"touch $'a\xffb'")
    assert [entry["name"] for entry in api.listing(box).json()] == ["a\ufffdb"]


@each("date", ["@-5000000000", "@4000000000", "@15000000000", "1970-01-01"])
def test_a_file_from_any_time_is_listed(api, box, date):
    api.output(box, f"TZ=UTC touch -d {date} f")
    (entry,) = api.listing(box).json()
    assert len(entry["mod_time"]) == len("2020-02-03T04:05:06.789Z")


def test_a_thousand_entries_are_listed(api, box):
    api.output(box, "touch $(seq 1000)")
    assert len(api.listing(box).json()) == 1000


def test_a_file_that_looks_like_one_of_our_own_temporaries_is_listed(api, box):
    api.write(box, "notes.caged-write", "mine")
    assert [entry["name"] for entry in api.listing(box).json()] == ["notes.caged-write"]


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1580702706.789, "2020-02-03T04:05:06.789Z"),
        (-5.0, "1970-01-01T00:00:00.000Z"),
        (1e14, "9999-12-31T23:59:59.000Z"),
        (1e30, "9999-12-31T23:59:59.000Z"),
    ],
)
def test_a_time_that_the_format_cannot_hold_is_shown_as_the_nearest(seconds, shown):
    assert rfc3339(seconds) == shown
