"""What the report of a failed test says of its account."""

from __future__ import annotations

from typing import Any

SOURCE = """
    import pytest

    @pytest.mark.caged(env={"TOKEN": "hidden-value"})
    def test_fails(caged, caged_sandbox):
        caged.sandboxes.exec(caged_sandbox.id, "echo hello")
        assert 0

    def test_on_the_first_account(caged_emulator):
        with caged_emulator.client() as client:
            client.account.create_key("second")
        assert 0

    def test_passes(caged): caged.sandboxes.list()

    @pytest.fixture
    def broken(caged, caged_sandbox): assert 0, "in a fixture"

    def test_in_setup(broken): pass

    def test_with_many(caged):
        for number in range(30):
            caged.account.get()
        assert 0

    def test_long_bodies(caged, caged_sandbox):
        caged.files.write(caged_sandbox.id, "long.txt", "long " * 10000)
        assert 0
"""


def test_requests_and_logs_are_in_the_report(run_suite) -> None:
    result = run_suite(SOURCE, "-n2")
    result.assert_outcomes(failed=4, errors=1, passed=1)
    text = result.stdout.str()
    assert text.count("caged last 20 requests") == 5
    assert "/exec -> 200 (" in text
    assert '  > {"command": "echo hello"}' in text
    assert '"output": "hello\\n"' in text
    assert "$ echo hello (exit 0" in text  # of the sandbox's log
    assert "/v1/account/keys -> 201" in text
    assert '"key": "***"' in text
    assert '"env": {"TOKEN": "***"}' in text
    assert "hidden-value" not in text.replace('@pytest.mark.caged(env={"TOKEN": "hidden-value"})', "")
    assert text.count("GET /v1/account -> 200") == 20
    assert max(map(len, result.outlines)) < 700


def test_report_of_a_live_run_shows_the_logs_of_the_api(run_suite, live: Any) -> None:
    result = run_suite(
        """
        def test_fails(caged, caged_sandbox):
            caged.sandboxes.exec(caged_sandbox.id, "echo hello")
            assert 0
        """,
        *live,
    )
    result.assert_outcomes(failed=1)
    text = result.stdout.str()
    assert "POST /v1/sandboxes -> 201 (" in text
    assert "$ echo hello (exit 0" in text
