"""Files of a sandbox."""

from __future__ import annotations

from ..assertions import (
    assert_contains,
    assert_equal,
    assert_error,
    assert_reason,
    assert_shape,
    assert_status,
    assert_true,
    read_array,
    read_detail,
    read_object,
)
from ..check import Group
from ..context import Context
from ..shapes import FILE

group = Group("files")

_MIB = 1024 * 1024


@group.contract("write", "Writing a file returns 200 with its path.", "wire-contract 3.3")
def write(context: Context) -> None:
    path = f"/workspace/{context.unique_name()}"
    answer = context.write(path, "x")
    assert_status(answer, 200)
    found = read_object(answer)
    assert_equal("status", found.get("status"), "ok")
    assert_equal("path", found.get("path"), path)


@group.contract(
    "write-needs-path", "Writing without a path returns 400, `missing path parameter`.", "wire-contract 3.3"
)
def write_needs_path(context: Context) -> None:
    answer = context.put(context.files_path("/content"), json={"content": "x"})
    assert_error(answer, 400)
    assert_contains("a text", read_detail(answer), "missing path parameter")


@group.contract(
    "read-needs-path", "Reading without a path returns 400, `missing path parameter`.", "platform-behaviour B3"
)
def read_needs_path(context: Context) -> None:
    answer = context.get(context.files_path("/content"))
    assert_error(answer, 400)
    assert_contains("a text", read_detail(answer), "missing path parameter")


@group.contract("shell-sees", "A command sees a file that was written through the API.", "wire-contract 3.3")
def shell_sees(context: Context) -> None:
    path = context.write_new_file("one\ntwo 漢\n")
    assert_equal("output", context.exec_result(f"cat {path}")["output"], "one\ntwo 漢\n")


@group.contract("overwrite", "Writing a file replaces its content.", "wire-contract 3.3")
def overwrite(context: Context) -> None:
    path = context.write_new_file("long, long, long")
    context.require_success(context.write(path, "short"), "writing a file")
    assert_equal("output", context.exec_result(f"cat {path}")["output"], "short")


@group.contract("read", "Reading a file returns its content as UTF-8 text.", "wire-contract 3.3")
def read(context: Context) -> None:
    answer = context.read(context.write_new_file("grüße 漢字 🙂\n"))
    assert_status(answer, 200)
    assert_contains("Content-Type", answer.headers.get("content-type"), "text/plain", "utf-8")
    assert_equal("the body", answer.content, "grüße 漢字 🙂\n".encode())


@group.contract("read-written-by-shell", "Reading returns what a command wrote.", "wire-contract 3.3")
def read_written_by_shell(context: Context) -> None:
    name = context.unique_name()
    context.run_command(f"echo made > {name}")
    answer = context.read(f"/workspace/{name}")
    assert_status(answer, 200)
    assert_equal("the body", answer.content, b"made\n")


@group.contract("read-empty", "Reading an empty file returns an empty body.", "wire-contract 3.3")
def read_empty(context: Context) -> None:
    answer = context.read(context.write_new_file(""))
    assert_status(answer, 200, 204)
    assert_equal("the body", answer.content, b"")


@group.contract("list", "Listing a directory returns an array of entries.", "wire-contract 3.3")
def list_directory_entries(context: Context) -> None:
    context.write_new_file("x")
    entries = read_array(context.get(context.files_path(), params={"path": "/workspace"}), FILE)
    assert_true(entries, "some entries", "none")


@group.contract("list-entry", "An entry has name, absolute path, type and size.", "wire-contract 3.3")
def list_entry(context: Context) -> None:
    folder = context.unique_name()
    context.run_command(f"mkdir {folder}; printf 12345 > {folder}/five")
    entries = read_array(context.get(context.files_path(), params={"path": f"/workspace/{folder}"}))
    assert_equal("entries:", len(entries), 1)
    assert_shape(entries[0], FILE)
    got = [entries[0][key] for key in ("name", "path", "type", "size")]
    assert_equal("name, path, type, size", got, ["five", f"/workspace/{folder}/five", "file", 5])


@group.contract("list-directory", "The type of a directory is `directory`.", "wire-contract 3.3")
def list_directory(context: Context) -> None:
    folder = context.unique_name()
    context.run_command(f"mkdir -p {folder}/inner")
    entries = read_array(context.get(context.files_path(), params={"path": f"/workspace/{folder}"}))
    assert_equal("types", [entry.get("type") for entry in entries], ["directory"])


@group.contract("read-large", "Reading a file larger than 1 MiB is rejected.", "wire-contract 3.3")
def read_large(context: Context) -> None:
    name = context.unique_name()
    context.run_command(f"head -c {_MIB + 1} /dev/zero > {name}")
    assert_error(context.read(f"/workspace/{name}"), 400, 413)


