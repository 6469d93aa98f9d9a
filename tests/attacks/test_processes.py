"""What one sandbox can use of the machine: processes, file modes, shared memory."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from continuing import after
from isolation_testing import Emulators, anywhere, python
from levels import LEVELS, Served, need

from caged import AsyncCaged, CagedError
from caged.emulator import ConfigError, Emulator, EmulatorError

LIMIT = 512
LONG = os.environ.get("CAGED_ATTACKS_LONG") == "1"


@pytest.fixture(params=LEVELS if LONG else ("namespace", "process"))
def fresh(request: pytest.FixtureRequest, emulators: Emulators) -> Served:
    return emulators(request.param)


# Unlike a real fork bomb it stops at 560 processes, and its children sleep.
BOMB = """
    import json, os, sys, time
    started = 0
    try:
        while started < 560:
            if os.fork() == 0:
                time.sleep(60)
                os._exit(0)
            started += 1
    except OSError:
        pass
    print(json.dumps(started), flush=True)
    os._exit(0)
"""


def test_exec_and_terminal_at_process_limit_work_at_the_second_try(fresh: Served) -> None:
    async def open_and_close(box: str) -> None:
        async with AsyncCaged(api_key=fresh.api_key, base_url=fresh.base_url) as caged:
            async with await caged.sandboxes.terminal(box):
                pass

    with fresh.sandbox(template="python-312") as box:
        fresh.client.files.write(box, "/workspace/bomb.py", "\n".join(line[4:] for line in BOMB.split("\n")))
        bomb = fresh.client.sandboxes.exec(box, "python3 bomb.py")
        # Init counts a few times a second, at level `process` and where the kernel does not count per sandbox: it does
        # not see what comes and goes in between, and ends everything when it sees too much.
        if fresh.level != "process" and bomb.exit_code == 0:  # else it was ended, or refused
            assert int(bomb.output) <= LIMIT
        first = fresh.client.sandboxes.exec(box, "echo fine")
        if first.error:
            assert "its limit is 512" in first.error
            assert "repeat the command" in first.error
        second = fresh.client.sandboxes.exec(box, "echo fine | cat")
        assert (second.output, second.exit_code) == ("fine\n", 0)
        assert fresh.client.sandboxes.get(box).status == "running"
        said = [entry.message for entry in fresh.client.sandboxes.logs(box)]
        assert any("512 are allowed at a time" in line and "--no-limits" in line for line in said), said

        fresh.client.sandboxes.exec(box, "python3 bomb.py")
        try:
            asyncio.run(open_and_close(box))
        except CagedError:
            pass
        asyncio.run(open_and_close(box))
        assert fresh.client.sandboxes.exec(box, "echo fine").output == "fine\n"


def test_processes_below_limit_are_not_killed(fresh: Served) -> None:
    with fresh.sandbox() as box:
        fresh.run(box, "for i in $(seq 300); do sleep 60 & done > /dev/null 2>&1")
        assert fresh.run(box, "pgrep -c sleep || true") != ""
        assert fresh.run(box, "echo fine") == "fine\n"
        assert not any("are allowed" in entry.message for entry in fresh.client.sandboxes.logs(box))


@pytest.mark.parametrize("umask", ["077", "000", "027"] if LONG else ["077"])
@pytest.mark.parametrize("level", ["namespace", "process"])
def test_sandbox_does_not_inherit_umask(tmp_path: Path, level: str, umask: str) -> None:
    need(level)
    served = Served(tmp_path, level, wrap=after(f"import os; os.umask(0o{umask})"))
    try:
        with served.sandbox() as box:
            assert served.run(box, "umask; sh -c umask; mkdir d; touch f; stat -c %a d f") == "0022\n0022\n755\n644\n"
            assert served.run(box, "stat -c %a /workspace /root") == "755\n755\n"
            settings = "/root/.profile /root/.npmrc /root/.pip /root/.pip/pip.conf"
            if level != "process":
                assert served.run(box, f"stat -c %a {settings}") == "644\n644\n755\n644\n"
            served.client.files.write(box, "/workspace/made/by/api", "x")
            assert served.run(box, "stat -c %a made made/by made/by/api") == "755\n755\n644\n"
    finally:
        served.stop()


#: A program, and the size in MB with which it needs more than 128 MB, and less. Memory is measured twice a second.
MEMORY = {
    "memfd": ("fd = os.memfd_create('x'); write(fd, {mb})", 170, 60),
    "memfds": ("[write(os.memfd_create('x'), {mb}) for _ in range(8)]", 22, 8),
    "memfd mapped": (
        "fd = os.memfd_create('x'); os.truncate(fd, {mb} << 20); m = mmap.mmap(fd, {mb} << 20); touch(m)",
        170,
        60,
    ),
    "shared anonymous": ("held = mmap.mmap(-1, {mb} << 20); touch(held)", 170, 60),
    "shared, of two": ("held = [mmap.mmap(-1, {mb} << 20) for _ in range(3)]; [touch(one) for one in held]", 60, 20),
}
FILL = """
import mmap, os, time
def write(fd, count):
    for _ in range(count):
        os.write(fd, bytes(1 << 20))
