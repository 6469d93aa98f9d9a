"""The tools of a sandbox's MCP server: results, texts and limits. Facts from wire-other-clients.md 7.2."""

from __future__ import annotations

import json
import time

import jsonschema_rs
import pytest
from cases import each
from emulator_testing import eventually
from leftovers import processes_with, unique_seconds
from mcp_testing import MODERN, Mcp

from caged.emulator.platform.mcp import filesystem

WHOLE = "the workspace itself cannot be deleted; name what is in it"
TRUNCATED = "[truncated: a result is at most 512 KiB]"


@pytest.fixture
def mcp(api, box):
    return Mcp(api, box)


# --- what is listed


def test_every_tool_says_what_it_takes(mcp):
    for tool in mcp.result("tools/list")["tools"]:
        assert set(tool) == {"name", "description", "inputSchema"}
        assert tool["description"]
        assert tool["inputSchema"]["type"] == "object"
        jsonschema_rs.meta.validate(tool["inputSchema"])
        assert set(tool["inputSchema"].get("required", [])) <= set(tool["inputSchema"]["properties"])


@pytest.mark.shared_sandbox
@each(
    ("tool", "required", "optional"),
    [
        ("filesystem_read", {"path": "string"}, {}),
        ("filesystem_list", {}, {"path": "string"}),
        ("filesystem_search", {"pattern": "string"}, {}),
        ("filesystem_write", {"path": "string", "content": "string"}, {}),
        ("filesystem_delete", {"path": "string"}, {}),
        ("terminal_exec", {"command": "string"}, {"timeout": "integer"}),
        ("git_status", {}, {}),
        ("git_diff", {}, {"staged": "boolean"}),
        ("git_log", {}, {"count": "integer"}),
        ("git_commit", {"message": "string"}, {}),
    ],
)
def test_the_schemas_are_those_of_the_wire(mcp, tool, required, optional):
    schema = next(found for found in mcp.result("tools/list")["tools"] if found["name"] == tool)["inputSchema"]
    assert {name: value["type"] for name, value in schema["properties"].items()} == {**required, **optional}
    assert set(schema.get("required", [])) == set(required)


def test_structured_results_keep_to_their_schemas(mcp):
    mcp.text("terminal_exec", command="git init -q; git config user.name n; git config user.email e")
    mcp.text("terminal_exec", command="mkdir d; echo x > f")
    mcp.text("git_commit", message="first")
    mcp.text("terminal_exec", command="git mv f g; touch new")
    tools = mcp.result("tools/list", {"_meta": MODERN})["tools"]
    schemas = {tool["name"]: tool["outputSchema"] for tool in tools if "outputSchema" in tool}
    assert set(schemas) == {"filesystem_list", "git_status", "git_log"}
    for name, schema in schemas.items():
        jsonschema_rs.Draft202012Validator(schema).validate(mcp.structured(name))


# --- files


def test_what_is_written_is_read(mcp, api, box):
    assert mcp.text("filesystem_write", path="a/b/ü.txt", content="héllo\r\n\0") == "wrote 9 bytes to a/b/ü.txt"
    assert mcp.text("filesystem_read", path="/workspace/a/b/ü.txt") == "héllo\r\n\0"
    assert api.output(box, "stat -c %a a a/b a/b/*") == "755\n755\n644\n"


def test_a_result_with_an_empty_text_has_no_text_key(mcp):
    mcp.text("filesystem_write", path="d/empty", content="")
    mcp.text("filesystem_delete", path="d/empty")
    mcp.text("filesystem_write", path="empty", content="")
    empty = {"content": [{"type": "text"}]}
    assert mcp.call("filesystem_read", path="empty") == empty
    assert mcp.call("filesystem_list", path="d") == empty
    assert mcp.call("terminal_exec", command="true") == empty


@pytest.mark.shared_sandbox
@each("content", [{}, {"content": None}, {"content": ""}])
def test_write_without_content_writes_an_empty_file(mcp, api, box, content):
    mcp.text("filesystem_write", path="f", content="old")
    assert mcp.text("filesystem_write", path="f", **content) == "wrote 0 bytes to f"
    assert api.output(box, "stat -c %s f") == "0\n"


