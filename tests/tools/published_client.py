"""Makes every call of the published client `caged-sdk` 0.2.0 and prints what came of each, as JSON: call -> [class of
the exception or "ok", its text or the result]. Run by test_published_client.py, with the Python of an environment that
has that client and not this project.

    python published_client.py BASE_URL API_KEY ALERT NOTIFICATION DASHBOARD_TOKEN
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any, Callable

import caged
from caged import Caged, EventPayload

SECONDS = 60.0
found: dict[str, list[str]] = {}


def note(name: str, call: Callable[[], Any]) -> Any:
    """Make a call and record its outcome. Returns its result, or None."""
    try:
        result = call()
    except Exception as error:
        found[name] = [type(error).__name__, str(error)]
        return None
    found[name] = ["ok", repr(result)]
    return result


def sandboxes(client: Any) -> str:
    box = note("sandboxes.create", lambda: client.sandboxes.create(template="python-312", agents=["claude"])).id
    note("sandboxes.list", client.sandboxes.list)
    note("sandboxes.get", lambda: client.sandboxes.get(box))
    note("sandboxes.get unknown", lambda: client.sandboxes.get("cage_unknown0"))
    note("sandboxes.exec", lambda: client.sandboxes.exec(box, "echo hello; exit 3"))
    note("sandboxes.logs", lambda: client.sandboxes.logs(box, tail=5))
    note("sandboxes.ports none", lambda: client.sandboxes.ports(box))
    server = "import socket, time; s = socket.create_server(('127.0.0.1', 0)); print('on', flush=True); time.sleep(60)"
    client.sandboxes.exec(box, f'python3 -c "{server}" > on & until [ -s on ]; do sleep 0.01; done')
    note("sandboxes.ports", lambda: client.sandboxes.ports(box))
    client.sandboxes.exec(box, "claude -p hello")
    note("sandboxes.trust_scores", lambda: client.sandboxes.trust_scores(box))
    note("sandboxes.pause", lambda: client.sandboxes.pause(box))
    note("sandboxes.resume", lambda: client.sandboxes.resume(box))
    return str(box)


def files(client: Any, box: str) -> None:
    client.sandboxes.exec(box, "echo text > note; mkdir repo; cd repo; git init -q")
    note("files.list", lambda: client.files.list(box, "/workspace"))
    note("files.read", lambda: client.files.read(box, "/workspace/note"))
    note("files.write", lambda: client.files.write(box, "/workspace/new", "x"))
    note("files.git_diff", lambda: client.files.git_diff(box))


def snapshots(client: Any, box: str) -> None:
    note("snapshots.create", lambda: client.snapshots.create(box, name="n"))
    made = client._request("GET", f"/sandboxes/{box}/snapshots")[0]["id"]
    until = time.monotonic() + SECONDS
    while client._request("GET", f"/snapshots/{made}")["status"] == "pending" and time.monotonic() < until:
        time.sleep(0.01)
    note("snapshots.list", lambda: client.snapshots.list(box))
    note("snapshots.get", lambda: client.snapshots.get(made))
    note("snapshots.download_url", lambda: client.snapshots.download_url(made))
    note("snapshots.restore", lambda: client.snapshots.restore(made))
    note("snapshots.delete", lambda: client.snapshots.delete(made))


def records(client: Any, box: str, alert: str, notification: str) -> None:
    session = note("sessions.list_by_sandbox", lambda: client.sessions.list_by_sandbox(box))[0].id
    note("sessions.get", lambda: client.sessions.get(session))
    note("sessions.replay", lambda: client.sessions.replay(session))
    note("sessions.replay_summary", lambda: client.sessions.replay_summary(session))
    event = {"type": "command", "sandbox_id": box}
    note("events.ingest", lambda: client.events.ingest([EventPayload(**event)]))
    timed = EventPayload(**event, timestamp="2026-01-31T12:00:00Z")
    note("events.ingest timed", lambda: client.events.ingest([timed]))
    note("alerts.list", client.alerts.list)
    note("alerts.get", lambda: client.alerts.get(alert))
    note("alerts.resolve", lambda: client.alerts.resolve(alert))
    rules = note("alerts.list_rules", client.alerts.list_rules)
    note("alerts.update_rule", lambda: client.alerts.update_rule(rules[0].id, enabled=True, threshold=10))
    note("notifications.list", client.notifications.list)
    note("notifications.unread_count", client.notifications.unread_count)
    note("notifications.mark_read", lambda: client.notifications.mark_read(notification))
    note("notifications.mark_all_read", client.notifications.mark_all_read)
    note("notifications.get_config", client.notifications.get_config)
    note("notifications.update_config", lambda: client.notifications.update_config(email_enabled=True))


def account(client: Any, dashboard: Any) -> None:
    note("account.list_keys", client.account.list_keys)
    made = note("account.create_key", lambda: client.account.create_key("second"))
    note("account.revoke_key", lambda: client.account.revoke_key(made["info"]["id"]))
    note("account.list_sessions none", client.account.list_sessions)
    note("account.list_sessions", dashboard.account.list_sessions)
    login = dashboard._request("GET", "/account/sessions")[0]["id"]
    note("account.revoke_session", lambda: dashboard.account.revoke_session(login))
    note("billing.get_subscription", client.billing.get_subscription)
    note("billing.create_checkout", lambda: client.billing.create_checkout("pro"))
    note("billing.create_portal", client.billing.create_portal)
    note("billing.cancel", client.billing.cancel)


async def _shown(chunks: asyncio.Queue[str], text: str) -> str:
    """Return what was received, up to and including this text."""
    seen = ""
    while text not in seen:
        seen += await asyncio.wait_for(chunks.get(), SECONDS)
    return seen


async def _terminal(client: Any, box: str) -> str:
    terminal = await client.sandboxes.terminal(box)
    chunks: asyncio.Queue[str] = asyncio.Queue()
    terminal.on_output(chunks.put_nowait)
    await terminal.send("echo out''put $((6 * 7))\n")
    await _shown(chunks, "output 42")
    agreed = terminal._ws.subprotocol
    await terminal.close()
    return f"output 42, subprotocol {agreed}"


async def _stream(client: Any, box: str) -> str:
    """The output arrives; then the client waits for an `exit` message, which the platform does not send."""
    stream = await client.sandboxes.exec_stream(box, "echo out''put")
    seen = ""
    while "output" not in seen:
        seen += await asyncio.wait_for(stream.__anext__(), SECONDS)
    try:
        while True:
            await asyncio.wait_for(stream.__anext__(), 0.5)
    except asyncio.TimeoutError:
        ended = "does not end"
    except StopAsyncIteration:
        ended = "ends"
    await stream.kill()
    return f"output, {ended}, exit_code {stream.exit_code}"


async def _mcp(client: Any, box: str) -> str:
    mcp = await client.sandboxes.mcp(box)
    names = [tool.name for tool in await asyncio.wait_for(mcp.list_tools(), SECONDS)]
    called = await asyncio.wait_for(mcp.call_tool("terminal_exec", {"command": "echo hi"}), SECONDS)
    agreed = mcp._ws.subprotocol
    await mcp.close()
    return f"{'filesystem_read' in names}, {called['content'][0]['text'].strip()}, subprotocol {agreed}"


def sockets(client: Any, box: str) -> None:
    note("sandboxes.terminal", lambda: asyncio.run(asyncio.wait_for(_terminal(client, box), 2 * SECONDS)))
    note("sandboxes.exec_stream", lambda: asyncio.run(asyncio.wait_for(_stream(client, box), 2 * SECONDS)))
    note("sandboxes.mcp", lambda: asyncio.run(asyncio.wait_for(_mcp(client, box), 2 * SECONDS)))


def main(base_url: str, key: str, alert: str, notification: str, token: str) -> None:
    assert caged.__version__ == "0.2.0"
    with Caged(api_key=key, base_url=base_url) as client, Caged(api_key=token, base_url=base_url) as dashboard:
        box = sandboxes(client)
        files(client, box)
        snapshots(client, box)
        records(client, box, alert, notification)
        account(client, dashboard)
        sockets(client, box)
        note("sandboxes.destroy", lambda: client.sandboxes.destroy(box))
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
