"""The emulator offers nothing that is not in the contract."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from caged import CagedAuthError, CagedNotFoundError, CagedValidationError


def test_account_of_a_snapshot__fails(caged):
    snapshot = caged.snapshots.wait(caged.snapshots.create(caged.sandboxes.create().id).id)
    assert snapshot.account_id


def test_count_of_unread_notifications__fails(caged_emulator, caged):
    headers = {"Authorization": f"Bearer {caged_emulator.api_key}"}
    url = f"{caged_emulator.base_url}/v1/notifications/unread-count"
    assert httpx.get(url, headers=headers, trust_env=False).json()["count"] == 0


def test_file_search_by_base_name__passes(caged):
    box = caged.sandboxes.create()
    caged.files.write(box.id, "a/b.txt", "x")

    async def search():
        async with await caged.sandboxes.mcp(box.id) as mcp:
            return [await mcp.call_tool("filesystem_search", {"pattern": text}) for text in ("*.txt", "**/*.txt")]

    found, not_found = asyncio.run(search())
    assert "b.txt" in str(found)
    assert "b.txt" not in str(not_found)


def test_llm_call_of_a_sandbox_costs__passes(caged):
    from caged import EventPayload

    box = caged.sandboxes.create()
    payload = {"cost_usd": 0.5, "model": "m", "tokens_in": 1, "tokens_out": 1}
    event = EventPayload(type="llm_call", sandbox_id=box.id, session_id="chosen-by-the-client", payload=payload)
    assert caged.events.ingest([event]).accepted == 1
    caged.events.ingest([EventPayload(type="llm_call", sandbox_id=box.id, payload=payload)])
    assert caged.sandboxes.get(box.id).llm_cost >= 0.5


def test_path_outside_is_not_authentication_error__passes(caged):
    box = caged.sandboxes.create()
    with pytest.raises(CagedValidationError) as caught:
        caged.files.write(box.id, "/proc/motd", "x")
    assert not isinstance(caught.value, CagedAuthError)
    with pytest.raises(CagedNotFoundError):
        caged.files.read(box.id, "/no/such/file")