@each("path", [{}, {"path": None}, {"path": ""}])
def test_a_missing_path_means_the_workspace(mcp, api, box, path):
    api.output(box, "touch kept")
    assert mcp.failure("filesystem_read", **path) == "read error: read /workspace: is a directory"
    assert mcp.failure("filesystem_write", **path, content="x") == "write error: open /workspace: is a directory"
    assert mcp.failure("filesystem_delete", **path).startswith("delete error: unlinkat /workspace: the workspace")
    assert mcp.structured("filesystem_list", **path)["path"] == "."
    assert api.output(box, "ls") == "kept\n"


def test_a_file_that_exists_keeps_its_mode(mcp, api, box):
    api.output(box, "echo old > f; chmod 755 f")
    mcp.text("filesystem_write", path="f", content="new")
    assert api.output(box, "stat -c %a f; cat f") == "755\nnew"


def test_bytes_that_are_not_text_are_replaced(mcp, api, box):
    api.output(box, r"printf 'a\xff\xfeb' > f")
    assert mcp.text("filesystem_read", path="f") == "a\ufffd\ufffdb"


FAILURES = [
    ("filesystem_read", {"path": "none"}, "read error: open /workspace/none: no such file or directory"),
    ("filesystem_read", {"path": "./a/../b"}, "read error: open /workspace/b: no such file or directory"),
    ("filesystem_read", {"path": "/workspace/no"}, "read error: open /workspace/no: no such file or directory"),
    ("filesystem_read", {"path": "."}, "read error: read /workspace: is a directory"),
    ("filesystem_read", {"path": "dir/"}, "read error: read /workspace/dir: is a directory"),
    ("filesystem_read", {"path": "file/x"}, "read error: open /workspace/file/x: not a directory"),
    ("filesystem_read", {"path": "fifo"}, "read error: open /workspace/fifo: not a regular file"),
    ("filesystem_read", {"path": "loop"}, "read error: open /workspace/loop: too many levels of symbolic links"),
    ("filesystem_read", {"path": "n" * 300}, f"read error: open /workspace/{'n' * 300}: file name too long"),
    ("filesystem_list", {"path": "none"}, "list error: open /workspace/none: no such file or directory"),
    ("filesystem_list", {"path": "file"}, "list error: open /workspace/file: not a directory"),
    ("filesystem_write", {"path": "dir", "content": ""}, "write error: open /workspace/dir: is a directory"),
    ("filesystem_write", {"path": ".", "content": ""}, "write error: open /workspace: is a directory"),
    ("filesystem_write", {"path": "file/x", "content": ""}, "mkdir error: mkdir /workspace/file: not a directory"),
    ("filesystem_write", {"path": "dir/dir/x/y"}, "mkdir error: mkdir /workspace/dir/dir: not a directory"),
    ("filesystem_delete", {"path": "file/x"}, "delete error: unlinkat /workspace/file/x: not a directory"),
    ("filesystem_delete", {"path": "."}, f"delete error: unlinkat /workspace: {WHOLE}"),
    ("filesystem_delete", {"path": "/workspace/dir/.."}, f"delete error: unlinkat /workspace: {WHOLE}"),
]


def test_a_failure_names_the_absolute_path_and_the_reason(mcp, api, box):
    api.output(box, "mkdir dir; echo x > file; mkfifo fifo; ln -s loop loop; touch dir/dir")
    for tool, arguments, text in FAILURES:
        assert mcp.failure(tool, **arguments) == text, (tool, arguments)
        assert api.output(box, "ls") == "dir\nfifo\nfile\nloop\n", (tool, arguments)


def test_a_listing_shows_type_size_and_name_in_order(mcp, api, box):
    api.output(box, "mkdir b; printf 12345 > a; touch .hidden")
    size = int(api.output(box, "stat -c %s b"))
    lines = ["         0  .hidden", "         5  a", f"d {size:>8}  b"]
    assert mcp.text("filesystem_list") == "\n".join(lines)
    assert mcp.structured("filesystem_list") == {
        "path": ".",
        "entries": [
            {"name": ".hidden", "type": "file", "size": 0},
            {"name": "a", "type": "file", "size": 5},
            {"name": "b", "type": "directory", "size": size},
        ],
    }
    assert mcp.structured("filesystem_list", path="/workspace/b") == {"path": "/workspace/b", "entries": []}


