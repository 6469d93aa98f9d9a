"""The socket of a sandbox's init, to which each process in it can connect: hostile clients block nothing else."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from isolation_testing import Emulators
from leftovers import children_of
from levels import LEVELS, Served, isolation

LONG = os.environ.get("CAGED_ATTACKS_LONG") == "1"

# What each client does; `connect()` is a new connection, `question(**fields)` a whole frame, `frame(bytes)` any frame.
CLIENT = """
    import array, json, os, socket, struct, sys, time

    def connect():
        os.chdir(os.environ["ASK"])
        connection = socket.socket(socket.AF_UNIX)
        connection.connect("init.sock")
        connection.settimeout(10)
        return connection

    def frame(content, length=None):
        return struct.pack("!I", len(content) if length is None else length) + content

    def question(**fields):
        base = dict(kind="agent", program="claude", arguments=["-p", "hello"], cwd="/")
        return frame(json.dumps({**base, **fields}).encode())

    def send(*data):
        connection = connect()
        try:
            for piece in data:
                connection.sendall(piece)
        except OSError:
            pass  # disconnected, as it should be
        return connection

    def closed(connection):
        '''Whether it is disconnected, whatever was answered before.'''
        try:
            while connection.recv(1 << 16):
                pass
        except socket.timeout:
            return False
        except OSError:
            pass
        return True

"""

BAD = {
    "deep": 'assert closed(send(frame(b"[" * {depth} + b"]" * {depth})))',
    "deep in an object": """assert closed(send(frame(b'{{"a":' * {depth} + b"1" + b"}}" * {depth})))""",
    "deep arguments": """assert closed(send(frame(b'{{"arguments":' + b"[" * {depth} + b"]" * {depth} + b"}}")))""",
}
DEPTHS = (50, 300, 900, 970, 980, 985, 990, 1000, 5000, 100_000)

SINGLE = {
    "not JSON": 'assert closed(send(frame(b"\\xff\\xfe{")))',
    "other encodings": """
for text in (bytes(4), b'{\\0}\\0', b'\\0{\\0}', b'\\xef\\xbb\\xbf{}', bytes(1000), bytes(range(256)) * 100):
    assert closed(send(frame(text))), text""",
    "not an object": 'assert all(closed(send(frame(text))) for text in (b"1", b"null", b"[]", b"true", b"NaN"))',
    "empty": 'assert closed(send(frame(b"")))',
    "huge number": 'assert closed(send(frame(b"9" * 10_000)))',
    "wrong types": """
for fields in (dict(kind=1), dict(program=None), dict(program={}), dict(arguments="x"), dict(arguments={}),
               dict(arguments=[1]), dict(arguments=[None]), dict(arguments=[[]]), dict(cwd=[]), dict(stdin=1),
               dict(stdin=["x"])):
    assert closed(send(question(**fields))), fields""",
    "half of a surrogate pair": """assert closed(send(frame(b'{"program": "\\\\ud800"}')))""",
    "unknown fields": 'assert closed(send(question(fds=3, op="stop", ev="ready", id=1, question={"a": {}})))',
    "counted descriptors": """
for fds in (-1, 1 << 40, "x", [], {}, 0.5):
    send(question(fds=fds)).close()""",
    "announced 4 GB": 'assert closed(send(frame(b"x" * 1000, 0xFFFFFFFF)))',
    "announced just too much": 'assert closed(send(frame(b"x" * 1000, 4 * 1024 * 1024 + 1)))',
    "200 MB": 'assert closed(send(frame(b"", 200_000_000), *[b"x" * 1_000_000] * 200))',
    "too many arguments": 'assert closed(send(question(arguments=["x"] * 200_000)))',
    "kind unknown": 'assert closed(send(question(kind="x" * 1000)))',
    "two questions at once": "assert closed(send(question() + question()))",
    "hundreds of questions": "assert closed(send(question() * 500))",
    "halves of messages": 'held = [send(frame(b"{", 1000)) for _ in range(300)]',
    "halves of headers": 'held = [send(b"\\0") for _ in range(300)]',
    "large halves": 'held = [send(frame(b"x" * 3_000_000, 4_000_000)) for _ in range(10)]',
    "byte by byte": """
connection = connect()
for byte in question(arguments=["--version"]):
    connection.sendall(bytes([byte]))
assert b"emulator" in connection.recv(1 << 16)""",
    "silent connections": "held = [connect() for _ in range(500)]",
    "connected and gone": "[connect().close() for _ in range(1000)]",
    "queried and gone": "[send(question()).close() for _ in range(100)]",
    "descriptors": """