def touch(held):
    for at in range(0, len(held), 4096):
        held[at] = 1
{body}
time.sleep({seconds})
"""


@pytest.mark.parametrize("shape", MEMORY)
@pytest.mark.parametrize("level", ["namespace", "process"] if LONG else ["namespace"])
def test_shared_memory_over_limit_is_killed(emulators: Emulators, level: str, shape: str) -> None:
    served = emulators(level)
    program, over, _ = MEMORY[shape]
    with served.sandbox(template="python-312", memory_mb=128) as box:
        served.client.files.write(box, "/workspace/fill.py", FILL.format(body=program.format(mb=over), seconds=60))
        result = served.client.sandboxes.exec(box, "python3 fill.py")
        assert result.exit_code == 137, result.output
        assert served.client.sandboxes.exec(box, "echo fine").output == "fine\n"


@pytest.mark.parametrize("level", ["namespace", "process"] if LONG else ["namespace"])
def test_shared_memory_below_limit_is_not_killed(emulators: Emulators, level: str) -> None:
    served = emulators(level)

    def fill(shape: str) -> int:
        program, _, within = MEMORY[shape]
        with served.sandbox(template="python-312", memory_mb=128) as box:
            served.client.files.write(box, "/workspace/fill.py", FILL.format(body=program.format(mb=within), seconds=1))
            return served.client.sandboxes.exec(box, "python3 fill.py").exit_code

    with ThreadPoolExecutor() as pool:  # each mostly waits for the next measurement
        assert dict(zip(MEMORY, pool.map(fill, MEMORY))) == dict.fromkeys(MEMORY, 0)


def test_memory_file_systems_and_segments_are_bounded(anywhere: Served) -> None:
    if anywhere.level == "process":
        pytest.skip("its /dev/shm is the host's")
    with anywhere.sandbox(template="python-312", memory_mb=128) as box:
        full = anywhere.client.sandboxes.exec(box, "head -c 150M /dev/zero > /dev/shm/x; rm /dev/shm/x")
        if not anywhere.level.startswith("bwrap"):  # its /dev may hold half of the machine's memory
            assert "No space left" in full.output
        program = """
            import ctypes, json
            libc = ctypes.CDLL(None, use_errno=True)
            segments = [libc.shmget(0, ctypes.c_size_t(40 << 20), 0o1600) for _ in range(10)]
            print(json.dumps(sum(1 for segment in segments if segment >= 0)))
        """
        assert python(anywhere, box, program) <= 3


def test_control_group_counts_memfd() -> None:
    try:
        emulator = Emulator(isolation="namespace", memory_limit="sandbox").start()
    except (ConfigError, EmulatorError) as error:
        pytest.skip(str(error).splitlines()[0])
    try:
        with emulator.client() as client:
            box = client.sandboxes.create(template="python-312", memory_mb=128).id
            client.files.write(
                box, "/workspace/fill.py", FILL.format(body="write(os.memfd_create('x'), 170)", seconds=60)
            )
            assert client.sandboxes.exec(box, "python3 fill.py").exit_code == 137
    finally:
        emulator.stop()