def test_a_link_in_a_listing_is_a_file_of_its_own_size(mcp, api, box):
    api.output(box, "mkdir dir; printf 1234567890 > file; ln -s file to-file; ln -s dir to-dir; ln -s /etc out")
    api.output(box, "ln -s /workspace/file absolute; ln -s nowhere dangling")
    entries = {entry["name"]: (entry["type"], entry["size"]) for entry in mcp.structured("filesystem_list")["entries"]}
    assert entries["file"] == ("file", 10)
    assert entries["to-file"] == ("file", len("file"))
    assert entries["to-dir"] == ("file", len("dir"))
    assert entries["out"] == ("file", len("/etc"))
    assert entries["absolute"] == ("file", len("/workspace/file"))
    assert entries["dangling"] == ("file", len("nowhere"))
    assert "         3  to-dir" in mcp.text("filesystem_list").split("\n")


def test_paths_in_errors_and_sizes_of_links_are_the_sandboxs_own_without_mounts(process_api, process_box):
    mcp = Mcp(process_api, process_box)
    mcp.text("terminal_exec", command="echo x > /workspace/file; ln -s /workspace/file link; echo $0")
    entries = {entry["name"]: entry["size"] for entry in mcp.structured("filesystem_list")["entries"]}
    assert entries == {"file": 2, "link": len("/workspace/file")}
    assert mcp.failure("filesystem_read", path="x") == "read error: open /workspace/x: no such file or directory"


@pytest.mark.shared_sandbox
@each("path", ["old/../d/./f", "//workspace//d/f", "/workspace/../workspace/d/f", "./d//f"])
def test_dots_and_slashes_are_taken_out_of_a_path_first(mcp, path):
    mcp.text("filesystem_write", path="d/f", content="x")
    assert mcp.text("filesystem_read", path=path) == "x"


def test_deleting_takes_whole_directories_and_no_offence_at_nothing(mcp, api, box):
    api.output(box, "mkdir -p d/e/f; touch d/x d/e/y; chmod 000 d/e; touch g")
    assert mcp.text("filesystem_delete", path="d") == "deleted: d"
    assert mcp.text("filesystem_delete", path="g") == "deleted: g"
    assert mcp.text("filesystem_delete", path="d") == "deleted: d"
    assert mcp.text("filesystem_delete", path="d/e/f") == "deleted: d/e/f"
    assert api.output(box, "ls -A") == ""


def test_a_very_deep_directory_is_found_and_deleted(mcp, api, box):
    dig = 'import os\nfor i in range(400): os.mkdir("d" * 12); os.chdir("d" * 12)\nopen("leaf", "w")'
    api.output(box, f"python3 -c '{dig}'")
    assert mcp.text("filesystem_search", pattern="leaf") == ("d" * 12 + "/") * 400 + "leaf"
    assert mcp.text("filesystem_delete", path="d" * 12) == f"deleted: {'d' * 12}"
    assert api.output(box, "ls -A") == ""


SEARCHES = [
    ("*.py", ["a/c.py", "a.py", "b/.h/d.py"]),
    ("**/*.py", []),
    ("**/a.py", []),
    ("**", ["a", "a/c.py", "a.py", "b", "b/.h", "b/.h/d.py", "b/HEAD", "b/x*y"]),
    ("/a.py", []),
    ("?.py", ["a/c.py", "a.py", "b/.h/d.py"]),
    ("[b-d].py", ["a/c.py", "b/.h/d.py"]),
    ("[^b-d].py", ["a.py"]),
    ("a", ["a"]),
    ("a*", ["a", "a.py"]),
    (".*", ["b/.h"]),
    ("HEAD", ["b/HEAD"]),
    ("*", ["a", "a/c.py", "a.py", "b", "b/.h", "b/.h/d.py", "b/HEAD", "b/x*y"]),
    (r"x\*y", ["b/x*y"]),
    ("x[*]y", ["b/x*y"]),
    ("a/*.py", []),
    ("b/**", []),
    ("*.PY", []),
    ("py", []),
    ("a.p", []),
    ("*a*.*p*y", ["a.py"]),
    ("a.py*py", []),
]


