"""The session's emulator: started when needed, one per process, its log in the report of a failure."""

from __future__ import annotations


def test_one_emulator_serves_the_whole_run(run_suite) -> None:
    result = run_suite(
        """
        import os
        seen = set()

        def test_a(caged, caged_emulator):
            seen.add(caged_emulator.base_url)

        def test_b(caged_emulator):
            seen.add(caged_emulator.base_url)
            assert len(seen) == 1
            assert caged_emulator.base_url.startswith("http://127.0.0.1:")
        """
    )
    result.assert_outcomes(passed=2)


def test_every_xdist_worker_has_an_emulator_of_its_own(run_suite, pytester) -> None:
    result = run_suite(
        """
        from pathlib import Path

        def test_where(caged_emulator, worker_id, request):
            (request.config.rootpath / f"{worker_id}.seen").write_text(caged_emulator.base_url)
        """,
        "-n2",
        "--dist=each",
    )
    result.assert_outcomes(passed=2)
    seen = [path.read_text() for path in pytester.path.glob("gw*.seen")]
    assert len(seen) == len(set(seen)) == 2


def test_emulator_log_is_reported_for_a_failed_test_and_for_no_other(run_suite) -> None:
    result = run_suite(
        """
        import logging

        def test_fails(caged, caged_emulator):
            with caged_emulator.emulator._runtime.log.selected():
                logging.getLogger("caged.emulator").error("the emulator stumbled")
            assert 0

        def test_fails_with_sandbox(caged_sandbox): assert 0

        def test_fails_without(): assert 0

        def test_passes(caged): caged.sandboxes.list()
        """
    )
    result.assert_outcomes(failed=3, passed=1)
    assert result.stdout.str().count("caged emulator log") == 2
    assert result.stdout.str().count("the emulator stumbled") == 2 + 1  # + the line of the test's source


def test_a_test_that_stops_the_emulator_is_an_ordinary_failure(run_suite) -> None:
    result = run_suite("def test_stops(caged_emulator):\n    caged_emulator.emulator.stop()\n    assert 0")
    result.assert_outcomes(failed=1)
    assert "INTERNALERROR" not in result.stdout.str()


def test_missing_extra_is_an_error_that_names_it(run_suite, pytester) -> None:
    pytester.makeconftest("import sys; sys.modules['uvicorn'] = sys.modules['starlette'] = None")
    result = run_suite("def test_use(caged): pass", new_interpreter=True)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*ImportError: the emulator needs *: pip install 'caged[[]emulator]'"])


def test_nothing_is_left_after_a_run_with_a_failed_test(run_suite, running, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    result = run_suite(
        """
        def test_passes(caged_sandbox): pass

        def test_fails(caged, caged_sandbox):
            caged.files.write(caged_sandbox.id, "left.txt", "x")
            caged.sandboxes.exec(caged_sandbox.id, "sleep 7654.111 >/dev/null 2>&1 &")
            assert 0
        """
    )
    result.assert_outcomes(passed=1, failed=1)
    assert list(tmp_path.glob("caged*")) == []
    assert running("sleep 7654.111") == []
