"""`caged-emulator trace`: looking into traces."""

from __future__ import annotations

import json
import os
import sys

import pytest
import trace_testing
from cli_testing import call
from trace_testing import step

from caged.emulator import Emulator
from caged.emulator.trace.file import Trace, TraceHeader

OUTPUT = "".join(f"line {number}\n" for number in range(200)) + "Segmentation fault\n"


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    for name in ("CAGED_TRACE_DIR", "BROWSER", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def header(**more):
    fields = {"title": "tests/test_a.py::test_a", "outcome": "failed", "duration_ms": 1234.0, "error_summary": "E: no"}
    return TraceHeader(**{**fields, **more})


@pytest.fixture
def trace(tmp_path):
    """A file with a call, its request, a command that fails, and another call whose id begins as that of the first."""
    steps = [
        step("abcdef0011111111", "call", "sandboxes.exec", 0.1, sandbox="cage_1"),
        step("s1", "request", "POST /v1/sandboxes/cage_1/exec", 0.2, parent="abcdef0011111111", sandbox="cage_1"),
        step("s2", "command", "$ make", 0.3, parent="s1", sandbox="cage_1", status="error"),
        step("abcdef0022222222", "call", "sandboxes.destroy", 0.4, sandbox="cage_1"),
    ]
    steps[1].detail = {"request": '{"command": "make"}', "status": 200}
    steps[2].detail = {"command": "make", "exit_code": 139, "output": [[0.1, OUTPUT]]}
    path = tmp_path / "a.jsonl"
    Trace(header(), steps).write(path)
    return path


# --- list


def test_list_shows_outcome_duration_test_and_cause_in_the_order_of_time(tmp_path, trace):
    Trace(header(title="test_first", outcome="error", wall="2025-01-01T00:00:00Z"), []).write(tmp_path / "z.jsonl")
    Trace(header(wall="2026-01-01T00:00:00Z"), []).write(trace)
    done = call("trace", "list", str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    heading, first, second = done.stdout.splitlines()
    assert heading.split() == ["FILE", "OUTCOME", "DURATION", "TEST", "CAUSE"]
    assert first.split() == [str(tmp_path / "z.jsonl"), "error", "1.23", "s", "test_first", "E:", "no"]
    assert second.split() == [str(trace), "failed", "1.23", "s", "tests/test_a.py::test_a", "E:", "no"]


def test_list_as_json_has_all_values(trace):
    (entry,) = map(json.loads, call("trace", "list", str(trace.parent), "--json").stdout.splitlines())
    assert entry["duration_ms"] == 1234.0
    assert entry["file"] == str(trace)


@pytest.mark.parametrize("below", ["", "tests/unit"])
def test_list_finds_pytests_cache_here_or_above(trace, monkeypatch, below):
    cached = trace.parent / ".pytest_cache/d/caged-traces"
    cached.mkdir(parents=True)
    trace.rename(cached / trace.name)
    (trace.parent / below).mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(trace.parent / below)
    path = call("trace", "list").stdout.splitlines()[1].split()[0]
    assert os.path.samefile(path, cached / trace.name)
    assert call("trace", "show", path).returncode == 0


def test_list_uses_the_directory_of_the_environment(trace, monkeypatch):
    monkeypatch.setenv("CAGED_TRACE_DIR", str(trace.parent))
    assert "a.jsonl" in call("trace", "list").stdout
    monkeypatch.setenv("CAGED_TRACE_DIR", "/nonexistent")
    done = call("trace", "list")
    assert (done.returncode, done.stderr) == (
        1,
        "Error: CAGED_TRACE_DIR names /nonexistent, which is not a directory\n",
    )


def test_list_without_pytests_cache_says_where_it_looked():
    done = call("trace", "list")
    assert done.returncode == 1
    assert "there is no .pytest_cache/d/caged-traces in " in done.stderr
    assert "name the directory" in done.stderr


def test_list_of_a_directory_without_traces_says_so(tmp_path):
    done = call("trace", "list", str(tmp_path))
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"there is no trace in {tmp_path}; a test that fails leaves one there\n"


def test_list_names_files_that_are_not_traces_and_lists_the_others(trace):
    (trace.parent / "b.jsonl").write_text('{"type": "trace", "format": 99}\n')
    (trace.parent / "c.jsonl").write_bytes(b"\xff\n")
    (trace.parent / "d.jsonl").write_text("")
    (trace.parent / "e.jsonl").write_text("[]\n")
    done = call("trace", "list", str(trace.parent))
    assert len(done.stdout.splitlines()) == 2
    assert len(done.stderr.splitlines()) == 4
    assert "b.jsonl: is of another format than 1" in done.stderr


# --- show


def test_list_shows_the_newest_and_says_how_many_more_there_are(tmp_path):
    for number in range(50):
        Trace(header(wall=f"2026-01-01T00:00:{number:02}Z"), []).write(tmp_path / f"t{number:02}.jsonl")
    _heading, *shown, more = call("trace", "list", str(tmp_path)).stdout.splitlines()
    assert [line.split()[0] for line in shown] == [str(tmp_path / f"t{number}.jsonl") for number in range(10, 50)]
    assert more == "… 10 earlier traces not shown; all of them: --last 50"
    lines = call("trace", "list", str(tmp_path), "--last", "49").stdout.splitlines()
    assert (len(lines), lines[-1]) == (51, "… 1 earlier trace not shown; all of them: --last 50")
    assert len(call("trace", "list", str(tmp_path), "--last", "50").stdout.splitlines()) == 51
    assert len(call("trace", "list", str(tmp_path), "--json").stdout.splitlines()) == 50
    two = call("trace", "list", str(tmp_path), "--json", "--last", "2")
    assert [json.loads(line)["file"][-9:-6] for line in two.stdout.splitlines()] == ["t48", "t49"]
    assert "48 earlier traces" in two.stderr
    assert call("trace", "list", str(tmp_path), "--last", "0").returncode == 2


def test_list_names_a_bounded_number_of_files_that_are_not_traces(trace):
    for number in range(30):
        (trace.parent / f"b{number}.jsonl").write_text("{}")
    errors = call("trace", "list", str(trace.parent)).stderr.splitlines()
    assert (len(errors), errors[-1]) == (21, "warning: not listed: 10 more files that are not traces")


@pytest.mark.parametrize("words", ["show", "open", "shell", "export --otlp out.json"])
def test_what_is_not_a_regular_file_is_refused_at_once(tmp_path, words):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    (tmp_path / "link.jsonl").symlink_to(pipe)
    for path, kind in ((pipe, "a named pipe"), (tmp_path / "link.jsonl", "a named pipe"), ("/dev/null", "a device")):
        done = call("trace", *words.split(), str(path))
        assert (done.returncode, done.stdout) == (1, "")
        assert f"it is {kind}, not a regular file" in done.stderr
    assert not (tmp_path / "out.json").exists()


@pytest.mark.parametrize(
    "line",
    [
        "[" * 200_000,
        '{"type": "trace", "format": 1, "title": "x", "duration_ms": "x"}',
        '{"type": "trace", "format": 1, "title": null}',
        '{"type": "trace", "format": 1, "title": "x", "start": 1e308}',
        '{"type": "trace", "format": 1, "title": "x", "kept": {"x": 5}}',
        '{"type": "trace", "format": 1, "title": "x", "kept": ["a"]}',
    ],
)
def test_damaged_trace_is_named_and_hides_no_other(trace, line):
    (trace.parent / "damaged.jsonl").write_text(line + "\n")
    listed = call("trace", "list", str(trace.parent))
    assert listed.returncode == 0
    assert "not listed" in listed.stderr
    assert "a.jsonl" in listed.stdout
    for words in (["show"], ["export", "--otlp", "-"], ["shell"], ["open"]):
        done = call("trace", *words, str(trace.parent / "damaged.jsonl"))
        assert done.returncode == 1
        assert "is not one of a trace" in done.stderr
        assert "Traceback" not in done.stderr


def test_messages_and_json_have_nothing_that_a_terminal_acts_upon(tmp_path):
    path = tmp_path / "junk\x1b[31m.jsonl"
    path.write_text("no trace\n")
    Trace(header(title="a\u009b31m\u202eb", kept={"cage_a\x1b]0;x\x07": "/none", "cage_b": "/none"}), []).write(
        tmp_path / "a.jsonl"
    )
    file = str(tmp_path / "a.jsonl")
    for words in (["list", str(tmp_path)], ["shell", file], ["show", file, "--json"], ["export", "--otlp", "-", file]):
        done = call("trace", *words)
        assert not set(done.stdout + done.stderr) & set("\x1b\x07\x9b\u202e"), words


def test_show_has_the_cause_the_steps_with_ids_and_what_to_ask_next(trace):
    done = call("trace", "show", str(trace))
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert len(lines) <= 40
    assert lines[0] == "FAILED tests/test_a.py::test_a"
    assert lines[2] == "E: no"
    assert any(line.startswith("s2 ") and "! " in line and "$ make -> exit 139" in line for line in lines)
    assert "Segmentation fault" in done.stdout
    assert lines[-1].startswith("next: --step ID")


def test_show_of_the_page_shows_its_trace(trace):
    page = trace.with_suffix(".html")
    assert call("trace", "show", str(page)).stdout == call("trace", "show", str(trace)).stdout


def test_every_id_that_show_prints_is_one_that_step_takes(trace):
    shown = [line.split()[0] for line in call("trace", "show", str(trace), "--kind", "call").stdout.splitlines()[:2]]
    assert shown == ["abcdef001", "abcdef002"]
    for identifier, method in zip(shown, ("exec", "destroy")):
        assert f"sandboxes.{method}" in call("trace", "show", str(trace), "--step", identifier).stdout


def test_show_of_a_step_has_its_details_what_is_above_it_and_what_it_caused(trace):
    done = call("trace", "show", str(trace), "--step", "s2").stdout
    assert "below: s1 request POST /v1/sandboxes/cage_1/exec" in done
    assert "line 199\n  Segmentation fault\n" in done
    assert "181 lines before" in done
    assert "add --json" in done
    above = call("trace", "show", str(trace), "--step", "s1").stdout
    assert "caused:\n  s2 command $ make -> exit 139" in above
    assert 'request: {"command": "make"}' in above


def test_show_of_a_step_as_json_has_all_of_it(trace):
    shown = json.loads(call("trace", "show", str(trace), "--step", "s2", "--json").stdout)
    assert shown["detail"]["output"] == [[0.1, OUTPUT]]


def test_grep_finds_text_in_titles_and_details_and_shows_the_line(trace):
    done = call("trace", "show", str(trace), "--grep", "SEGMENTATION")
    assert [line.split()[0] for line in done.stdout.splitlines() if line] == ["s2", "|", "next:"]
    assert "| output: Segmentation fault" in done.stdout
    assert "s1 " in call("trace", "show", str(trace), "--grep", "post /v1").stdout
    assert call("trace", "show", str(trace), "--grep", "nothing like it").stdout == f"no step of {trace} matches\n"


def test_grep_in_one_step_shows_its_lines(trace):
    done = call("trace", "show", str(trace), "--step", "s2", "--grep", "line 17")
    assert done.stdout.splitlines() == ["output: line 17", *(f"output: line 17{digit}" for digit in range(10))]


def test_filters_combine(trace):
    def ids(*options):
        lines = call("trace", "show", str(trace), "--json", *options).stdout.splitlines()[1:]
        return [json.loads(line)["id"] for line in lines]

    assert ids("--errors") == ["s2"]
    assert ids("--kind", "request", "--kind", "command") == ["s1", "s2"]
    assert ids("--kind", "request", "--errors") == []
    assert ids("--kind", "command", "--grep", "fault") == ["s2"]
    assert len(ids()) == 4


def test_json_without_a_step_leaves_out_details(trace):
    first, *steps = map(json.loads, call("trace", "show", str(trace), "--json").stdout.splitlines())
    assert (first["type"], first["outcome"]) == ("trace", "failed")
    assert all("detail" not in one for one in steps)


def test_answers_about_thousands_of_steps_have_at_most_40_lines(tmp_path):
    path = tmp_path / "long.jsonl"
    many = [step(f"s{n}", "request", f"GET /v1/{n}", n / 10, status="error") for n in range(1000)]
    for one in many:
        one.detail = {"response": "/v1\n" * 100, "near_misses": ["near"] * 50, "request": "a\n" * 500}
    Trace(header(error="x\n" * 1000, notes=["note"] * 50), many).write(path)
    for options in ([], ["--kind", "request"], ["--grep", "/v1"], ["--errors"], ["--step", "s7"]):
        assert len(call("trace", "show", str(path), *options).stdout.splitlines()) <= 40, options


def test_no_escape_sequence_of_a_trace_reaches_the_terminal(tmp_path):
    path = tmp_path / "hostile.jsonl"
    trace_testing.hostile_trace("\x1b]0;title\x07\x1b[2Jx\x9b\u202e\nsecond").write(path)
    shown = [call("trace", "show", str(path), *options) for options in ([], ["--errors"], ["--grep", "second"])]
    shown.append(call("trace", "list", str(tmp_path)))
    trace = Trace.read(path)
    shown += [call("trace", "show", str(path), "--step", one.id) for one in trace.steps]
    shown.append(call("trace", "show", str(path), "--step", "nothing"))
    for done in shown:
        assert not set("\x1b\x07\x9b\u202e") & set(done.stdout + done.stderr), done


WRONG = [
    ("show {dir}/missing.jsonl", 1, "cannot read {dir}/missing.jsonl: No such file"),
    ("show {dir}", 1, "Is a directory"),
    ("show {dir}/other.jsonl", 1, "is of another format than 1; read it with the version that has written it"),
    ("show {dir}/text.jsonl", 1, "line 1 is not one of a trace"),
    ("show {dir}/lone.html", 1, "lone.jsonl, the trace that belongs to lone.html, is missing"),
    ("show {dir}/a.jsonl --step s9", 1, "there is no step 's9'; the ids stand first in each line"),
    ("show {dir}/a.jsonl --step abcdef", 1, "2 steps have an id that begins with 'abcdef': abcdef001, abcdef002"),
    ("show {dir}/a.jsonl --step=", 1, "there is no step ''"),
    ("show {dir}/a.jsonl --step s1 --errors", 2, "cannot be combined with --step"),
    ("show {dir}/a.jsonl --kind commands", 2, "'commands' is not one of"),
    ("show {dir}/a.jsonl --grep=", 2, "--grep needs a text"),
    ("show", 2, "Missing argument 'FILE'"),
    ("list {dir}/missing", 2, "does not exist"),
    ("open {dir}/missing.html", 1, "cannot read {dir}/missing.jsonl: No such file"),
    ("open {dir}/text.jsonl", 1, "line 1 is not one of a trace"),
    ("shell {dir}/a.jsonl", 1, "no sandbox of {dir}/a.jsonl was kept; run the test again"),
]


@pytest.mark.parametrize(("words", "code", "text"), WRONG, ids=[words for words, _code, _text in WRONG])
def test_errors_say_what_is_wrong(trace, words, code, text):
    where = trace.parent
    (where / "other.jsonl").write_text('{"type": "trace", "format": 2, "title": "x"}\n')
    (where / "text.jsonl").write_text("Hello\n")
    (where / "lone.html").write_text("")
    done = call("trace", *[word.format(dir=where) for word in words.split()])
    assert (done.returncode, done.stdout) == (code, "")
    assert text.format(dir=where) in done.stderr
    assert not (where / "text.html").exists()


# --- open


def test_open_makes_the_page_and_prints_its_path_without_a_browser(trace):
    page = trace.with_suffix(".html")
    done = call("trace", "open", str(trace))
    assert (done.returncode, done.stdout) == (0, f"{page}\n")
    assert "test_a" in page.read_text()


def test_open_keeps_a_page_that_is_current_and_replaces_an_older_one(trace):
    page = trace.with_suffix(".html")
    page.write_text("mine")
    assert call("trace", "open", str(page)).returncode == 0
    assert page.read_text() == "mine"
    os.utime(page, (1, 1))
    assert call("trace", "open", str(page)).returncode == 0
    assert "test_a" in page.read_text()


def test_open_passes_the_page_to_the_browser(trace, monkeypatch):
    script, seen = trace.parent / "browser", trace.parent / "seen"
    script.write_text(f'#!/bin/sh\nprintf %s "$1" > {seen}\n')
    script.chmod(0o755)
    code = "import sys; from caged.emulator.cli import main; main(sys.argv[1:])"
    import subprocess

    env = {**os.environ, "BROWSER": f"{script} %s"}
    subprocess.run([sys.executable, "-c", code, "trace", "open", str(trace)], env=env, check=True, timeout=60)
    assert seen.read_text() == trace.with_suffix(".html").as_uri()


# --- shell


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """An archive of an account with two sandboxes, and their ids."""
    path = tmp_path_factory.mktemp("kept") / "kept.tar.gz"
    with Emulator() as emulator, emulator.client() as client:
        ids = [client.sandboxes.create(template="minimal").id for _ in range(2)]
        for number, sandbox in enumerate(ids):
            client.files.write(sandbox, "/workspace/number", f"this is {number}\n")
        emulator.export(path)
    return path, ids


def test_shell_opens_the_sandbox_that_was_kept(archive, trace, env):
    from cli_testing import run

    path, (first, second) = archive
    Trace(header(kept={first: str(path)}), []).write(trace)
    assert "this is 0" in run("trace", "shell", str(trace), env=env, input="cat /workspace/number\n").stdout
    Trace(header(kept={first: str(path), second: str(path)}), []).write(trace)
    done = run("trace", "shell", str(trace), "--sandbox", second, env=env, input="cat /workspace/number\n")
    assert "this is 1" in done.stdout


def test_shell_says_which_sandboxes_there_are_and_that_an_archive_is_gone(trace):
    Trace(header(kept={"cage_one": "/nonexistent/a.tar.gz", "cage_two": "/nonexistent/a.tar.gz"}), []).write(trace)
    assert "say which with --sandbox: cage_one, cage_two" in call("trace", "shell", str(trace)).stderr
    wrong = call("trace", "shell", str(trace), "--sandbox", "cage_tow").stderr
    assert "'cage_tow' was not kept; did you mean 'cage_two'" in wrong
    gone = call("trace", "shell", str(trace), "--sandbox", "cage_one").stderr
    assert "the archive of sandbox cage_one is gone: /nonexistent/a.tar.gz" in gone
