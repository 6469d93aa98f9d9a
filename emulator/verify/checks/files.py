"""Files of a sandbox."""

from __future__ import annotations

from ..check import Group
from ..context import Context
from ..expect import an_array, an_object, detail_of, holds, reason, refused, same, shaped, status, true
from ..shapes import FILE

group = Group("files")

_MIB = 1024 * 1024


@group.contract("write", "A write answers 200 with the path.", "wire-contract 3.3")
def write(bench: Context) -> None:
    path = f"/workspace/{bench.name()}"
    answer = bench.write(path, "x")
    status(answer, 200)
    found = an_object(answer)
    same("status", found.get("status"), "ok")
    same("path", found.get("path"), path)


@group.contract("write-needs-path", "A write without path is a 400, `missing path parameter`.", "wire-contract 3.3")
def write_needs_path(bench: Context) -> None:
    answer = bench.put(bench.files("/content"), json={"content": "x"})
    refused(answer, 400)
    holds("a text", detail_of(answer), "missing path parameter")


@group.contract("read-needs-path", "A read without path is a 400, `missing path parameter`.", "platform-behaviour B3")
def read_needs_path(bench: Context) -> None:
    answer = bench.get(bench.files("/content"))
    refused(answer, 400)
    holds("a text", detail_of(answer), "missing path parameter")


@group.contract("shell-sees", "A command sees what was written.", "wire-contract 3.3")
def shell_sees(bench: Context) -> None:
    path = bench.put_file("one\ntwo 漢\n")
    same("output", bench.executed(f"cat {path}")["output"], "one\ntwo 漢\n")


@group.contract("overwrite", "A write replaces what was there.", "wire-contract 3.3")
def overwrite(bench: Context) -> None:
    path = bench.put_file("long, long, long")
    bench.need(bench.write(path, "short"), "writing a file")
    same("output", bench.executed(f"cat {path}")["output"], "short")


@group.contract("read", "A read answers the content itself, as UTF-8 text.", "wire-contract 3.3")
def read(bench: Context) -> None:
    answer = bench.read(bench.put_file("grüße 漢字 🙂\n"))
    status(answer, 200)
    holds("Content-Type", answer.headers.get("content-type"), "text/plain", "utf-8")
    same("the body", answer.content, "grüße 漢字 🙂\n".encode())


@group.contract("read-written-by-shell", "A read sees what a command wrote.", "wire-contract 3.3")
def read_written_by_shell(bench: Context) -> None:
    name = bench.name()
    bench.shell(f"echo made > {name}")
    answer = bench.read(f"/workspace/{name}")
    status(answer, 200)
    same("the body", answer.content, b"made\n")


@group.contract("read-empty", "An empty file is an empty body.", "wire-contract 3.3")
def read_empty(bench: Context) -> None:
    answer = bench.read(bench.put_file(""))
    status(answer, 200, 204)
    same("the body", answer.content, b"")


@group.contract("list", "A directory is an array of entries.", "wire-contract 3.3")
def listed(bench: Context) -> None:
    bench.put_file("x")
    entries = an_array(bench.get(bench.files(), params={"path": "/workspace"}), FILE)
    true(entries, "some entries", "none")


@group.contract("list-entry", "An entry has name, absolute path, type file, and size.", "wire-contract 3.3")
def list_entry(bench: Context) -> None:
    folder = bench.name()
    bench.shell(f"mkdir {folder}; printf 12345 > {folder}/five")
    entries = an_array(bench.get(bench.files(), params={"path": f"/workspace/{folder}"}))
    same("entries:", len(entries), 1)
    shaped(entries[0], FILE)
    got = [entries[0][key] for key in ("name", "path", "type", "size")]
    same("name, path, type, size", got, ["five", f"/workspace/{folder}/five", "file", 5])


@group.contract("list-directory", "A directory's type is `directory`.", "wire-contract 3.3")
def list_directory(bench: Context) -> None:
    folder = bench.name()
    bench.shell(f"mkdir -p {folder}/inner")
    entries = an_array(bench.get(bench.files(), params={"path": f"/workspace/{folder}"}))
    same("types", [entry.get("type") for entry in entries], ["directory"])


@group.contract("read-large", "A file over 1 MiB is not read.", "wire-contract 3.3")
def read_large(bench: Context) -> None:
    name = bench.name()
    bench.shell(f"head -c {_MIB + 1} /dev/zero > {name}")
    refused(bench.read(f"/workspace/{name}"), 400, 413)


