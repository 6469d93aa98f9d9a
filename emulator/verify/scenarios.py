"""Sequences of requests that are sent once and examined by several checks: a pause, and a destruction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

import httpx

from .context import Context
from .errors import Mismatch
from .raw_client import Socket
from .terminal_screen import TERMINAL_QUERY


@dataclass(frozen=True)
class PauseRecord:
    """The answers around a pause, in the order in which they came.

    Attributes:
        sandbox_id: The sandbox that was paused.
        handshake: The answer to the handshake of a terminal while the sandbox was paused.
    """

    sandbox_id: str
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


def record_pause(context: Context) -> PauseRecord:
    """Write a file in the second sandbox, pause the sandbox, and resume it. Done once."""

    def make() -> PauseRecord:
        sandbox_id = context.second_sandbox_id
        context.run_command("echo kept > kept-by-the-pause", sandbox_id)
        path = f"/sandboxes/{sandbox_id}"
        return PauseRecord(
            sandbox_id=sandbox_id,
            resume_running=context.post(f"{path}/resume"),
            pause=context.post(f"{path}/pause"),
            get=context.get(path),
            pause_again=context.post(f"{path}/pause"),
            exec=context.exec("echo ran", sandbox_id),
            files=context.get(f"{path}/files", params={"path": "/workspace"}),
            handshake=context.client.handshake(f"{path}/terminal{TERMINAL_QUERY}", context.ticket(), "terminal"),
            snapshots=context.get(f"{path}/snapshots"),
            resume=context.post(f"{path}/resume"),
            get_after=context.get(path),
            exec_after=context.exec("cat kept-by-the-pause", sandbox_id),
        )

    return context.shared("a pause", make)


@dataclass(frozen=True)
class DestructionRecord:
    """The answers around the destruction of a sandbox, in the order in which they came.

    Attributes:
        sandbox_id: The sandbox that was destroyed.
        secret: The value of a variable that was declared as a secret, and that a command contained.
        logs: The logs after that command.
        close_code: The code with which an open terminal was closed; None when it stayed open.
    """

    sandbox_id: str
    secret: str
    logs: httpx.Response
    delete: httpx.Response
    close_code: Optional[int]
    get: httpx.Response
    list: httpx.Response
    exec: httpx.Response
    delete_again: httpx.Response
    snapshot: httpx.Response


def record_destruction(context: Context) -> DestructionRecord:
    """Take a snapshot of a third sandbox, open a terminal, and destroy the sandbox. Done once."""

    def make() -> DestructionRecord:
        secret = f"secret-of-{context.unique_name()}"
        fields = {"env": {"CAGED_VERIFY_SECRET": secret}, "secrets": ["CAGED_VERIFY_SECRET"]}
        sandbox_id = str(context.shared_sandbox("the third sandbox", **fields).json()["id"])
        path = f"/sandboxes/{sandbox_id}"
        context.run_command(f"echo {secret}", sandbox_id)
        logs = context.get(f"{path}/logs")
        answer = context.post(f"{path}/snapshots", json={"name": context.unique_name()})
        snapshot_id = str(context.require_json(answer, "a snapshot").get("id"))
        context.add_cleanup("DELETE", f"/snapshots/{snapshot_id}", f"snapshot {snapshot_id}")
        context.wait_for_snapshot(snapshot_id)
        with context.socket("terminal", TERMINAL_QUERY, sandbox=sandbox_id) as terminal:
            delete = context.delete(path)
            close_code = _wait_for_close(context, terminal)
        return DestructionRecord(
            sandbox_id=sandbox_id,
            secret=secret,
            logs=logs,
            delete=delete,
            close_code=close_code,
            get=context.get(path),
            list=context.get("/sandboxes"),
            exec=context.exec("echo ran", sandbox_id),
            delete_again=context.delete(path),
            snapshot=context.get(f"/snapshots/{snapshot_id}"),
        )

    return context.shared("a destroyed sandbox", make)


def _wait_for_close(context: Context, terminal: Socket) -> Optional[int]:
    """Return the code with which the server closes the terminal; None when it does not within 10 s."""
    try:
        with context.time_budget.extra_time(min(10.0, context.time_budget.limit)):
            while terminal.receive() is not None:
                pass
    except Mismatch:
        return None
    return terminal.close_code
