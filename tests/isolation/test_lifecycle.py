"""Pause and resume apply to every process of a sandbox, also in the background. (tests/system tests its end.)"""

from __future__ import annotations

import threading
import time
from pathlib import Path

from leftovers import until
from levels import Served

COUNTER = "i=0; while :; do i=$((i+1)); echo $i > {name}; sleep 0.001; done"
#: Seconds after the response to a pause in which a process may still be seen running. On a busy machine it may take
#: longer until the kernel stops a process.
STOPPED_WITHIN = 0.05


def start_counters(served: Served, box: str) -> list[Path]:
    """Start a background process of a shell, and one in its own session. Returns the files in which they count."""
    files = [served.sandbox_dir(box) / "workspace" / name for name in ("plain", "daemon")]
    plain, daemon = COUNTER.format(name="plain"), COUNTER.format(name="daemon")
    served.run(box, f"({plain}) >/dev/null 2>&1 & (setsid sh -c '{daemon}' >/dev/null 2>&1 &)")
    for file in files:
        until(lambda file=file: file.exists() and file.read_text())  # type: ignore[misc]
    return files


def read_counts(files: list[Path]) -> list[str]:
    return [file.read_text() for file in files]


def counts_once_stopped(files: list[Path]) -> list[str]:
    counts: list[str] = []

    def stands() -> bool:
        nonlocal counts
        counts = read_counts(files)
        time.sleep(STOPPED_WITHIN)
        return read_counts(files) == counts

    until(stands)
    return counts


def wait_until_counting(files: list[Path]) -> None:
    for file in files:
        before = file.read_text()
        until(lambda file=file, before=before: file.read_text() not in (before, ""))  # type: ignore[misc]


def test_pause_stops_and_resume_continues_background_processes(anywhere: Served, box: str) -> None:
    files = start_counters(anywhere, box)
    for _ in range(3):
        wait_until_counting(files)
        anywhere.client.sandboxes.pause(box)
        stopped = counts_once_stopped(files)
        time.sleep(0.1)  # a loop that still ran would count many times meanwhile
        assert read_counts(files) == stopped
        anywhere.client.sandboxes.resume(box)
    wait_until_counting(files)


def test_resume_leaves_job_stopped_that_user_had_stopped(anywhere: Served, box: str) -> None:
    (job,) = anywhere.run(box, "sleep 1000 >/dev/null 2>&1 & kill -STOP $!; echo $!").split()
    state = f"cut -d ' ' -f 3 /proc/{job}/stat"
    until(lambda: anywhere.run(box, state) == "T\n")
    anywhere.client.sandboxes.pause(box)
    anywhere.client.sandboxes.resume(box)
    anywhere.client.snapshots.wait(anywhere.client.snapshots.create(box).id)
    assert anywhere.run(box, state) == "T\n"
    anywhere.run(box, f"kill -CONT {job}")
    until(lambda: anywhere.run(box, state) == "S\n")


def test_pause_does_not_stop_other_sandbox(anywhere: Served, box: str) -> None:
    with anywhere.sandbox() as other:
        files = start_counters(anywhere, other)
        anywhere.client.sandboxes.pause(box)
        wait_until_counting(files)
        anywhere.client.sandboxes.resume(box)


def test_command_paused_while_running_ends_after_resume(anywhere: Served, box: str) -> None:
    outcome = []
    gate = "until [ -e go ]; do sleep 0.01; done"
    running = threading.Thread(
        target=lambda: outcome.append(anywhere.client.sandboxes.exec(box, f"touch begun; {gate}; echo end"))
    )
    running.start()
    until((anywhere.sandbox_dir(box) / "workspace" / "begun").exists)
    anywhere.client.sandboxes.pause(box)
    (anywhere.sandbox_dir(box) / "workspace" / "go").touch()
    time.sleep(0.1)  # the time in which it must not end
    assert not outcome
    anywhere.client.sandboxes.resume(box)
    running.join(60)
    assert [result.output for result in outcome] == ["end\n"]


def test_fork_storm_is_paused_and_destroyed(anywhere: Served) -> None:
    """The processes fork while they are being stopped."""
    box = anywhere.client.sandboxes.create().id
    storm = "while :; do sh -c 'echo x >> grown' & wait; done"
    anywhere.run(box, f'for _ in 1 2 3; do (setsid sh -c "{storm}" >/dev/null 2>&1 &); done')
    grown = anywhere.sandbox_dir(box) / "workspace" / "grown"
    until(lambda: grown.exists() and grown.stat().st_size > 10)
    anywhere.client.sandboxes.pause(box)
    size = 0

    def stands() -> bool:
        nonlocal size
        size = grown.stat().st_size
        time.sleep(STOPPED_WITHIN)
        return grown.stat().st_size == size

    until(stands)
    time.sleep(0.1)  # running processes would write meanwhile
    assert grown.stat().st_size == size
    anywhere.client.sandboxes.resume(box)
    until(lambda: grown.stat().st_size > size)
    anywhere.client.sandboxes.destroy(box)
    assert not anywhere.sandbox_dir(box).exists()
