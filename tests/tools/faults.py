"""Faults of an emulator, and a search for what they leave. `scripts/faults` repeats them."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Callable

from leftovers import children_of, groups, mounts, processes_with, run_dirs, unique_seconds, until
from levels import Served

from caged import CagedError

# All ways of a shell to detach a process from its parent: background, new session, double fork, ignored signals, closed
# output, empty environment.
ESCAPES = """
sleep {mark} &
setsid sleep {mark} >/dev/null 2>&1 &
(setsid sh -c 'sleep {mark} & sleep {mark} &' >/dev/null 2>&1 &)
trap '' HUP TERM INT; nohup sleep {mark} >/dev/null 2>&1 &
env -i setsid sleep {mark} >/dev/null 2>&1 &
"""
ESCAPED = 6
#: Seconds for which a process of a sandbox may outlive the fault: it needs milliseconds, but the machine may be busy.
SECONDS = 60.0

Fault = Callable[[Served, str, random.Random], None]


def sleeping(mark: str) -> list[str]:
    """Return the processes with the mark that are `sleep` already."""
    return [line for line in processes_with(mark) if " sleep" in line]


def escape(served: Served, box: str, mark: str) -> None:
    """Start processes in a sandbox that try to outlive it."""
    served.run(box, ESCAPES.format(mark=mark))
    until(lambda: len(sleeping(mark)) >= ESCAPED, what=lambda: processes_with(mark))


def left(find: Callable[[], list[str]], seconds: float = SECONDS) -> list[str]:
    """Return what `find` still finds after `seconds`, or nothing as soon as it finds nothing."""
    try:
        until(lambda: not find(), seconds)
    except AssertionError:
        return find()
    return []


@contextmanager
def creating(served: Served, mark: str) -> Iterator[None]:
    """Create sandboxes with escapees in two threads, until the emulator or the block ends."""
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            try:
                box = served.client.sandboxes.create(init_script=f"setsid sleep {mark} >/dev/null 2>&1 &")
                served.client.sandboxes.exec(box.id, f"sleep {mark} >/dev/null &")
                served.client.sandboxes.destroy(box.id)
            except CagedError:
                if served.process.poll() is not None:
                    return

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        until(lambda: sleeping(mark), what=lambda: processes_with(mark))
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive(), "a create or exec was never answered"


def kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def kill_emulator(served: Served, mark: str, chance: random.Random) -> None:
    escape(served, served.client.sandboxes.create().id, mark)
    served.process.kill()


def kill_zygote(served: Served, mark: str, chance: random.Random) -> None:
    escape(served, served.client.sandboxes.create().id, mark)
    kill(served.zygote)


def kill_init(served: Served, mark: str, chance: random.Random) -> None:
    box, init = served.create_with_init()
    escape(served, box, mark)
    kill(init)
    until(lambda: served.client.sandboxes.get(box).status == "error")
    assert served.client.sandboxes.exec(box, "true").error
    served.client.sandboxes.destroy(box)


def kill_emulator_and_zygote(served: Served, mark: str, chance: random.Random) -> None:
    escape(served, served.client.sandboxes.create().id, mark)
    zygote = served.zygote
    os.kill(served.process.pid, signal.SIGSTOP)  # so that it cannot react between the two kills
    kill(zygote)
    served.process.kill()


def kill_emulator_in_mid_create(served: Served, mark: str, chance: random.Random) -> None:
    with creating(served, mark):
        threading.Event().wait(chance.uniform(0, 0.03))  # at a random moment of a create
        served.process.kill()


def kill_zygote_in_mid_create(served: Served, mark: str, chance: random.Random) -> None:
    with creating(served, mark):
        threading.Event().wait(chance.uniform(0, 0.03))
        kill(served.zygote)


def kill_init_in_mid_create(served: Served, mark: str, chance: random.Random) -> None:
    with creating(served, mark):
        zygote = served.zygote
        for _ in range(5):
            known = set(children_of(zygote))
            until(lambda known=known: set(children_of(zygote)) - known)  # type: ignore[misc]
            threading.Event().wait(chance.uniform(0, 0.004))
            for pid in set(children_of(zygote)) - known:
                kill(pid)


FAULTS: dict[str, Fault] = {
    "kill -9 of the emulator": kill_emulator,
    "kill -9 of the zygote": kill_zygote,
    "kill -9 of a sandbox's init": kill_init,
    "kill -9 of emulator and zygote at once": kill_emulator_and_zygote,
    "kill -9 of the emulator in mid-create": kill_emulator_in_mid_create,
    "kill -9 of the zygote in mid-create": kill_zygote_in_mid_create,
    "kill -9 of an init in mid-create": kill_init_in_mid_create,
}


#: The faults that the emulator survives, so that it has to clean up after them.
SURVIVED = ("kill -9 of a sandbox's init", "kill -9 of the zygote in mid-create", "kill -9 of an init in mid-create")
#: The faults after which the zygote has to remove the emulator's directory.
REMOVED_BY_ZYGOTE = ("kill -9 of the emulator", "kill -9 of the emulator in mid-create")


def survivors(name: str, folder: Path, level: str, chance: random.Random) -> list[str]:
    """Start an emulator, inject the fault, and return what is left: processes after SECONDS, mounts, directories that
    the zygote has to remove, and, after the next start, all directories."""
    return survivors_of_all([name], folder, level, chance)


def survivors_of_all(names: Sequence[str], folder: Path, level: str, chance: random.Random) -> list[str]:
    """Inject the faults one after the other, and return what each leaves, with its name.

    An emulator goes on to the next fault when it survives one. When it does not, the next start, which the next fault
    needs anyway, shows whether what the dead one left is removed. The last emulator is always killed.
    """
    found: list[str] = []
    served = Served(folder, level)
    try:
        for name in names:
            run = served.run_dir.name
            found += [f"{name}: {left_over}" for left_over in _left_by(name, served, chance)]
            if name not in SURVIVED or name == names[-1]:
                served.end()
                served = Served(folder, level)  # fails if the directory of another emulator is left after its start
                found += [f"{name}: {group}" for group in groups(run)]
        served.stop()
    finally:
        served.end()
    found += map(str, run_dirs(served.tmp))
    if os.path.lexists("/workspace"):
        found.append("/workspace on the host")
    return found


def _left_by(name: str, served: Served, chance: random.Random) -> list[str]:
    """Inject one fault. Return the processes, directories and mounts that are left."""
    mark = unique_seconds()
    FAULTS[name](served, mark, chance)
    if name not in SURVIVED:
        found = [*left(lambda: [*processes_with(mark), *served.ours()]), *mounts()]
        if name in REMOVED_BY_ZYGOTE:
            found += [f"{path} before the next start" for path in run_dirs(served.tmp)]
        return found
    for box in served.client.sandboxes.list():
        served.client.sandboxes.destroy(box.id)
    found = left(lambda: processes_with(mark))
    box = served.client.sandboxes.create()
    assert served.run(box.id, "echo works again") == "works again\n"
    served.client.sandboxes.destroy(box.id)
    found += left(lambda: list(map(str, (served.run_dir / "sandboxes").iterdir())))
    found += left(lambda: _without_directory(served))
    return found + mounts()


def _without_directory(served: Served) -> list[str]:
    """Return the processes below the zygote if they are more than the sandboxes that are ready for the next create."""
    children = children_of(served.zygote)
    ready = list(served.run_dir.glob("ready-*"))
    return [f"child {pid} of the zygote" for pid in children] if len(children) > len(ready) else []