def test_a_search_looks_at_names_everywhere(mcp, api, box):
    api.output(box, "mkdir -p a b/.h; touch a.py a/c.py b/.h/d.py b/HEAD 'b/x*y'")
    for pattern, found in SEARCHES:
        lines = mcp.text("filesystem_search", pattern=pattern).split("\n")
        assert lines == (sorted(found, key=lambda path: path.split("/")) or ["no matches found"]), pattern


@pytest.mark.shared_sandbox
@each("pattern", ["[", "[a", "[]", "[^]", "[]a]", "[-]", "[a-]", "[z-a]", "x\\", "[\\", "n" * 1001])
def test_a_pattern_that_makes_no_sense_is_a_failure(mcp, pattern):
    assert mcp.failure("filesystem_search", pattern=pattern).startswith("invalid pattern: ")


def test_a_search_finds_the_files_of_git_too(mcp, api, box):
    api.output(box, "git init -q")
    assert mcp.text("filesystem_search", pattern="HEAD") == ".git/HEAD"
    assert mcp.text("filesystem_search", pattern=".git") == ".git"


def test_no_pattern_takes_long(mcp, api, box):
    api.output(box, "touch " + " ".join("a" * 200 + str(number) for number in range(20)))
    start = time.monotonic()
    assert mcp.text("filesystem_search", pattern="a*" * 100 + "b") == "no matches found"
    assert time.monotonic() - start < 20  # one whose time is exponential would never end


def test_a_search_that_finds_a_lot_says_so_in_its_last_line(mcp, api, box, monkeypatch):
    monkeypatch.setattr(filesystem, "SEARCH_RESULTS", 20)
    api.output(box, "touch file{1..21}")
    lines = mcp.text("filesystem_search", pattern="file*").split("\n")
    assert len(lines) == 21
    assert "truncated" in lines[-1]
    api.output(box, "rm file1")
    assert "truncated" not in mcp.text("filesystem_search", pattern="file*")


# --- limits


@pytest.mark.shared_sandbox
@pytest.mark.parametrize("piece", ["x", "ä", "漢", "\U0001f600", '"', "\x01", "\n"], ids=range(7))
def test_a_large_file_is_cut_with_a_last_line_that_says_so(mcp, api, box, piece):
    assert api.write(box, "f", piece * 700_000).status_code == 200
    text = mcp.text("filesystem_read", path="f")
    assert text.endswith("\n" + TRUNCATED)
    kept = json.dumps(text, ensure_ascii=False).encode()
    assert 510 * 1024 < len(kept) <= 512 * 1024
    assert "\ufffd" not in text


def test_a_file_of_just_the_size_is_whole(mcp, api, box):
    api.output(box, f"head -c {512 * 1024 - 2} /dev/zero | tr '\\0' x > f")
    assert mcp.text("filesystem_read", path="f") == "x" * (512 * 1024 - 2)


def test_a_large_directory_is_cut_in_both_shapes(mcp, api, box):
    api.output(box, f"mkdir d; cd d; touch {'n' * 240}{{1..2200}}")
    structured = mcp.structured("filesystem_list", path="d")
    assert structured["truncated"] is True
    assert 1000 < len(structured["entries"]) < 2200
    assert mcp.text("filesystem_list", path="d").endswith("\n" + TRUNCATED)


@pytest.mark.shared_sandbox
@each("command", ["yes", "yes >&2", "yes & yes >&2", "cat /dev/urandom"])
def test_endless_output_is_cut_and_its_end_still_reported(mcp, command):
    # By then the emulator has read more than a result holds: a pipe holds 64 KiB.
    written = "until [ $(sed -n 's/^wchar: //p' /proc/$!/io) -gt 2000000 ]; do sleep 0.01; done"
    line = f"{command} & {written}; kill $!; exit 7"
    lines = mcp.failure("terminal_exec", command=line, timeout=100).split("\n")
    assert lines[-1] == TRUNCATED
    assert lines[-2] == "exit: exit status 7"
    assert ("STDERR:" in lines) == (">&2" in command)


# --- commands


