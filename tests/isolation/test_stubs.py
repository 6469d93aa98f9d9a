"""Programs of the emulator's own inside: they are found, start and reach it at every isolation level."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from levels import Served
from sockets import Term, streamed

from caged.emulator import RemoteEmulator


@pytest.fixture
def double(anywhere: Served) -> Iterator[RemoteEmulator]:
    with RemoteEmulator(anywhere.base_url, anywhere.admin_key) as remote:
        yield remote
        remote.commands.clear()
        remote.agents.clear()


def test_a_program_is_stood_in_for_and_the_real_one_is_back(anywhere: Served, box: str, double: RemoteEmulator) -> None:
    with double.commands.program("uname", "HAL\n", args="-a"):
        assert anywhere.run(box, "sh -c 'uname -a; uname'") == "HAL\nLinux\n"
    assert anywhere.run(box, "uname") == "Linux\n"


def test_a_stub_answers_in_a_stream_and_in_a_terminal(anywhere: Served, box: str, double: RemoteEmulator) -> None:
    double.commands.stub("frob *", ["a\n", "b\n"], 3, 0.01)
    with Term(anywhere.base_url, box, anywhere.api_key, "") as quiet:
        assert streamed(quiet, "frob x") == ("a\nb\n", 3)
    with Term(anywhere.base_url, box, anywhere.api_key) as person:
        person.prompt().type("frob y\r")
        person.until("a\r\nb\r\n")
        person.prompt().type("echo code=$?\r")
        person.until("code=3\r\n")


def test_an_agent_answers_and_its_files_are_there(anywhere: Served, double: RemoteEmulator) -> None:
    double.agent("claude").reply("done", files={"/workspace/a": "b"})
    with anywhere.sandbox(agents=["claude"]) as box:
        assert anywhere.run(box, "cd /tmp; echo hi | claude; cat /workspace/a") == "done\nb"
        # Where the interpreter lies is nothing of the sandbox's own: no home of the host is seen for it.
        assert ".pyenv" not in anywhere.run(box, "ls -A /root")


def test_who_asks_cannot_be_changed_from_inside(isolated: Served, box: str) -> None:
    for path in ("/opt/caged/bin/x", "/opt/caged/lib/inside/shim.py", "/opt/caged/python/x"):
        assert isolated.client.sandboxes.exec(box, f"echo > {path}").exit_code != 0
