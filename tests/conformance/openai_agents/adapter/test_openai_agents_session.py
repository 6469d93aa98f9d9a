"""What is peculiar to a session in a sandbox of Caged."""

from __future__ import annotations

import inspect
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from agents.sandbox.entries import InContainerMountStrategy, S3Mount
from agents.sandbox.entries.mounts.patterns import RcloneMountPattern
from agents.sandbox.errors import (
    ExecTransportError,
    ExposedPortUnavailableError,
    MountConfigError,
    WorkspaceArchiveReadError,
    WorkspaceArchiveWriteError,
)
from agents.sandbox.manifest import Manifest
from agents.sandbox.session import SandboxSession
from agents.sandbox.session.sandbox_client import BaseSandboxClientOptions

from caged import AsyncCaged, Caged, CagedError
from caged.integrations import openai_agents
from caged.integrations.openai_agents import CagedSandboxClient, CagedSandboxClientOptions

pytestmark = pytest.mark.anyio


@pytest.fixture
async def client(async_caged: AsyncCaged) -> AsyncIterator[CagedSandboxClient]:
    async with async_caged:
        yield CagedSandboxClient(async_caged)


@pytest.fixture
async def session(client: CagedSandboxClient) -> AsyncIterator[SandboxSession]:
    script = "useradd --create-home agent && chown agent /workspace"
    created = await client.create(options=CagedSandboxClientOptions(init_script=script))
    await created.start()
    yield created
    await client.delete(created)


def test_options_are_those_of_create_and_can_be_saved() -> None:
    arguments = set(inspect.signature(AsyncCaged("key").sandboxes.create).parameters)
    options = CagedSandboxClientOptions(template="node-22", packages=["jq"], exposed_ports=(80,))
    assert set(options.create_arguments()) == arguments
    assert BaseSandboxClientOptions.parse(options.model_dump(mode="json")) == options


async def test_commands_and_files_of_another_user(session: SandboxSession) -> None:
    assert (await session.exec("id -un; pwd", user="agent")).stdout == b"agent\n/workspace\n"
    await session.write(Path("made/file"), io.BytesIO(b"content"), user="agent")
    assert (await session.exec("stat -c %U made made/file")).stdout == b"agent\nagent\n"
    await session.exec("echo secret >secret; chmod 600 secret; mkdir closed; chmod 700 closed")
    with pytest.raises(WorkspaceArchiveReadError):
        await session.read(Path("secret"), user="agent")
    with pytest.raises(WorkspaceArchiveWriteError):
        await session.write(Path("closed/file"), io.BytesIO(b""), user="agent")
    assert not (await session.exec("true", user="stranger")).ok()


@pytest.mark.parametrize(("fault", "retryable"), [({"status": 503}, True), ({"status": 403}, False)])
async def test_failure_of_the_platform_says_whether_to_retry(
    session: SandboxSession, caged_emulator: Any, fault: dict[str, Any], retryable: bool
) -> None:
    with caged_emulator.faults.add("sandboxes.exec", times=1, **fault), pytest.raises(ExecTransportError) as caught:
        await session.exec("true")
    assert caught.value.retryable is retryable
    assert isinstance(caught.value.__cause__, CagedError)


async def test_exposed_port_has_a_url(client: CagedSandboxClient, monkeypatch: pytest.MonkeyPatch) -> None:
    # A network of its own: another program of the machine may use the ports.
    options = CagedSandboxClientOptions(network_mode="none", exposed_ports=(8080, 8123, 8124))
    created = await client.create(options=options)
    async with created:
        for port in (8080, 8123):
            await created.exec(f"python3 -m http.server {port} >/dev/null 2>&1 &")
        endpoint = await created.resolve_exposed_port(8080)
        assert endpoint.host
        assert endpoint.port > 0
        with pytest.raises(ExposedPortUnavailableError) as caught:
            await created.resolve_exposed_port(8123)
        assert "no preview URL" in str(caught.value.context)
        monkeypatch.setattr(openai_agents, "_PORT_TIMEOUT", 0.1)
        with pytest.raises(ExposedPortUnavailableError) as caught:
            await created.resolve_exposed_port(8124)
        assert "nothing listens" in str(caught.value.context)
    await client.delete(created)


async def test_paused_sandbox_is_resumed_from_the_state(client: CagedSandboxClient, caged: Caged) -> None:
    created = await client.create(options=CagedSandboxClientOptions(pause_on_exit=True))
    async with created:
        await created.write(Path("file"), io.BytesIO(b"content"))
    state = client.deserialize_session_state(client.serialize_session_state(created.state))
    [sandbox] = caged.sandboxes.list()
    assert sandbox.status == "paused"
    async with await client.resume(state) as resumed:
        assert (await resumed.read(Path("file"))).read() == b"content"
    assert [found.id for found in caged.sandboxes.list()] == [sandbox.id]


async def test_mounts_are_refused(client: CagedSandboxClient, caged: Caged) -> None:
    mount = S3Mount(bucket="b", mount_strategy=InContainerMountStrategy(pattern=RcloneMountPattern()))
    with pytest.raises(MountConfigError, match="no mounts"):
        await client.create(manifest=Manifest(entries={"data": mount}))
    assert caged.sandboxes.list() == []


async def test_sandbox_whose_creation_fails_is_destroyed(client: CagedSandboxClient, caged: Caged) -> None:
    with pytest.raises(CagedError, match="exit"):
        await client.create(options=CagedSandboxClientOptions(init_script="exit 3"))
    assert caged.sandboxes.list() == []


async def test_client_of_its_own_is_closed(caged: Caged) -> None:
    client = CagedSandboxClient()
    session = await client.create()
    await client.delete(session)
    await client.aclose()
    with pytest.raises(CagedError, match="closed"):
        await client.create()
    assert caged.sandboxes.list() == []


async def test_command_is_run_by_one_request(session: SandboxSession, caged_emulator: Any) -> None:
    def requests() -> int:
        return len(caged_emulator.journal.requests(operation="sandboxes.exec"))

    before = requests()
    for code in range(3):
        assert (await session.exec(f"echo out; exit {code}")).exit_code == code
    assert requests() == before + 3