@pytest.mark.shared_sandbox
@each(
    ("command", "text"),
    [
        ("echo out", "out\n"),
        ("printf out", "out"),
        ("true", ""),
        ("echo err >&2", "STDERR:\nerr\n"),
        ("echo out; echo err >&2", "out\n\nSTDERR:\nerr\n"),
        ("printf err >&2; printf out", "out\nSTDERR:\nerr"),
        ("pwd; cat; echo end", "/workspace\nend\n"),
        ("printf 'a\\377b'", "a\ufffdb"),
    ],
)
def test_standard_output_comes_first_and_errors_under_a_heading(mcp, command, text):
    assert mcp.text("terminal_exec", command=command) == text


@pytest.mark.shared_sandbox
@each(
    ("command", "text"),
    [
        ("exit 3", "exit: exit status 3"),
        ("echo out; exit 4", "out\n\nexit: exit status 4"),
        ("printf out; exit 255", "out\nexit: exit status 255"),
        ("echo out; echo err >&2; false", "out\n\nSTDERR:\nerr\n\nexit: exit status 1"),
        ("printf err >&2; false", "STDERR:\nerr\nexit: exit status 1"),
        ("kill -9 $$", "exit: signal: killed"),
        ("echo out; kill $$", "out\n\nexit: signal: terminated"),
        ("kill -SEGV $$", "exit: signal: segmentation fault"),
        ("kill -63 $$", "exit: signal: signal 63"),
        ("exit 137", "exit: exit status 137"),
    ],
)
def test_a_command_that_fails_says_how_in_its_last_line(mcp, command, text):
    assert mcp.failure("terminal_exec", command=command) == text


def test_the_environment_is_the_sandboxs(api):
    mcp = Mcp(api, api.sandbox(env={"MINE": "yes"}))
    assert mcp.text("terminal_exec", command="echo $MINE $HOME") == "yes /root\n"


@pytest.mark.shared_sandbox
@each("padding", [0, 150_000])
def test_commands_run_in_sh(mcp, padding):
    command = f": {'x' * padding}; echo $0 $#; nosuchprogram"
    result = mcp.failure("terminal_exec", command=command)
    assert result.startswith("sh 0\n\nSTDERR:\n")
    assert result.endswith("\n\nexit: exit status 127")
    assert "sh: " in result
    assert "nosuchprogram: not found" in result


def test_what_only_bash_has_fails_where_sh_is_another_shell(mcp, api, box):
    if "bash" in api.output(box, "readlink -f /bin/sh"):
        pytest.skip("/bin/sh is bash on this machine")
    assert mcp.failure("terminal_exec", command="[[ a == a ]]").endswith("exit: exit status 127")
    assert mcp.failure("terminal_exec", command="x=(1 2)").endswith("exit: exit status 2")
    assert api.output(box, "[[ a == a ]] && echo yes") == "yes\n"  # exec runs bash


def test_a_command_longer_than_an_argument_may_be(mcp):
    assert mcp.text("terminal_exec", command=f"x={'y' * 300_000}; echo ${{#x}}; echo e >&2") == "300000\n\nSTDERR:\ne\n"


CHILDREN = ["sleep {0}", "setsid sleep {0}", "env -i setsid nohup sleep {0}", "(trap '' TERM; sleep {0})"]


@pytest.mark.shared_sandbox
@each("child", CHILDREN)
def test_out_of_time_kills_all_that_the_command_started(mcp, child):
    mark = unique_seconds()
    child = child.format(mark)
    for seconds in (1, 5, 25):  # on a busy machine the command may begin late: another one gets more time
        start = time.monotonic()
        text = mcp.failure("terminal_exec", command=f"echo begun; {child} & {child} | cat; wait", timeout=seconds)
        assert seconds <= time.monotonic() - start < seconds + 30
        if text.startswith("begun"):
            break
    assert text == "begun\n\nexit: signal: killed"
    eventually(lambda: not processes_with(mark), "everything of it to be gone")


@pytest.mark.shared_sandbox
@each("timeout", [0, -5, -(2**62), 10**9, 2**63 - 1, None])
def test_no_time_is_the_usual_time(mcp, timeout):
    assert mcp.text("terminal_exec", command="sleep 0.1; echo done", timeout=timeout) == "done\n"


def test_a_server_left_in_the_background_does_not_delay_the_answer_and_lives_on(mcp):
    mark = unique_seconds()
    start = time.monotonic()
    assert mcp.text("terminal_exec", command=f"sleep {mark} & echo started", timeout=100) == "started\n"
    assert time.monotonic() - start < 50
    assert processes_with(mark)
