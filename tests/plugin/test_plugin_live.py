"""Live runs: the emulator of our own run stands for the real API."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from caged import Caged, CagedNotFoundError
from caged.pytest_plugin._creations import Creations


def test_only_what_the_tests_created_is_destroyed(run_suite, api: Caged, live: Any) -> None:
    owned = api.sandboxes.create()
    kept = api.snapshots.wait(api.snapshots.create(owned.id, name="kept").id, timeout=20)
    keys = {key.id for key in api.account.list_keys()}
    result = run_suite(
        """
        import asyncio, os, threading
        from caged import AsyncCaged, Caged

        def test_fixtures(caged, caged_sandbox, async_caged):
            assert len(caged.sandboxes.list()) == 2  # live: not empty, the account has an owner
            caged.snapshots.create(caged_sandbox.id)
            asyncio.run(async_caged.sandboxes.create())

        def test_own_clients(caged):
            with Caged() as own:
                box = own.sandboxes.create()
                own.sandboxes.pause(box.id)  # makes an automatic snapshot
                print("automatic:", *(snapshot.id for snapshot in own.snapshots.list(box.id)))
                own.sandboxes.destroy(box.id)  # which outlives it
            async def run():
                async with AsyncCaged() as own:
                    box = await own.sandboxes.create()
                    await own.sandboxes.pause(box.id)
                    print("automatic:", *(snapshot.id for snapshot in await own.snapshots.list(box.id)))
                    await own.sandboxes.destroy(box.id)
                    await own.sandboxes.create()
            asyncio.run(run())

        def test_thread_and_second_key(caged):
            secret = caged.account.create_key("second").key
            def work():
                with Caged(api_key=secret) as own:
                    own.sandboxes.create()
            thread = threading.Thread(target=work)
            thread.start()
            thread.join(60)

        def test_snapshot_of_what_was_there(caged):
            (owned,) = caged.sandboxes.list()  # all else is gone again
            caged.snapshots.create(owned.id, name="mine")

        def test_fails(caged_sandbox):
            assert 0
        """,
        *live,
    )
    result.assert_outcomes(passed=4, failed=1)
    assert [box.id for box in api.sandboxes.list()] == [owned.id]
    assert [snapshot.id for snapshot in api.snapshots.list(owned.id)] == [kept.id]
    assert {key.id for key in api.account.list_keys()} == keys
    automatic = [line.split()[1] for line in result.outlines if line.startswith("automatic: ")]
    assert len(automatic) == 2
    for id in automatic:
        with pytest.raises(CagedNotFoundError):
            api.snapshots.get(id)


def test_environment_names_the_live_target_while_a_fixture_is_active(run_suite, live: Any) -> None:
    result = run_suite(
        """
        import os

        def test_inside(caged, request):
            assert os.environ["CAGED_API_KEY"] == request.config.getoption("caged_api_key")
            assert os.environ["CAGED_BASE_URL"] == request.config.getoption("caged_base_url")

        def test_outside():
            assert "CAGED_API_KEY" not in os.environ
            assert "CAGED_BASE_URL" not in os.environ
        """,
        *live,
    )
    result.assert_outcomes(passed=2)


def test_key_and_url_may_come_from_the_environment(run_suite, api: Caged, live: Any, monkeypatch) -> None:
    _, url, key = (option.partition("=")[2] for option in live)
    monkeypatch.setenv("CAGED_BASE_URL", url)
    monkeypatch.setenv("CAGED_API_KEY", key)
    result = run_suite("def test_box(caged_sandbox): pass", "--caged-target=live")
    result.assert_outcomes(passed=1)
    assert api.sandboxes.list() == []


def test_tests_that_need_the_emulator_object_are_skipped(run_suite, live: Any) -> None:
    result = run_suite("def test_it(caged_emulator): pass", *live)
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED *caged_emulator: the caged target is live, there is no emulator"])


def test_what_cannot_be_destroyed_is_reported() -> None:
    creations = Creations("https://api.example", "key")
    creations.record(request("POST", "sandboxes"), httpx.Response(201, json={"id": "cage_1"}))
    creations.record(request("POST", "sandboxes"), httpx.Response(201, json={"id": "cage_2"}))
    broken = httpx.MockTransport(lambda sent: httpx.Response(404 if "cage_1" in sent.url.path else 500))
    with Caged("key", "https://api.example", max_retries=0, transport=broken) as client:
        problems = creations.destroy(client)
    refused = [problem.split(":")[0] for problem in problems]
    assert refused == [
        "snapshots of sandbox cage_2 could not be listed, so those of a pause may still exist",
        "sandbox cage_2 could not be destroyed",
    ]


@pytest.mark.parametrize(
    ("method", "path", "key", "status"),
    [
        ("POST", "sandboxes", "another-key", 201),
        ("POST", "sandboxes", "key", 400),
        ("GET", "sandboxes", "key", 200),
        ("POST", "sandboxes/cage_1/exec", "key", 200),
        ("POST", "snapshots/snap_1/restore", "key", 200),
        ("POST", "sandboxes/cage_not_ours/pause", "key", 204),
    ],
)
def test_requests_that_create_nothing_of_ours_are_left_alone(method, path, key, status) -> None:
    creations = Creations("https://api.example", "key")
    sent = request(method, path, key)
    if creations.is_relevant(sent):
        assert creations.record(sent, httpx.Response(status, json={"id": "thing_1"})) is None
    assert (creations.sandboxes, creations.snapshots, creations.keys) == ([], [], [])


def test_another_api_with_the_same_key_is_left_alone() -> None:
    creations = Creations("https://api.example", "key")
    assert not creations.is_relevant(request("POST", "sandboxes", base="https://api.example.evil"))


def request(method: str, path: str, key: str = "key", base: str = "https://api.example") -> httpx.Request:
    return httpx.Request(method, f"{base}/v1/{path}", headers={"Authorization": f"Bearer {key}"})


# --- the search for the snapshots of a pause: an extra request, which the test must not notice

PAUSES = """
    import asyncio, httpx, os, time
    import pytest
    from caged import AsyncCaged, Caged
    from caged.emulator import RemoteEmulator

    FAULTS = [
        {"status": 500},
        {"status": 404, "body": "not JSON"},
        {"drop": "before"},
        {"drop": "mid-body"},
        {"hang": True},
    ]

    @pytest.fixture(params=FAULTS, ids=str)
    def fault(request):
        url, key, account = os.environ["API"].split()
        with RemoteEmulator(url, key, account=account) as api:
            yield lambda: api.faults.add("snapshots.list", times=1, **request.param)

    def test_client_with_a_transport_of_its_own(fault, caged, caged_sandbox):
        fault()  # once: the destruction after the test lists them, too
        seen = []

        class Transport(httpx.HTTPTransport):
            def handle_request(self, request):
                seen.append((request.method, request.url.path.rpartition("/")[2]))
                assert len(seen) == 1, "more requests than the test sends"
                return super().handle_request(request)

        with Caged(transport=Transport()) as own:
            began = time.perf_counter()
            own.sandboxes.pause(caged_sandbox.id)
            print("took:", time.perf_counter() - began)
        assert seen == [("POST", "pause")]

    def test_async(fault, async_caged):
        async def run():
            box = await async_caged.sandboxes.create()
            fault()
            began = time.perf_counter()
            await async_caged.sandboxes.pause(box.id)
            print("took:", time.perf_counter() - began)
        asyncio.run(run())
