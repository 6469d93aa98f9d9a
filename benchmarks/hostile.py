"""python benchmarks/hostile.py: the longest pause of the event loop, and the memory of the emulator, while three
accounts do all at once what is meant to hold up others: long texts, bodies of many values, large outputs with many
secrets, long listings, snapshots of large workspaces, batches of events, long commands; deep and large frames to the
socket of a sandbox's init, floods from servers behind previews, half-sent requests and WebSocket handshakes with a body
by the hundred. A fourth account reads a small file all the time.

The emulator runs in a process of its own, with a probe on its event loop. A pause is judged by the processor time that
one round of the loop took: a machine that is busy with other things does not make it longer. The longest delay of a
timer on the clock is printed too, beside that of the same probe in a process that does nothing else."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

SECONDS = 15.0
#: Of the loop's longest pause, in milliseconds, and of the emulator's memory when all is over, in MiB: what the table
#: in docs/limits.md lets three accounts keep (requests, commands, prompts, events of the journal; histories), twice as
#: much because a character may take more than a byte, and what the interpreter has.
PAUSE_BOUND, MEMORY_BOUND = 100.0, 3 * (4 * 32 + 128) * 2 + 200.0
TICK = 0.002

SERVE = """
import json, os, sys, threading, asyncio, time
from caged.emulator.cli.foreground import Foreground
from caged.emulator.config import EmulatorConfig
{probe}
foreground = Foreground(EmulatorConfig.make(port=0), "serve", os.getpid())
longest = [0.0, 0.0]
over = threading.Event()

def control():
    runtime = foreground.runtime
    print(json.dumps({{"base_url": runtime.base_url, "admin_key": runtime.admin_key}}), flush=True)
    sys.stdin.readline()
    longest[:] = 0.0, 0.0  # what was imported by the first calls is not the load
    sys.stdin.readline()
    over.set()
    probing.result()
    print(json.dumps(longest), flush=True)
    sys.stdin.readline()
    runtime.request_stop()

def on_ready():
    global probing
    probing = asyncio.run_coroutine_threadsafe(probe(longest, over), asyncio.get_running_loop())
    threading.Thread(target=control).start()

foreground.run(on_ready)
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
    loop = asyncio.get_running_loop()
    one_round = loop._run_once
    def measured():
        begun = time.thread_time()
        one_round()
        longest[0] = max(longest[0], time.thread_time() - begun)
    loop._run_once = measured
    while not over.is_set():
        begun = time.perf_counter()
        await asyncio.sleep({TICK})
        longest[1] = max(longest[1], time.perf_counter() - begun - {TICK})
"""

# Sends frames to the socket of the sandbox's init, which every program inside may do: deep JSON, a frame that announces
# 4 GiB, 8 MiB that are sent, many small ones.
TO_INIT = """
import os, socket, struct
os.chdir("/run")
def send(content, length=None):
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect("init.sock")
            connection.sendall(struct.pack("!I", len(content) if length is None else length) + content)
        except ConnectionError:
            pass
for depth in (50, 300, 970, 985, 1000, 100_000):
    send(b"[" * depth + b"]" * depth)
send(b"x" * 1000, 0xFFFFFFFF)
send(b"x" * 8_388_608)
for _ in range(50):
    send(b"{}")
"""
# A server that answers each WebSocket handshake with a frame that announces 10 GiB, and sends 100 MiB of it.
FLOOD = """
import base64, hashlib, socket, struct
with socket.create_server(("127.0.0.1", 0)) as server:
    with open("port", "w") as file:
        file.write(str(server.getsockname()[1]))
    while True:
        connection = server.accept()[0]
        try:
            head = connection.recv(65536)
            key = next(line.split(b":", 1)[1].strip() for line in head.split(b"\\r\\n")
                       if line.lower().startswith(b"sec-websocket-key"))
            accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
            lines = b"HTTP/1.1 101 Switching Protocols", b"Upgrade: websocket", b"Connection: Upgrade"
            connection.sendall(b"\\r\\n".join(lines) + b"\\r\\nSec-WebSocket-Accept: " + accept + b"\\r\\n\\r\\n")
            connection.sendall(bytes([0x82, 127]) + struct.pack("!Q", 10 * 1024**3))
            for _ in range(100):
                connection.sendall(b"x" * 1024**2)
        except (OSError, StopIteration):
            pass
        connection.close()
