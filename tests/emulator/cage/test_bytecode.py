"""Python runs the current source, however soon after the last import it was changed, at every isolation level.

Each change keeps the size of the file and is nearly always made in the same second as the last one, so neither size
nor modification time shows Python that its bytecode cache is stale."""

from __future__ import annotations

import os
import shlex
import threading
from collections.abc import Callable
from typing import Any

import pytest
from emulator_testing import Api, live
from levels import need
from mcp_testing import Mcp

from caged.emulator import Emulator

#: A change is only a test if it is in the same second as the last import. Of two in a row nearly always one is.
TIMES = 2
#: -S: without site-packages, which take half of the time of a start.
IMPORT = "cd /workspace && python3 -S -c 'import fix; print(fix.VALUE)'"

#: For what depends on how the emulator reaches the files of a sandbox.
each_level = pytest.mark.parametrize("api", ["namespace", "process"], indirect=True)


@pytest.fixture(params=["namespace"])
def api(request: pytest.FixtureRequest, emulator: Emulator, new_api: Callable[[Emulator], Api]) -> Api:
    need(request.param)
    chosen = request.getfixturevalue("process_emulator") if request.param == "process" else emulator
    if chosen.isolation != request.param:
        pytest.skip(f"the default isolation level here is {chosen.isolation}, not {request.param}")
    made = new_api(chosen)
    made.controls = chosen.for_account(made.account_id)
    return made


@pytest.fixture
def box(api: Api) -> str:
    made = api.sandbox(template="python", agents=["claude"])
    api.write(made, "fix.py", "VALUE = 'old'\n")
    assert api.output(made, IMPORT) == "old\n"
    assert "fix.cpython" in api.output(made, "ls __pycache__"), "Python writes caches here"
    return made


def text(number: int) -> str:
    return f"VALUE = 'v{number:02}'\n"


def by_api(api: Api, box: str, number: int) -> None:
    assert api.write(box, "fix.py", text(number)).is_success


def by_link(api: Api, box: str, number: int) -> None:
    """Write through a link to the file."""
    api.output(box, "[ -e link ] || ln -s . link")
    assert api.write(box, "link/fix.py", text(number)).is_success


def by_mcp(api: Api, box: str, number: int) -> None:
    Mcp(api, box).text("filesystem_write", path="fix.py", content=text(number))


def by_agent_files(api: Api, box: str, number: int) -> None:
    api.controls.agent("claude").reply("done", files={"fix.py": text(number)})
    api.output(box, "claude -p 'fix it'")


def by_agent_function(api: Api, box: str, number: int) -> None:
    def fix(prompt: Any, workplace: Any) -> str:
        workplace.write("fix.py", text(number))
        return "done"

    api.controls.agent("claude").reply(fix)
    api.output(box, "claude -p 'fix it'")


def by_sed(api: Api, box: str, number: int) -> None:
    value = text(number).strip()
    api.output(box, f"sed -i {shlex.quote(f's/.*/{value}/')} fix.py")


def by_printf(api: Api, box: str, number: int) -> None:
    api.output(box, f"printf %s {shlex.quote(text(number))} > fix.py")


def by_mcp_command(api: Api, box: str, number: int) -> None:
    Mcp(api, box).text("terminal_exec", command=f"printf %s {shlex.quote(text(number))} > fix.py")


def by_move(api: Api, box: str, number: int) -> None:
    api.output(box, f"printf %s {shlex.quote(text(number))} > new && mv new fix.py")


WAYS = [by_api, by_link, by_mcp, by_agent_files, by_agent_function, by_sed, by_printf, by_mcp_command, by_move]


@each_level
def test_import_after_change_runs_new_code(api, box):
    for number, change in enumerate(change for change in WAYS for _ in range(TIMES)):
        change(api, box, number)
        assert api.output(box, IMPORT) == f"v{number:02}\n", change.__name__


@pytest.mark.parametrize("change", [by_api, by_sed])
def test_change_in_nested_package_is_seen(api, box, change):
    api.output(box, "mkdir -p 'a/b c/d' && cp fix.py 'a/b c/d/fix.py'")
    command = "cd '/workspace/a/b c' && python3 -S -c 'import d.fix; print(d.fix.VALUE)'"
    assert api.output(box, command) == "old\n"
    for number in range(TIMES):
        if change is by_api:
            api.write(box, "a/b c/d/fix.py", text(number))
        else:
            api.output(box, f"sed -i {shlex.quote(f's/.*/{text(number).strip()}/')} 'a/b c/d/fix.py'")
        assert api.output(box, command) == f"v{number:02}\n"


@pytest.mark.parametrize("place", ["/tmp", "/root"])
def test_change_outside_workspace_is_seen(api, box, place):
    for number in range(TIMES):
        api.output(box, f"printf %s {shlex.quote(text(number))} > {place}/fix.py")
        assert api.output(box, f"cd {place} && python3 -S -c 'import fix; print(fix.VALUE)'") == f"v{number:02}\n"


