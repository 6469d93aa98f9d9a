"""python benchmarks/hostile.py: the longest pause of the event loop, and the memory of the emulator, while three
accounts do all at once what is meant to hold up others: long texts, bodies of many values, large outputs with many
secrets, long listings, snapshots of large workspaces, batches of events, long commands. A fourth account reads a small
file all the time.

The emulator runs in a process of its own, with a probe on its event loop. A pause is judged by the processor time that
the loop's thread took from one turn to the next: a machine that is busy with other things does not make it longer. The
time on the clock is printed too, beside that of the same probe in a process that does nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx

SECONDS = 15.0
#: Of the loop's longest pause, in milliseconds, and of the emulator's memory when all is over, in MiB: what the table
#: in docs/limits.md lets three accounts keep (requests, commands, prompts, events of the journal; histories), twice as
#: much because a character may take more than a byte, and what the interpreter has.
PAUSE_BOUND, MEMORY_BOUND = 100.0, 3 * (4 * 32 + 128) * 2 + 200.0
TICK = 0.002

SERVE = """
import json, sys, threading, asyncio, time
from caged.emulator import Emulator
{probe}
with Emulator() as emulator:
    longest = [0.0, 0.0]
    over = threading.Event()
    probing = asyncio.run_coroutine_threadsafe(probe(longest, over), emulator._loop)
    print(json.dumps({{"base_url": emulator.base_url, "admin_key": emulator.admin_key}}), flush=True)
    sys.stdin.readline()
    over.set()
    probing.result()
    print(json.dumps(longest), flush=True)
    sys.stdin.readline()
"""
IDLE = """
import json, sys, threading, asyncio, time
{probe}
longest = [0.0, 0.0]
over = threading.Event()
threading.Thread(target=lambda: (sys.stdin.readline(), over.set())).start()
asyncio.run(probe(longest, over))
print(json.dumps(longest), flush=True)
"""
PROBE = f"""
async def probe(longest, over):
    while not over.is_set():
        begun, worked = time.perf_counter(), time.thread_time()
        await asyncio.sleep({TICK})
        longest[0] = max(longest[0], time.thread_time() - worked)
        longest[1] = max(longest[1], time.perf_counter() - begun - {TICK})