@group.decision("read-large-400", "A file over 1 MiB is a 400 with a reason.", "Part A, Files")
def read_large_400(bench: Context) -> None:
    name = bench.name()
    bench.shell(f"head -c {_MIB + 1} /dev/zero > {name}")
    answer = bench.read(f"/workspace/{name}")
    refused(answer, 400)
    reason(answer, "file_too_large")


@group.decision("read-1-mib", "A file of 1 MiB is read whole.", "Part A, Files")
def read_1_mib(bench: Context) -> None:
    name = bench.name()
    bench.shell(f"head -c {_MIB} /dev/zero > {name}")
    answer = bench.read(f"/workspace/{name}")
    status(answer, 200)
    same("bytes:", len(answer.content), _MIB)


@group.decision("read-binary", "The body is the file's bytes, whatever they are.", "Part A, Files")
def read_binary(bench: Context) -> None:
    name = bench.name()
    bench.shell(f"printf '\\000\\377\\200\\r\\n' > {name}")
    answer = bench.read(f"/workspace/{name}")
    status(answer, 200)
    same("the body", answer.content, b"\x00\xff\x80\r\n")


@group.decision("read-missing", "A file that is not there is a 404.", "Part A, Files")
def read_missing(bench: Context) -> None:
    refused(bench.read(f"/workspace/{bench.name()}"), 404)


@group.decision("read-directory", "Reading a directory is a 400.", "Part A, Files")
def read_directory(bench: Context) -> None:
    refused(bench.read("/workspace"), 400)


@group.decision("list-missing", "Listing a directory that is not there is a 404.", "Part A, Files")
def list_missing(bench: Context) -> None:
    refused(bench.get(bench.files(), params={"path": f"/workspace/{bench.name()}"}), 404)


@group.decision("list-file", "Listing a file is a 400.", "Part A, Files")
def list_file(bench: Context) -> None:
    refused(bench.get(bench.files(), params={"path": bench.put_file("x")}), 400)


@group.decision("list-order", "A list is sorted by name and has hidden files.", "Part A, Files")
def list_order(bench: Context) -> None:
    folder = bench.name()
    bench.shell(f"mkdir {folder}; cd {folder}; touch b a .hidden C")
    entries = an_array(bench.get(bench.files(), params={"path": f"/workspace/{folder}"}))
    same("names", [entry.get("name") for entry in entries], [".hidden", "C", "a", "b"])


@group.decision("list-default", "A list without path is /workspace.", "Part A, Files")
def list_default(bench: Context) -> None:
    path = bench.put_file("x")
    paths = [entry.get("path") for entry in an_array(bench.get(bench.files()))]
    true(path in paths, f"{path} in the list", paths)


@group.decision("parents", "A write makes the directories above.", "Part A, Files")
def parents(bench: Context) -> None:
    folder = bench.name()
    status(bench.write(f"/workspace/{folder}/a/b/c", "deep"), 200)
    same("output", bench.executed(f"cat {folder}/a/b/c")["output"], "deep")


@group.decision("relative", "A relative path is below /workspace.", "Part A, Files")
def relative(bench: Context) -> None:
    name = bench.name()
    status(bench.write(name, "relative"), 200)
    same("output", bench.executed(f"cat /workspace/{name}")["output"], "relative")


@group.decision("mode", "A write keeps the mode of a file that is there.", "Part A, Files")
def mode(bench: Context) -> None:
    name = bench.name()
    bench.shell(f"echo x > {name}; chmod 750 {name}")
    status(bench.write(name, "y"), 200)
    same("mode", bench.executed(f"stat -c %a {name}")["output"], "750\n")


@group.decision("outside", "A write outside the writable places is a 400 that says why.", "Part A, Files (but 400)")
def outside(bench: Context) -> None:
    answer = bench.write("/proc/caged-verify", "x")
    refused(answer, 400)
    reason(answer, "path_outside_sandbox")


@group.decision("missing-anywhere", "A path that does not exist is a 404, wherever it leads.", "Part A, Files")
def missing_anywhere(bench: Context) -> None:
    for path in ("/caged-verify/none", "/etc/caged-verify-none"):
        refused(bench.read(path), 404)
        refused(bench.get(bench.files(), params={"path": path}), 404)


@group.decision("home", "The home directory can be written.", "Part A, Files")
def home(bench: Context) -> None:
    name = bench.name()
    status(bench.write(f"/root/{name}", "at home"), 200)
    same("output", bench.executed(f"cat ~/{name}")["output"], "at home")


@group.decision("dots", "`..` does not lead out of the sandbox.", "Part A, Files")
def dots(bench: Context) -> None:
    path = bench.put_file("inside")
    answer = bench.read(f"/workspace/../../../..{path}")
    status(answer, 200)
    same("the body", answer.content, b"inside")
