"""Shims start and reach the emulator at every isolation level."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from levels import Served
from sockets import Term, streamed

from caged.emulator import RemoteEmulator


@pytest.fixture
def remote(anywhere: Served) -> Iterator[RemoteEmulator]:
    with RemoteEmulator(anywhere.base_url, anywhere.admin_key) as remote:
        yield remote
        remote.commands.clear()
        remote.agents.clear()


def test_stubbed_program_is_replaced_and_restored(anywhere: Served, box: str, remote: RemoteEmulator) -> None:
    with remote.commands.program("uname", "HAL\n", args="-a"):
        assert anywhere.run(box, "sh -c 'uname -a; uname'") == "HAL\nLinux\n"
    assert anywhere.run(box, "uname") == "Linux\n"


def test_stub_replaces_command_in_stream_and_terminal(anywhere: Served, box: str, remote: RemoteEmulator) -> None:
    remote.commands.stub("frob *", ["a\n", "b\n"], 3, 0.01)
    with Term(anywhere.base_url, box, anywhere.api_key, "") as quiet:
        assert streamed(quiet, "frob x") == ("a\nb\n", 3)
    with Term(anywhere.base_url, box, anywhere.api_key) as person:
        person.prompt().type("frob y\r")
        person.until("a\r\nb\r\n")
        person.prompt().type("echo code=$?\r")
        person.until("code=3\r\n")


def test_agent_replies_and_writes_files(anywhere: Served, remote: RemoteEmulator) -> None:
    remote.agent("claude").reply("done", files={"/workspace/a": "b"})
    with anywhere.sandbox(agents=["claude"]) as box:
        assert anywhere.run(box, "cd /tmp; echo hi | claude; cat /workspace/a") == "done\nb"
        # The interpreter may be in a home of the host, which must not become visible.
        assert ".pyenv" not in anywhere.run(box, "ls -A /root")


def test_shim_cannot_be_changed_by_sandbox(isolated: Served, box: str) -> None:
    for path in ("/opt/caged/bin/x", "/opt/caged/lib/inside/shim.py", "/opt/caged/python/x"):
        assert isolated.client.sandboxes.exec(box, f"echo > {path}").exit_code != 0