"""
#: Connections that one account opens at once without ever finishing a request.
UNFINISHED = 100


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
        """(processor time of the longest round of the loop, longest delay of a timer)."""
        self.go_on()
        worked, passed = json.loads(self.line())
        return worked * 1000, passed * 1000

    def memory_mib(self, peak: bool) -> float:
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:" if peak else "VmRSS:"):
                return int(line.split()[1]) / 1024
        return 0.0


def leave_unfinished(base_url: str) -> None:
    """Open connections, send half a request or a WebSocket handshake with a body on each, and close them."""
    host, port = urlsplit(base_url).hostname, urlsplit(base_url).port
    halves = (
        b"GET /v1/sandboxes HTTP/1.1\r\nHost: localhost\r\nAuthoriz",
        b"POST /v1/sandboxes HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{",
        b"GET /v1/sandboxes/cage_x/terminal HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        b"Content-Length: 100000\r\n\r\nbody",
    )
    opened = []
    try:
        for number in range(UNFINISHED):
            opened.append(socket.create_connection((host, port), timeout=10))
            opened[-1].sendall(halves[number % len(halves)])
        time.sleep(0.5)  # the load is that they stay open
    except OSError:
        pass  # refused, which is the emulator's right
    finally:
        for connection in opened:
            connection.close()


def visit_flood(base_url: str, box: str, port: str) -> None:
    """Open a WebSocket of a preview whose server floods it, until it is closed."""
    url = f"{base_url.replace('http://', 'ws://')}/_preview/{box}/{port}/"
    try:
        with connect(url, proxy=None, max_size=None, open_timeout=10) as flooded:
            flooded.recv(timeout=20)
    except (WebSocketException, OSError, TimeoutError):
        pass


def attacks(http: httpx.Client) -> list[Callable[[], object]]:
    """What one account does. Bodies are made before, so that this process does little while it measures."""
    env = {f"S{number}": f"secret-value-{number}" for number in range(500)}
    box = http.post(
        "/v1/sandboxes",
        json={"template": "python-312", "agents": ["claude-code"], "env": env, "secrets": list(env)},
    ).json()["id"]

    def run(command: str) -> bytes:
        return http.post(f"/v1/sandboxes/{box}/exec", json={"command": command}).content

    def write(path: str, content: str) -> None:
        http.put(f"/v1/sandboxes/{box}/files/content?path={path}", json={"content": content}).raise_for_status()

    while http.get(f"/v1/sandboxes/{box}").json()["status"] != "running":
        time.sleep(0.02)
    write("to_init.py", TO_INIT)
    write("flood.py", FLOOD)
    run("claude --version; rm -f port; python3 flood.py > /dev/null 2>&1 & while ! [ -s port ]; do sleep 0.05; done")
    port = json.loads(run("cat port"))["output"].strip()
    sent = json.loads(run("python3 to_init.py; echo $?"))
    assert sent["output"] == "0\n", sent
    base_url = str(http.base_url).rstrip("/")
    run("mkdir many && cd many && seq 20000 | xargs touch; cd; truncate -s 300M /workspace/big")
    keys = b'{"command":"true",' + b",".join(b'"key%d":1' % number for number in range(200_000)) + b"}"
    wrong = b'{"template":"minimal","secrets":[' + b",".join([b"1"] * 1_000_000) + b"]}"
    url = json.dumps({"template": "minimal", "repo": "a" * 60_000}).encode()
    event: dict[str, object] = {"type": "command", "timestamp": "2026-01-01T00:00:00Z", "sandbox_id": box}
    event["payload"] = {"command": "> a " * 8000}
    events = json.dumps({"events": [event] * 200}).encode()
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
        lambda: run("python3 to_init.py"),
        lambda: leave_unfinished(base_url),
        lambda: visit_flood(base_url, box, port),
    ]


def repeated(act: Callable[[], object], deadline: float, counts: list[int]) -> None:
    while time.monotonic() < deadline:
        act()
        counts.append(1)


def measure(emulator: Probed, idle: Probed) -> int:
    served = json.loads(emulator.line())

    def client(key: str) -> httpx.Client:
        headers = {"Authorization": f"Bearer {key}"}
        return httpx.Client(base_url=served["base_url"], headers=headers, timeout=120, trust_env=False)

    with client(served["admin_key"]) as admin:
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
    emulator.go_on()
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
    print(f"longest pause of the event loop: {pause[0]:.1f} ms of work in one round;", end=" ")
    print(f"bound {PAUSE_BOUND:g} ms {'ok' if ok else 'TOO LONG'}")
    print(f"longest delay of a timer: {pause[1]:.1f} ms; in an idle process on this machine: {own[1]:.1f} ms")
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