"""


def test_the_search_for_automatic_snapshots_never_fails_or_delays_a_pause(
    run_suite, pytester: pytest.Pytester, account: Any, live: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API", f"{account.base_url} {account.emulator.admin_key} {account.id}")
    # The end of the test waits for the search. On a busy machine a pause may take so long without it: again with more.
    for look in (2.0, 20.0):
        pytester.makeconftest(
            f"""
            from caged.pytest_plugin import _creations, _request_recorder
            _creations.LOOK = _request_recorder.LOOK = {look}
            """
        )
        result = run_suite(PAUSES, *live)
        result.assert_outcomes(passed=10)
        took = [float(line.split()[1]) for line in result.outlines if line.startswith("took: ")]
        assert len(took) == 10
        if max(took) < look - 0.5:
            break
    assert max(took) < look - 0.5


def test_a_ledger_that_cannot_be_written_is_not_a_failure_of_a_request(run_suite, api: Caged, live: Any) -> None:
    result = run_suite(
        """
        import pytest
        from caged._runs import Ledger

        @pytest.fixture(autouse=True)
        def full(monkeypatch, caged):
            def write(self, **line):
                raise OSError(28, "No space left on device")
            monkeypatch.setattr(Ledger, "_write", write)

        def test_it(caged):
            caged.sandboxes.destroy(caged.sandboxes.create().id)
            caged.sandboxes.create()
        """,
        *live,
    )
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*the ledger could not be written*No space left on device*"])
    assert api.sandboxes.list() == []