"""


class Probed:
    def __init__(self, code: str) -> None:
        words = [sys.executable, "-c", code.format(probe=PROBE)]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def go_on(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def longest_ms(self) -> tuple[float, float]:
        """(processor time of the loop's thread, time on the clock) of the longest pause."""
        self.go_on()
        worked, passed = json.loads(self.line())
        return worked * 1000, passed * 1000

    def memory_mib(self, peak: bool) -> float:
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:" if peak else "VmRSS:"):
                return int(line.split()[1]) / 1024
        return 0.0


def attacks(http: httpx.Client) -> list[Callable[[], object]]:
    """What one account does. Bodies are made before, so that this process does little while it measures."""
    env = {f"S{number}": f"secret-value-{number}" for number in range(500)}
    box = http.post("/v1/sandboxes", json={"template": "minimal", "env": env, "secrets": list(env)}).json()["id"]

    def run(command: str) -> bytes:
        return http.post(f"/v1/sandboxes/{box}/exec", json={"command": command}).content

    run("mkdir many && cd many && seq 20000 | xargs touch; cd; truncate -s 300M /workspace/big")
    keys = b'{"command":"true",' + b",".join(b'"key%d":1' % number for number in range(200_000)) + b"}"
    wrong = b'{"template":"minimal","secrets":[' + b",".join([b"1"] * 1_000_000) + b"]}"
    url = json.dumps({"template": "minimal", "repo": "a" * 60_000}).encode()
    told: dict[str, object] = {"type": "command", "timestamp": "2026-01-01T00:00:00Z", "sandbox_id": box}
    told["payload"] = {"command": "> a " * 8000}
    events = json.dumps({"events": [told] * 200}).encode()
    long = json.dumps({"command": "true # " + "x" * 5_000_000}).encode()
    spaces = json.dumps({"command": ": " + "curl " * 99 + "'|" + " " * 1_000_000 + "'"}).encode()

    def post(path: str, body: bytes) -> Callable[[], object]:
        return lambda: http.post(path, content=body, headers={"Content-Type": "application/json"}).content

    def snapshot() -> None:
        made = http.post(f"/v1/sandboxes/{box}/snapshots", json={}).json()
        if "id" in made:
            http.delete(f"/v1/snapshots/{made['id']}")

    exec_ = f"/v1/sandboxes/{box}/exec"
    return [
        post(exec_, keys),
        post("/v1/sandboxes", wrong),
        post("/v1/sandboxes", url),
        post("/v1/events/ingest", events),
        post(exec_, long),
        post(exec_, spaces),
        lambda: run("head -c 16000000 /dev/urandom"),
        lambda: http.get(f"/v1/sandboxes/{box}/files", params={"path": "/workspace/many"}).content,
        snapshot,
    ]


def repeated(act: Callable[[], object], deadline: float, counts: list[int]) -> None:
    while time.monotonic() < deadline:
        act()
        counts.append(1)


def measure(emulator: Probed, idle: Probed) -> int:
    told = json.loads(emulator.line())

    def client(key: str) -> httpx.Client:
        headers = {"Authorization": f"Bearer {key}"}
        return httpx.Client(base_url=told["base_url"], headers=headers, timeout=120, trust_env=False)

    with client(told["admin_key"]) as admin:
        keys = [admin.post("/_emulator/accounts", json={}).json()["api_key"] for _ in range(4)]
    *hostile, quiet = [client(key) for key in keys]
    work = [act for http in hostile for act in attacks(http)]
    box = quiet.post("/v1/sandboxes", json={"template": "minimal"}).json()["id"]
    path = f"/v1/sandboxes/{box}/files/content?path=small"
    quiet.put(path, json={"content": "x"}).raise_for_status()
    counts: list[int] = []
    times: list[float] = []
    deadline = time.monotonic() + SECONDS
    threads = [threading.Thread(target=repeated, args=(act, deadline, counts)) for act in work]
    for thread in threads:
        thread.start()
    while time.monotonic() < deadline:
        begun = time.perf_counter()
        quiet.get(path).raise_for_status()
        times.append((time.perf_counter() - begun) * 1000)
        time.sleep(0.01)
    for thread in threads:
        thread.join()
    pause, own = emulator.longest_ms(), idle.longest_ms()
    peak, after = emulator.memory_mib(peak=True), emulator.memory_mib(peak=False)
    for http in (*hostile, quiet):
        http.close()
    emulator.go_on()
    times.sort()
    print(f"{len(counts)} hostile requests of 3 accounts, {len(times)} small reads of a fourth, in {SECONDS:g} s")
    median = times[len(times) // 2]
    print(f"small reads: median {median:.1f} ms, longest {times[-1]:.1f} ms, with this client's own part")
    ok = pause[0] < PAUSE_BOUND
    print(f"longest pause of the event loop: {pause[0]:.1f} ms of work;", end=" ")
    print(f"bound {PAUSE_BOUND:g} ms {'ok' if ok else 'TOO LONG'}")
    print(f"on the clock: {pause[1]:.1f} ms; of an idle loop on this machine: {own[1]:.1f} ms")
    small = after < MEMORY_BOUND
    print(f"memory: {after:.0f} MiB, at most {peak:.0f} MiB;", end=" ")
    print(f"bound {MEMORY_BOUND:g} MiB {'ok' if small else 'TOO MUCH'}")
    print(f"Python {sys.version.split()[0]}")
    return int(not (ok and small))


def main() -> int:
    emulator, idle = Probed(SERVE), Probed(IDLE)
    try:
        return measure(emulator, idle)
    finally:
        for probed in (emulator, idle):
            if probed.process.stdin is not None:
                probed.process.stdin.close()
            try:
                probed.process.wait(30)
            except subprocess.TimeoutExpired:
                probed.process.kill()


if __name__ == "__main__":
    sys.exit(main())