files = [os.open("/dev/null", os.O_RDONLY) for _ in range(200)]
held = []
for _ in range(30):
    connection = connect()
    held.append(connection)
    try:
        for _ in range(50):
            connection.sendmsg([b"\\0"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))])
    except OSError:
        pass""",
    "does not read": """
held = []
for _ in range(20):
    connection = connect()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    connection.sendall(question(arguments=["-p", "x" * 500_000]))
    held.append(connection)""",
    "shut down": """
connection = send(question())
connection.shutdown(socket.SHUT_RDWR)
held = [connection]""",
}


# Init is the same program at each level; in a PID namespace it has process id 1.
@pytest.fixture(scope="module", params=LEVELS if LONG else ("namespace",))
def anywhere(request: pytest.FixtureRequest, emulators: Emulators) -> Served:
    return emulators(request.param)


@pytest.fixture(scope="module")
def box(anywhere: Served) -> Iterator[str]:
    with anywhere.sandbox(template="python-312", agents=["claude-code"]) as sandbox_id:
        yield sandbox_id


def attack(served: Served, box: str, body: str) -> None:
    """Run a client to its end. If it keeps something open, also run one that stays while others use the socket."""
    folder = "/opt/caged" if isolation(served.level) == "process" else "/run"
    client = "".join(line[4:] + "\n" for line in CLIENT.split("\n")) + body
    served.client.files.write(box, "/workspace/client.py", client)
    stay = '\nprint("done", flush=True)\nif len(sys.argv) > 1:\n    time.sleep(60)\n'
    served.client.files.write(box, "/workspace/staying.py", client + stay)
    served.run(box, f"ASK={folder} python3 client.py")
    if "held" not in body and not LONG:
        assert_works(served, box)
        return
    wait = "until grep -q done out || ! kill -0 $!; do sleep 0.02; done; grep -q done out; echo $!"
    pid = served.run(box, f"ASK={folder} python3 staying.py stay > out 2>&1 & {wait}").strip()
    assert_works(served, box)
    served.client.sandboxes.exec(box, f"kill -9 {pid}")
    assert_works(served, box)


def assert_works(served: Served, box: str) -> None:
    started = time.monotonic()
    assert "fine\n" in served.run(box, "echo fine; claude --version && touch answered && rm answered")
    assert time.monotonic() - started < 20  # if init waited for the hostile client, no response would come
    assert served.client.sandboxes.get(box).status == "running"


@pytest.mark.parametrize("shape", [shape for shape, body in SINGLE.items() if LONG or "held" in body])
def test_sandbox_works_beside_hostile_client(anywhere: Served, box: str, shape: str) -> None:
    attack(anywhere, box, SINGLE[shape])


def test_questions_are_answered_after_each_malformed_one(anywhere: Served, box: str) -> None:
    """One client sends all that keeps nothing open. Its traceback shows which was not refused, or not survived."""
    bodies = {shape: body for shape, body in SINGLE.items() if "held" not in body}
    bodies |= {shape: "\n".join(body.format(depth=depth) for depth in DEPTHS) for shape, body in BAD.items()}
    answered = 'assert b"emulator" in send(question(arguments=["--version"])).recv(1 << 16), {shape!r}'
    attack(anywhere, box, "\n".join(f"{body}\n{answered.format(shape=shape)}" for shape, body in bodies.items()))


def test_large_request_needs_bounded_memory(anywhere: Served, box: str) -> None:
    """Compares the peak memory of the emulator and of init before and after large requests."""
    pids = [anywhere.process.pid, *children_of(anywhere.zygote)]
    before = {pid: peak_kib(pid) for pid in pids}
    attack(anywhere, box, SINGLE["200 MB"] + "\n" + SINGLE["large halves"])
    grown = {pid: peak_kib(pid) - before[pid] for pid in pids if Path(f"/proc/{pid}").exists()}
    assert max(grown.values()) < 60 * 1024


def peak_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    return 0


def test_too_large_standard_input_is_refused_with_reason(anywhere: Served, box: str) -> None:
    result = anywhere.client.sandboxes.exec(box, "head -c 30000000 /dev/zero | claude -p; exit ${PIPESTATUS[1]}")
    assert result.exit_code in (0, 1)
    result = anywhere.client.sandboxes.exec(box, "head -c 30000000 /dev/zero | claude; exit ${PIPESTATUS[1]}")
    assert result.exit_code == 1
    assert "standard input is too large" in result.output
    assert anywhere.run(box, "echo 'fix it' | claude").strip() != ""


def test_attack_does_not_affect_other_sandbox(anywhere: Served, box: str) -> None:
    with anywhere.sandbox(agents=["claude-code"]) as other:
        attack(anywhere, box, SINGLE["hundreds of questions"] + "\n" + SINGLE["silent connections"])
        assert_works(anywhere, other)
