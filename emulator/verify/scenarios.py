"""What is done once and looked at by several checks: a pause of a sandbox, and the end of one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

import httpx

from .check import Different
from .context import Context
from .wire import Socket


@dataclass(frozen=True)
class Paused:
    """The answers in the order in which they came. `handshake`: of a terminal, while it is paused."""

    sandbox: str
    resume_running: httpx.Response
    pause: httpx.Response
    get: httpx.Response
    pause_again: httpx.Response
    exec: httpx.Response
    files: httpx.Response
    handshake: httpx.Response
    snapshots: httpx.Response
    resume: httpx.Response
    get_after: httpx.Response
    exec_after: httpx.Response


def paused(bench: Context) -> Paused:
    """The second sandbox: a file is written, it is paused, and resumed again."""

    def tell() -> Paused:
        box = bench.python_box
        bench.shell("echo kept > kept-by-the-pause", box)
        at = f"/sandboxes/{box}"
        return Paused(
            sandbox=box,
            resume_running=bench.post(f"{at}/resume"),
            pause=bench.post(f"{at}/pause"),
            get=bench.get(at),
            pause_again=bench.post(f"{at}/pause"),
            exec=bench.exec("echo ran", box),
            files=bench.get(f"{at}/files", params={"path": "/workspace"}),
            handshake=bench.wire.handshake(f"{at}/terminal?rows=24&cols=80", bench.ticket(), "terminal"),
            snapshots=bench.get(f"{at}/snapshots"),
            resume=bench.post(f"{at}/resume"),
            get_after=bench.get(at),
            exec_after=bench.exec("cat kept-by-the-pause", box),
        )

    return bench.shared("a pause", tell)


@dataclass(frozen=True)
class Destroyed:
    """`secret`: the value of a variable that is named as one, and that a command had in it before; `logs`: after that.
    `socket_closed`: the code that an open terminal was closed with; None when it stayed open."""

    sandbox: str
    secret: str
    logs: httpx.Response
    delete: httpx.Response
    socket_closed: Optional[int]
    get: httpx.Response
    listed: httpx.Response
    exec: httpx.Response
    delete_again: httpx.Response
    snapshot: httpx.Response


def destroyed(bench: Context) -> Destroyed:
    """A third sandbox: a snapshot is taken, a terminal opened, and it is destroyed."""

    def tell() -> Destroyed:
        secret = f"secret-of-{bench.name()}"
        hidden = {"env": {"CAGED_VERIFY_SECRET": secret}, "secrets": ["CAGED_VERIFY_SECRET"]}
        box = str(bench.sandbox("the third sandbox", **hidden).json()["id"])
        at = f"/sandboxes/{box}"
        bench.shell(f"echo {secret}", box)
        logs = bench.get(f"{at}/logs")
        made = bench.needed(bench.post(f"{at}/snapshots", json={"name": bench.name()}), "a snapshot")
        snapshot = f"/snapshots/{made.get('id')}"
        bench.undo("DELETE", snapshot, f"snapshot {made.get('id')}")
        bench.eventually(lambda: _settled(bench.get(snapshot)), "the snapshot to be completed", 60)
        with bench.socket("terminal", "?rows=24&cols=80", sandbox=box) as terminal:
            delete = bench.delete(at)
            closed = _closed(bench, terminal)
        return Destroyed(
            sandbox=box,
            secret=secret,
            logs=logs,
            delete=delete,
            socket_closed=closed,
            get=bench.get(at),
            listed=bench.get("/sandboxes"),
            exec=bench.exec("echo ran", box),
            delete_again=bench.delete(at),
            snapshot=bench.get(snapshot),
        )

    return bench.shared("a destroyed sandbox", tell)


def _settled(answer: httpx.Response) -> Optional[bool]:
    return None if '"pending"' in answer.text else True


def _closed(bench: Context, terminal: Socket) -> Optional[int]:
    try:
        with bench.patience.aside(min(10.0, bench.patience.limit)):
            while terminal.receive() is not None:
                pass
    except Different:
        return None
    return terminal.closed
