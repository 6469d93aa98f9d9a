"""Commands that take too long, or are cancelled: every process is ended."""

from __future__ import annotations

import asyncio
import pickle
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from leftovers import processes_with, unique_seconds, until
from workspace_testing import on_shells

from caged import AsyncCaged, CagedCommandTimeoutError

SCRATCH = "/tmp/.caged-sdk"

#: Seconds after which a command that would not end is ended, in tests whose commands need less.
SHORT = 1.5

# Busy for the last 0.1 s and while it is ended, where the machine is not so slow that it still sleeps then.
BUSY = f"sleep {SHORT - 0.1}; while :; do :; done"

ENDLESS = {
    "child": "sleep {seconds}",
    "session": "setsid sleep {seconds}",
    "session in the background": "setsid sleep {seconds} & wait",
    "nohup": "(nohup sleep {seconds} || sleep {seconds}) >/dev/null 2>&1 & wait",  # some busybox have none
    "double fork": "(sleep {seconds} &); while :; do sleep 1; done",
    "double fork without output": "(setsid sleep {seconds} >/dev/null 2>&1 </dev/null &); while :; do sleep 1; done",
    "empty environment": "env -i sleep {seconds}",
    "daemon with an empty environment": "(env -i setsid sleep {seconds} >/dev/null 2>&1 </dev/null &)\nsleep {seconds}",
    "ignores TERM": "trap '' TERM INT HUP; sleep {seconds}; sleep {seconds}",
    "pipe": "sleep {seconds} | sleep {seconds}",
    "busy": f": {{seconds}}; {BUSY}",
    "busy shell without output": f"exec >/dev/null 2>&1; : {{seconds}}; {BUSY}",
    "busy child without output": f"exec >/dev/null 2>&1; sh -c ': {{seconds}}; {BUSY}'; :",
    "restarts children": "while :; do sh -c 'sleep {seconds}'; done",
}

#: Those that are found by different facts of /proc, of which an isolation level may show others.
FOUND_DIFFERENTLY = ("child", "double fork", "double fork without output", "empty environment", "restarts children")


def left_after_timeout(box, kinds):
    """What is left of commands of these kinds after their timeouts.

    A few at once: each search for the processes of a command looks at those of the others.
    """

    def run(kind):
        seconds = unique_seconds()
        with pytest.raises(CagedCommandTimeoutError) as caught:
            box.run(f"echo started; {ENDLESS[kind].format(seconds=seconds)}", timeout=SHORT)
        assert "could not be ended" not in str(caught.value)
        return processes_with(seconds)

    with ThreadPoolExecutor(5) as pool:
        return dict(zip(kinds, pool.map(run, kinds)))


@on_shells
def test_timeout_ends_every_process_of_the_command(box):
    assert left_after_timeout(box, ENDLESS) == {kind: [] for kind in ENDLESS}
    assert box.run("echo still works").stdout == "still works\n"


@pytest.mark.parametrize("place", ["bwrap-sync", "process-async"], indirect=True)
def test_timeout_ends_every_process_at_other_levels(box):
    assert left_after_timeout(box, FOUND_DIFFERENTLY) == {kind: [] for kind in FOUND_DIFFERENTLY}
    assert box.run("echo still works").stdout == "still works\n"


def test_timeout_ends_nothing_of_other_commands(process_box):
    seconds = unique_seconds()
    process_box.run(f"sleep {seconds} >/dev/null 2>&1 &")

    with pytest.raises(CagedCommandTimeoutError):
        process_box.run("sleep 1000", timeout=SHORT)

    assert len(processes_with(seconds)) == 1
    own = processes_with(seconds)[0].partition(":")[0]
    process_box.run(f"kill -9 {own}")


@on_shells
def test_timeout_error_says_what_was_printed_and_can_be_pickled(box):
    command = "printf 'half a line'; printf problem >&2; sleep 1000"

    with pytest.raises(CagedCommandTimeoutError) as raised:
        box.run(command, timeout=SHORT)

    error = raised.value
    assert (error.command, error.timeout, error.stdout, error.stderr) == (command, SHORT, "half a line", "problem")
    assert (
        str(error) == f"command {command!r} took longer than 1.5 s and was ended\nstdout: half a line\nstderr: problem"
    )
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.stdout) == (str(error), error.stdout)


def test_timeout_error_of_a_long_command_that_printed_much_is_short(process_box):
    with pytest.raises(CagedCommandTimeoutError) as raised:
        process_box.run(f": {'a' * 50_000}; yes | head -c 1000000; sleep 1000", timeout=SHORT)

    assert len(str(raised.value)) < 3000
    assert raised.value.stdout == "y\n" * 128 * 1024


def test_cancelled_command_is_ended(places):
    served = places.served("process-async")
    seconds = unique_seconds()

    async def main():
        async with AsyncCaged(api_key=served.api_key, base_url=served.base_url) as client:
            box = client.sandboxes.bind(places.box("process-sync").id)
            work = asyncio.ensure_future(box.run(f"sleep {seconds}"))
            await asyncio.to_thread(until, lambda: processes_with(seconds))
            work.cancel()
            with pytest.raises(asyncio.CancelledError):
                await work
            return (await box.run("echo after")).stdout

    assert asyncio.run(asyncio.wait_for(main(), 60)) == "after\n"
    until(lambda: not processes_with(seconds))


def test_commands_of_one_async_sandbox_run_at_once(places):
    box = places.box("process-async").awaited
    loop = places.box("process-async")._loop

    async def main():
        meeting = unique_seconds()
        wait = f"while [ ! -e {{}}-{meeting} ]; do sleep 0.02; done"
        first = box.run(f"touch a-{meeting}; {wait.format('b')}", timeout=30)
        second = box.run(f"touch b-{meeting}; {wait.format('a')}", timeout=30)
        return [result.exit_code for result in await asyncio.gather(first, second)]

    assert loop.run(main()) == [0, 0]


def test_timeout_whose_processes_cannot_be_ended_is_a_timeout_that_says_so(emulator, faulty_box):
    with emulator.faults.add("sandboxes.exec", after=1, times=1, status=503):
        with pytest.raises(CagedCommandTimeoutError) as raised:
            faulty_box.run("sleep 1000", timeout=0.3)

    message = "took longer than 0.3 s, and may still run: its processes could not be ended: .*injected"
    assert re.search(message, str(raised.value))
    copy = pickle.loads(pickle.dumps(raised.value))
    assert (str(copy), copy.timeout) == (str(raised.value), 0.3)


def test_files_of_a_command_that_took_too_long_are_removed_later(emulator, faulty_box):
    with pytest.raises(CagedCommandTimeoutError):
        faulty_box.run("sleep 1000", timeout=0.3)

    assert faulty_box.run(f"ls {SCRATCH}/*.x").ok
    until(lambda: not faulty_box.run(f"ls {SCRATCH}/*.x").ok)
