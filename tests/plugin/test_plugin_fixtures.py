"""The fixtures on the emulator: an account per test, the environment, both clients, the ready sandbox."""

from __future__ import annotations


def test_fixtures_work_as_documented(run_suite, pytester) -> None:
    """In one run: each of these files passes."""
    pytester.makepyfile(
        test_every_test_starts_with_no_sandboxes="""
            import pytest

            @pytest.mark.parametrize("time", range(2))
            def test_starts_empty(caged, time):
                assert caged.sandboxes.list() == []
                caged.sandboxes.create()
        """,
        test_both_clients_of_a_test_share_one_account="""
            import asyncio

            def test_share(caged, async_caged):
                box = asyncio.run(async_caged.sandboxes.create())
                assert [found.id for found in caged.sandboxes.list()] == [box.id]
        """,
        test_code_under_test_that_builds_its_own_client_lands_on_the_same_account="""
            import asyncio
            from caged import AsyncCaged, Caged

            def test_sync(caged):
                with Caged() as own:
                    box = own.sandboxes.create()
                assert [found.id for found in caged.sandboxes.list()] == [box.id]

            def test_async(async_caged):
                async def own():
                    async with AsyncCaged() as client:
                        box = await client.sandboxes.create()
                    return [found.id for found in await async_caged.sandboxes.list()] == [box.id]
                assert asyncio.run(own())
        """,
        test_sandbox_takes_its_options_from_the_nearest_markers="""
            import pytest

            pytestmark = pytest.mark.caged(template="python", memory_mb=1024)

            def test_module(caged_sandbox):
                assert (caged_sandbox.template, caged_sandbox.memory_mb) == ("python-312", 1024)
                assert caged_sandbox.status == "running"

            @pytest.mark.caged(memory_mb=2048, env={"STAGE": "test"}, agents=["claude"])
            def test_function(caged, caged_sandbox):
                assert (caged_sandbox.template, caged_sandbox.memory_mb) == ("python-312", 2048)
                assert caged.sandboxes.exec(caged_sandbox.id, "echo $STAGE").output == "test\\n"
                assert caged.sandboxes.exec(caged_sandbox.id, "claude -p hello").ok
                assert [box.id for box in caged.sandboxes.list()] == [caged_sandbox.id]

            def test_bound(caged, caged_sandbox):
                assert caged_sandbox.run("echo out; echo err >&2").stderr == "err\\n"
                sandbox = caged_sandbox.info()
                assert {name: getattr(caged_sandbox, name) for name in vars(sandbox)} == vars(sandbox)
                caged_sandbox.pause()
                assert caged_sandbox.status == caged.sandboxes.get(caged_sandbox.id).status == "paused"
        """,
        test_a_test_class_of_unittest_can_use_the_fixtures="""
            import unittest, pytest
            from caged import Caged

            @pytest.mark.usefixtures("caged")
            class TestOld(unittest.TestCase):
                def test_own_client(self):
                    with Caged() as own:
                        self.assertEqual(own.sandboxes.list(), [])
        """,
    )
    run_suite(None).assert_outcomes(passed=9)


def test_what_a_failed_test_made_is_gone_with_its_processes_and_key(run_suite, running) -> None:
    result = run_suite(
        """
        import os
        from caged import CagedAuthError
        import pytest

        keys = []

        def test_fails(caged):
            keys.append(os.environ["CAGED_API_KEY"])
            box = caged.sandboxes.create()
            caged.sandboxes.exec(box.id, "sleep 7654.321 >/dev/null 2>&1 &")
            assert 0, "on purpose"

        def test_after(caged_emulator):
            with caged_emulator.client(api_key=keys[0]) as client, pytest.raises(CagedAuthError):
                client.sandboxes.list()
        """
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*AssertionError: on purpose*"])
    assert running("sleep 7654.321") == []


def test_async_client_outlives_event_loops_and_is_closed_without_a_warning(run_suite) -> None:
    result = run_suite(
        """
        import asyncio, gc

        def test_loops(async_caged):
            async def use():
                box = await async_caged.sandboxes.create()
                runs = [async_caged.sandboxes.exec(box.id, f"echo {n}") for n in range(5)]
                return [result.output for result in await asyncio.gather(*runs)]
            for _ in range(3):
                assert asyncio.run(use()) == ["0\\n", "1\\n", "2\\n", "3\\n", "4\\n"]
            gc.collect()

        def test_closed_by_the_test(async_caged):
            async def use():
                async with async_caged:
                    return await async_caged.sandboxes.list()
            assert asyncio.run(use()) == []

        def test_unused(async_caged):
            gc.collect()

        def test_abandoned_in_mid_call(async_caged):
            async def use():
                box = await async_caged.sandboxes.create()
                task = asyncio.ensure_future(async_caged.sandboxes.exec(box.id, "sleep 600"))
                await asyncio.wait([task], timeout=0.2)
            asyncio.run(use())
            gc.collect()

        def test_the_threads_event_loop_is_left_alone(async_caged, request):
            loop = asyncio.new_event_loop()
            asyncio.set_event_loop(loop)
            request.addfinalizer(loop.close)
            assert loop.run_until_complete(async_caged.sandboxes.list()) == []
        """
    )
    result.assert_outcomes(passed=5)


def test_environment_is_restored_also_after_a_failure_or_a_monkeypatch(run_suite, monkeypatch) -> None:
    monkeypatch.setenv("CAGED_API_KEY", "before")
    result = run_suite(
        """
        import os

        def check():
            assert os.environ["CAGED_API_KEY"] == "before"
            assert "CAGED_BASE_URL" not in os.environ

        def test_inside_and_failing(caged, caged_emulator):
            assert os.environ["CAGED_BASE_URL"] == caged_emulator.base_url
            assert os.environ["CAGED_API_KEY"] != "before"
            assert 0

        def test_after_failure():
            check()

        def test_patching(monkeypatch, caged):  # in this order monkeypatch undoes last
            monkeypatch.setenv("CAGED_API_KEY", "during")
            monkeypatch.delenv("CAGED_BASE_URL")

        def test_after_patching():
            check()

        def test_deleting(caged):
            del os.environ["CAGED_API_KEY"]

        def test_after_deleting():
            check()
        """
    )
    result.assert_outcomes(passed=5, failed=1)


def test_bad_sandbox_options_are_errors_that_say_what_is_wrong(run_suite) -> None:
    result = run_suite(
        """
        import pytest

        @pytest.mark.caged(memory=1024)
        def test_unknown_option(caged_sandbox): pass

        @pytest.mark.caged("python")
        def test_positional(caged_sandbox): pass

        @pytest.mark.caged(template="cobol-60", env={"TOKEN": "hidden-value"})
        def test_refused_by_the_api(caged_sandbox): pass
        """
    )
    result.assert_outcomes(errors=3)
    result.stdout.fnmatch_lines(
        [
            "*@pytest.mark.caged: unknown option 'memory'; did you mean 'memory_mb'?",
            "*takes keyword options only*write for example @pytest.mark.caged(template='python')",
            "caged_sandbox: *python-312*(options of @pytest.mark.caged: template, env)",
        ]
    )
    assert "hidden-value" not in result.stdout.str()


def test_sandbox_that_comes_up_broken_fails_the_test_with_its_logs(run_suite) -> None:
    result = run_suite(
        """
        import pytest

        @pytest.mark.caged(init_script="echo the init script ran; exit 3")
        def test_broken(caged_sandbox): pass
        """
    )
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["caged_sandbox: sandbox cage_* with status error. Its logs:", "*init*"])
