"""The adapter for pydantic-ai, where its suite leaves open what happens."""

from __future__ import annotations

import asyncio
import math

import pytest
from pydantic_ai.workspaces import (
    SupportsFilesystem,
    Workspace,
    WorkspaceRef,
    WorkspaceTimeoutError,
    WorkspaceUnavailableError,
)

from caged import AsyncCaged, CagedServerError
from caged.emulator import AccountView
from caged.integrations.pydantic_ai import CagedWorkspace

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def test_unusable_arguments_are_refused(async_caged: AsyncCaged) -> None:
    with pytest.raises(ValueError, match="ref is of provider 'local', not 'caged'"):
        CagedWorkspace(async_caged, ref=WorkspaceRef(provider="local", id="x"))
    with pytest.raises(ValueError, match="template cannot be given with ref"):
        CagedWorkspace(async_caged, ref=WorkspaceRef(provider="caged", id="x"), template="minimal")


async def test_options_are_those_of_create(async_caged: AsyncCaged) -> None:
    workspace = CagedWorkspace(async_caged, template="python-312", env={"A": "1"})
    assert (await workspace.run("echo $A", shell=True)).stdout == "1\n"
    assert workspace.ref is not None
    assert (await async_caged.sandboxes.get(workspace.ref.id)).template == "python-312"


async def test_workspace_has_native_files(async_caged: AsyncCaged) -> None:
    assert isinstance(CagedWorkspace(async_caged), SupportsFilesystem)


@pytest.mark.parametrize("timeout", [0, -1, math.inf, math.nan])
async def test_timeout_that_is_not_positive_is_refused(async_caged: AsyncCaged, timeout: float) -> None:
    with pytest.raises(ValueError, match="timeout must be a positive number"):
        await CagedWorkspace(async_caged).run("true", shell=True, timeout=timeout)


async def test_paused_sandbox_is_resumed(async_caged: AsyncCaged) -> None:
    first = CagedWorkspace(async_caged)
    await first.write_bytes("/workspace/kept", b"1")
    assert first.ref is not None
    await async_caged.sandboxes.pause(first.ref.id)
    assert await CagedWorkspace(async_caged, ref=first.ref).read_bytes("/workspace/kept") == b"1"


async def test_transient_failure_is_the_callers(async_caged: AsyncCaged, caged_emulator: AccountView) -> None:
    workspace = CagedWorkspace(async_caged)
    await workspace.working_dir()
    with caged_emulator.faults.add("sandboxes.exec", status=503, times=1), pytest.raises(CagedServerError):
        await workspace.run("true", shell=True)
    assert (await workspace.run("true", shell=True)).exit_code == 0


async def test_failed_creation_is_tried_again(async_caged: AsyncCaged, caged_emulator: AccountView) -> None:
    workspace = CagedWorkspace(async_caged)
    with caged_emulator.faults.add("sandboxes.create", status=500, times=1), pytest.raises(CagedServerError):
        await workspace.working_dir()
    assert workspace.ref is None
    assert await workspace.working_dir() == "/workspace"


async def test_creation_goes_on_when_its_caller_is_cancelled(
    async_caged: AsyncCaged, caged_emulator: AccountView
) -> None:
    workspace = CagedWorkspace(async_caged)
    with caged_emulator.faults.add("sandboxes.create", delay=0.3, times=1):
        first = asyncio.ensure_future(workspace.working_dir())
        await asyncio.sleep(0)  # it has begun
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert await workspace.working_dir() == "/workspace"
    assert [sandbox.id for sandbox in await async_caged.sandboxes.list()] == [workspace.ref and workspace.ref.id]


async def test_command_without_a_timeout_has_the_workspaces(async_caged: AsyncCaged) -> None:
    workspace = CagedWorkspace(async_caged, command_timeout=1)
    with pytest.raises(WorkspaceTimeoutError) as raised:
        await workspace.run("echo begun; echo failing >&2; sleep 600", shell=True)
    assert (raised.value.stdout, raised.value.stderr) == ("begun\n", "failing\n")
    assert (await workspace.run("pgrep -x sleep", shell=True)).stdout == ""


async def test_creation_that_ends_in_an_error_is_unavailable(async_caged: AsyncCaged) -> None:
    workspace = CagedWorkspace(async_caged, init_script="exit 3")
    for _ in range(2):
        with pytest.raises(WorkspaceUnavailableError):
            await workspace.working_dir()
    assert len(await async_caged.sandboxes.list()) == 1


async def test_working_directory_is_not_removed_through_a_link(async_caged: AsyncCaged) -> None:
    workspace = Workspace(CagedWorkspace(async_caged))
    await workspace.run("ln -s / root; ln -s /workspace self", shell=True)
    for path in ("root/workspace", "/workspace", "/workspace/../workspace"):
        with pytest.raises(ValueError, match="working directory"):
            await workspace.remove(path)
    await workspace.remove("self")
    assert sorted(entry.name for entry in await workspace.list_dir(".")) == ["root"]
    with pytest.raises(FileNotFoundError):
        await workspace.remove("none/none")


async def test_links_are_described_by_what_they_lead_to(async_caged: AsyncCaged) -> None:
    workspace = Workspace(CagedWorkspace(async_caged))
    await workspace.run("mkdir d; echo 1 > f; ln -s d ld; ln -s f lf; ln -s none ln", shell=True)
    entries = {entry.name: (entry.is_dir, entry.size) for entry in await workspace.list_dir(".")}
    assert entries == {
        "d": (True, None),
        "f": (False, 2),
        "ld": (True, None),
        "lf": (False, 2),
        "ln": (False, None),
    }
