"""Tests that use the clients of the fixtures directly."""

import asyncio

import pytest

pytestmark = pytest.mark.caged(template="python", env={"TEAM": "core"})


@pytest.fixture
def anyio_backend():
    return "asyncio"


def test_sandbox_has_options_of_module_marker(caged, caged_sandbox):
    assert caged_sandbox.template.startswith("python")
    assert caged.sandboxes.exec(caged_sandbox.id, "echo $TEAM").output == "core\n"


@pytest.mark.caged(env={"TEAM": "tools"}, memory_mb=1024)
def test_nearest_marker_wins(caged, caged_sandbox):
    assert caged_sandbox.memory_mb == 1024
    assert caged.sandboxes.exec(caged_sandbox.id, "echo $TEAM").output == "tools\n"


@pytest.mark.caged(agents=["claude"])
def test_agent_is_installed(caged, caged_sandbox):
    assert caged.sandboxes.exec(caged_sandbox.id, "command -v claude").ok


def test_async_client_gets_sandbox_of_sync_client(async_caged, caged_sandbox):
    found = asyncio.run(async_caged.sandboxes.get(caged_sandbox.id))
    assert found.status == "running"


@pytest.mark.anyio
async def test_async_client_under_a_pytest_runner(async_caged, caged_sandbox):
    await async_caged.files.write(caged_sandbox.id, "note.txt", "hello")
    assert (await async_caged.sandboxes.exec(caged_sandbox.id, "cat note.txt")).output == "hello"


def test_paused_and_destroyed_sandbox_is_not_listed(caged, caged_sandbox):
    caged.sandboxes.pause(caged_sandbox.id)
    caged.sandboxes.destroy(caged_sandbox.id)
    assert caged_sandbox.id not in [sandbox.id for sandbox in caged.sandboxes.list()]


@pytest.mark.caged_live_only
def test_live_account_lists_sandbox_of_owner(caged):
    assert caged.sandboxes.list()


@pytest.mark.caged_emulator_only
def test_emulator_is_local(caged_emulator):
    assert caged_emulator.base_url.startswith("http://127.0.0.1:")


def test_without_sandbox():
    assert True