@group.decision("read-large-400", "Reading a file larger than 1 MiB returns 400 with a reason.", "Part A, Files")
def read_large_400(context: Context) -> None:
    name = context.unique_name()
    context.run_command(f"head -c {_MIB + 1} /dev/zero > {name}")
    answer = context.read(f"/workspace/{name}")
    assert_error(answer, 400)
    assert_reason(answer, "file_too_large")


@group.decision("read-1-mib", "Reading a file of 1 MiB returns all of it.", "Part A, Files")
def read_1_mib(context: Context) -> None:
    name = context.unique_name()
    context.run_command(f"head -c {_MIB} /dev/zero > {name}")
    answer = context.read(f"/workspace/{name}")
    assert_status(answer, 200)
    assert_equal("bytes:", len(answer.content), _MIB)


@group.decision("read-binary", "Reading a file returns its bytes unchanged, binary ones included.", "Part A, Files")
def read_binary(context: Context) -> None:
    name = context.unique_name()
    context.run_command(f"printf '\\000\\377\\200\\r\\n' > {name}")
    answer = context.read(f"/workspace/{name}")
    assert_status(answer, 200)
    assert_equal("the body", answer.content, b"\x00\xff\x80\r\n")


@group.decision("read-missing", "Reading a missing file returns 404.", "Part A, Files")
def read_missing(context: Context) -> None:
    assert_error(context.read(f"/workspace/{context.unique_name()}"), 404)


@group.decision("read-directory", "Reading a directory returns 400.", "Part A, Files")
def read_directory(context: Context) -> None:
    assert_error(context.read("/workspace"), 400)


@group.decision("list-missing", "Listing a missing directory returns 404.", "Part A, Files")
def list_missing(context: Context) -> None:
    assert_error(context.get(context.files_path(), params={"path": f"/workspace/{context.unique_name()}"}), 404)


@group.decision("list-file", "Listing a file returns 400.", "Part A, Files")
def list_file(context: Context) -> None:
    assert_error(context.get(context.files_path(), params={"path": context.write_new_file("x")}), 400)


@group.decision("list-order", "A list is sorted by name and includes hidden files.", "Part A, Files")
def list_order(context: Context) -> None:
    folder = context.unique_name()
    context.run_command(f"mkdir {folder}; cd {folder}; touch b a .hidden C")
    entries = read_array(context.get(context.files_path(), params={"path": f"/workspace/{folder}"}))
    assert_equal("names", [entry.get("name") for entry in entries], [".hidden", "C", "a", "b"])


@group.decision("list-default", "Listing without a path lists /workspace.", "Part A, Files")
def list_default(context: Context) -> None:
    path = context.write_new_file("x")
    paths = [entry.get("path") for entry in read_array(context.get(context.files_path()))]
    assert_true(path in paths, f"{path} in the list", paths)


@group.decision("parents", "Writing a file creates its parent directories.", "Part A, Files")
def parents(context: Context) -> None:
    folder = context.unique_name()
    assert_status(context.write(f"/workspace/{folder}/a/b/c", "deep"), 200)
    assert_equal("output", context.exec_result(f"cat {folder}/a/b/c")["output"], "deep")


@group.decision("relative", "A relative path is resolved against /workspace.", "Part A, Files")
def relative(context: Context) -> None:
    name = context.unique_name()
    assert_status(context.write(name, "relative"), 200)
    assert_equal("output", context.exec_result(f"cat /workspace/{name}")["output"], "relative")


@group.decision("mode", "Overwriting a file keeps its mode.", "Part A, Files")
def mode(context: Context) -> None:
    name = context.unique_name()
    context.run_command(f"echo x > {name}; chmod 750 {name}")
    assert_status(context.write(name, "y"), 200)
    assert_equal("mode", context.exec_result(f"stat -c %a {name}")["output"], "750\n")


@group.decision(
    "outside", "Writing outside the writable directories returns 400 with a reason.", "Part A, Files (but 400)"
)
def outside(context: Context) -> None:
    answer = context.write("/proc/caged-verify", "x")
    assert_error(answer, 400)
    assert_reason(answer, "path_outside_sandbox")


@group.decision(
    "missing-anywhere",
    "A path that does not exist returns 404, also outside the writable directories.",
    "Part A, Files",
)
def missing_anywhere(context: Context) -> None:
    for path in ("/caged-verify/none", "/etc/caged-verify-none"):
        assert_error(context.read(path), 404)
        assert_error(context.get(context.files_path(), params={"path": path}), 404)


@group.decision("home", "The home directory is writable.", "Part A, Files")
def home(context: Context) -> None:
    name = context.unique_name()
    assert_status(context.write(f"/root/{name}", "at home"), 200)
    assert_equal("output", context.exec_result(f"cat ~/{name}")["output"], "at home")


@group.decision("dots", "`..` does not lead out of the sandbox.", "Part A, Files")
def dots(context: Context) -> None:
    path = context.write_new_file("inside")
    answer = context.read(f"/workspace/../../../..{path}")
    assert_status(answer, 200)
    assert_equal("the body", answer.content, b"inside")