def test_change_by_agent_is_seen_in_same_command(api, box):
    for number in range(TIMES):
        api.controls.agent("claude").reply("done", files={"fix.py": text(number)})
        assert api.output(box, f"claude -p 'fix it' > /dev/null; {IMPORT}") == f"v{number:02}\n"


@pytest.mark.parametrize("edit", ["printf %s {} > fix.py", "printf %s {} > new && mv new fix.py"])
def test_edit_and_import_in_one_command_runs_new_code(api, box, edit):
    """The cache of an earlier command is valid until this command edits the source."""
    seen = []
    for number in range(TIMES):
        seen.append(api.output(box, f"{edit.format(shlex.quote(text(number)))}; {IMPORT}"))
    assert seen == [f"v{number:02}\n" for number in range(TIMES)]


def test_valid_cache_is_kept_for_next_command(api, box):
    """Invalidation must remove neither the new output of a build nor a link to it."""
    api.write(box, "built.py", "VALUE = 1\n")
    api.output(box, "python3 -m py_compile built.py; ln __pycache__/built.* kept.pyc; touch -r __pycache__ stamp")
    assert api.output(box, "ls __pycache__ | grep -c built; python3 kept.pyc; find __pycache__ -newer stamp") == "1\n"
    assert api.output(box, "cmp __pycache__/built.* kept.pyc && echo same") == "same\n"


@each_level
def test_import_after_restore_runs_old_code(api, box):
    snapshot = api.snapshot(box)
    for number in range(TIMES):
        by_api(api, box, number)
        assert api.output(box, IMPORT) == f"v{number:02}\n"
        assert api.restore(snapshot, box).is_success
        assert api.output(box, IMPORT) == "old\n"


def test_restored_stale_cache_is_not_used(api, box):
    """The snapshot is taken after an edit and before the next command, which would have removed the cache."""
    for number in range(TIMES):
        api.output(box, f"{IMPORT}; printf %s {shlex.quote(text(number))} > fix.py")
        snapshot = api.snapshot(box)
        assert api.restore(snapshot, box).is_success
        assert api.output(box, IMPORT) == f"v{number:02}\n"


@each_level
def test_settled_cache_files_are_kept(api, box):
    api.write(box, "other.py", "VALUE = 1\n")
    api.output(box, "touch -d '10 seconds ago' fix.py other.py")  # no edit can be in that second any more
    api.output(box, "python3 -c 'import fix, other'")
    api.output(box, "true")
    before = api.output(box, "stat -c '%n %Y %i' __pycache__/*")
    assert before.count("\n") == 2
    for _ in range(3):
        api.output(box, "python3 -c 'import fix, other'")
    assert api.output(box, "stat -c '%n %Y %i' __pycache__/*") == before
    api.write(box, "fix.py", "VALUE = 'longer than before'\n")
    kept = api.output(box, "stat -c '%n %Y %i' __pycache__/*")
    assert kept == before, "Python sees by itself that this one is stale"


def test_modification_times_and_environment_are_unchanged(api, box):
    before = float(api.output(box, "date +%s.%N"))
    by_api(api, box, 1)
    assert before - 0.1 <= float(api.output(box, "stat -c %.9Y fix.py")) <= float(api.output(box, "date +%s.%N"))
    assert "PYTHON" not in api.output(box, "env")
    assert api.output(box, "python3 -c 'import sys; print(sys.dont_write_bytecode)'") == "False\n"


def test_cache_directory_that_is_a_link_is_not_followed(process_api, tmp_path):
    """A command that replaces `__pycache__` by a link cannot make the emulator remove files of the host."""
    box = process_api.sandbox(template="python")
    process_api.write(box, "fix.py", "VALUE = 'old'\n")
    process_api.output(box, IMPORT)
    workspace = live(process_api.emulator, box).cage.layout.workspace
    outside = tmp_path / "outside"
    os.rename(workspace / "__pycache__", outside)
    os.symlink(outside, workspace / "__pycache__")
    held = sorted(outside.iterdir())
    assert held
    process_api.write(box, "fix.py", "VALUE = 'new'\n")
    process_api.output(box, "printf %s \"VALUE = 'xyz'\" > fix.py")
    process_api.output(box, "true")
    assert sorted(outside.iterdir()) == held


def test_concurrent_commands_do_not_affect_each_other(api, box):
    api.output(box, "for i in $(seq 100); do mkdir -p many/d$i && echo > many/d$i/m.py; done")
    api.output(box, "python3 -m compileall -q many")
    failed: list[object] = []

    def work(number: int) -> None:
        for _ in range(3):
            found = api.run(box, f"python3 -S -c 'import many.d{number}.m' && rm -rf many/d{number}/__pycache__")
            if found["exit_code"] != 0:
                failed.append(found)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failed == []
