"""Many sockets, and interactive programs in a terminal. `scripts/attacks --long` opens more sockets."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import websockets
from internals import platform_of
from leftovers import until
from sockets import SECONDS, Term

from caged import Caged
from caged.emulator import Emulator

LONG = bool(os.environ.get("CAGED_ATTACKS_LONG"))
TERMINALS = 200 if LONG else 40
CONNECTS = 1000 if LONG else 100
AT_ONCE = 20


def figures(emulator: Emulator) -> dict[str, int]:
    """Count what could leak: descriptors of this process, its child processes, and tasks of the emulator's loop."""
    loop = emulator._loop
    assert loop is not None
    below = subprocess.run(["ps", "-e", "-o", "ppid="], capture_output=True, text=True, check=True).stdout.split()
    tasks = asyncio.run_coroutine_threadsafe(count_tasks(), loop).result(SECONDS)
    zygote = emulator._runtime._zygote.pid  # type: ignore[union-attr]
    return {
        "descriptors": len(os.listdir("/proc/self/fd")),
        "processes": sum(1 for parent in below if parent in (str(os.getpid()), str(zygote))),
        "tasks": tasks,
    }


def settled_figures(emulator: Emulator) -> dict[str, int]:
    """Count once no sandbox is made for the next create, which would be one more of each afterwards."""
    pool = platform_of(emulator).provisioner.pool
    until(lambda: pool.is_settled)
    return figures(emulator)


async def count_tasks() -> int:
    return len(asyncio.all_tasks())


async def open_terminals(
    emulator: Emulator, box: str, count: int, each: Callable[[object], object], at_once: int
) -> None:
    """Open `count` terminals, `at_once` at a time, and call `each` with each."""
    url = f"{emulator.base_url.replace('http', 'ws', 1)}/v1/sandboxes/{box}/terminal?rows=24&cols=80"
    gate = asyncio.Semaphore(at_once)

    async def one() -> None:
        async with (
            gate,
            websockets.connect(f"{url}&token={emulator.api_key}", proxy=None, open_timeout=SECONDS) as socket,
        ):  # type: ignore[arg-type]
            await each(socket)  # type: ignore[misc]

    await asyncio.gather(*[one() for _ in range(count)])


def wait_until_settled(
    emulator: Emulator, before: dict[str, int], reported: pytest.CaptureFixture[str], what: str
) -> None:
    """Wait until no figure is higher than before, and print them."""
    until(
        lambda: all(now <= before[name] for name, now in figures(emulator).items()),
        what=lambda: f"before {before}, now {figures(emulator)}",
    )
    with reported.disabled():
        print(f"\n{what}: before {before}, after {figures(emulator)}")


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(limits=False, allow_unused=True) as running:
        yield running


# It starts a real shell for each terminal.
def test_many_terminals_at_once_leave_nothing(emulator: Emulator, capsys: pytest.CaptureFixture[str]) -> None:
    with emulator.client() as client:
        boxes = [client.sandboxes.create().id for _ in range(4)]
        client.sandboxes.exec(boxes[0], "true")
        before = settled_figures(emulator)
        per_box = TERMINALS // len(boxes)

        async def all_of_them() -> None:
            everywhere = asyncio.Event()
            there = 0

            async def hold(socket: websockets.ClientConnection) -> None:
                nonlocal there
                await socket.send(json.dumps({"type": "input", "data": "echo num''ber $((20 + 3))\n"}))
                shown = ""
                while "number 23" not in shown:
                    shown += json.loads(await asyncio.wait_for(socket.recv(), 30))["data"]
                there += 1
                if there == TERMINALS:
                    everywhere.set()
                await asyncio.wait_for(everywhere.wait(), 60)

            await asyncio.gather(*[open_terminals(emulator, box, per_box, hold, per_box) for box in boxes])

        asyncio.run(all_of_them())
        wait_until_settled(emulator, before, capsys, f"{TERMINALS} terminals")


def test_many_connects_and_disconnects_leave_nothing(emulator: Emulator, capsys: pytest.CaptureFixture[str]) -> None:
    with emulator.client() as client:
        box = client.sandboxes.create().id
        client.sandboxes.exec(box, "true")
        before = settled_figures(emulator)

        async def nothing(socket: object) -> None: ...

        asyncio.run(open_terminals(emulator, box, CONNECTS, nothing, AT_ONCE))
        wait_until_settled(emulator, before, capsys, f"{CONNECTS} connects")


# --- interactive programs


@pytest.fixture(scope="module")
def sandbox() -> Iterator[tuple[Emulator, Caged, str]]:
    with Emulator(limits=False) as emulator, emulator.client() as client:
        yield emulator, client, client.sandboxes.create().id


@pytest.fixture
def person(sandbox: tuple[Emulator, Caged, str]) -> Iterator[tuple[Term, Callable[[str], str]]]:
    """A terminal at its prompt, and a function that reads a file of the sandbox, which the module shares."""
    emulator, client, box = sandbox
    with Term(emulator.base_url, box, emulator.api_key) as term:
        yield term.prompt(), lambda path: client.sandboxes.exec(box, f"cat {path}").output


def need_program(name: str) -> None:
    if shutil.which(name) is None:
        pytest.skip(f"there is no {name} on this machine")


def test_vi_edits_file(person: tuple[Term, Callable[[str], str]]) -> None:
    need_program("vi")
    term, content = person
    term.type("vi -u NONE notes.txt\n")
    term.until("\x1b[")
    term.until("notes.txt")
    term.type("ifirst line\rsecond line\x1b")
    term.type("ggdwi1st \x1b:w\r")
    term.until("written")
    term.send({"type": "resize", "rows": 40, "cols": 100})
    term.type("Gothird\x1b:wq\r")
    until(lambda: content("notes.txt").count("\n") == 3)
    assert content("notes.txt") == "1st line\nsecond line\nthird\n"
    term.type("stty size; echo back in the sh''ell\n")
    term.until("back in the shell")
    assert "40 100" in term.text


def test_less_pages_file_and_ctrl_c_interrupts_loop(person: tuple[Term, Callable[[str], str]]) -> None:
    need_program("less")
    term, _content = person
    term.type("seq 1 5000 > numbers; less numbers\n")
    term.until("23\r\n")
    assert "4999" not in term.text
    term.type("G")
    term.until("5000")
    term.type("q")
    term.type("while :; do echo run''ning; done\n")
    term.until("running")
    term.type("\x03")
    term.until("^C")
    term.prompt().type("echo and it is ov''er\n")
    term.until("and it is over")


def test_python_prompt_accepts_function_and_interrupt(person: tuple[Term, Callable[[str], str]]) -> None:
    term, _content = person
    term.type("python3 -q\n")
    term.until(">>> ")
    term.type("def f(n):\n    return n * 2\n\nf(21)\n")
    term.until("42")
    term.type("import time; print('wai' + 'ting'); time.sleep(1000)\n")
    term.until("waiting")

    def interrupted() -> bool:
        # One interrupt may not be enough: it is lost between Python's check for signals and the sleep.
        term.type("\x03")
        while term.take(0.2):
            pass
        return "KeyboardInterrupt" in term.text

    until(interrupted)
    term.type("print('still' + ' here')\n")
    term.until("still here")
    term.type("\x04")


def test_tmux_runs(person: tuple[Term, Callable[[str], str]], tmp_path: Path) -> None:
    need_program("tmux")
    term, _content = person
    term.type("tmux -f /dev/null new -s work\n")
    term.until("[work]")
    term.type("echo inside of $TM''UX; tty\n")
    term.until("/dev/pts/")
    term.type("exit\n")
    term.until("[exited]")
