"""What the report of a failed test says of its account."""

from __future__ import annotations

import re
from typing import Any

import pytest

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

    def test_with_many(caged, caged_emulator):
        box = caged.sandboxes.create(agents=["claude-code"])
        caged_emulator.faults.add("account.get", status=503, times=1, retry_after=0)
        caged_emulator.commands.stub("npm tset", "no tests")
        caged_emulator.agent("claude").reply("repaired it", cost_usd=0.25)
        for number in range(60):
            caged.account.get()
        caged.sandboxes.exec(box.id, "claude -p 'repair it'")
        caged.sandboxes.exec(box.id, "npm test; seq 1000; exit 3")
        caged.sandboxes.destroy(box.id)
        assert 0

    def test_long_bodies(caged, caged_sandbox):
        caged.files.write(caged_sandbox.id, "long.txt", "long " * 10000)
        assert 0
"""


def timelines(result: pytest.RunResult) -> dict[str, list[str]]:
    """The lines of the timelines in the reports of failed tests, by the names of the tests."""
    found: dict[str, list[str]] = {}
    test, lines = "", None
    for line in result.outlines:
        header = re.fullmatch(r"_+ (?:ERROR at \w+ of )?(\w+) _+", line)
        if header:
            test, lines = header[1], None
        elif "- caged timeline -" in line:
            lines = found[test] = []
        elif re.match(r"(-{3,}|_{3,}|={3,}) ", line):
            lines = None
        elif lines is not None:
            lines.append(line)
    return found


def test_short_report_is_a_timeline_without_bodies(run_suite) -> None:
    result = run_suite(SOURCE, "-n1")
    result.assert_outcomes(failed=4, errors=1, passed=1)
    text, shown = result.stdout.str(), timelines(result)
    assert set(shown) == {
        "test_fails",
        "test_on_the_first_account",
        "test_in_setup",
        "test_with_many",
        "test_long_bodies",
    }
    assert any("$ echo hello -> exit 0  (line 5)" in line for line in shown["test_fails"])
    assert any("! setup" in line for line in shown["test_in_setup"])
    many = shown["test_with_many"]
    assert len(many) <= 40
    listed = "\n".join(many)
    assert "account.get  (line 26)" in listed
    assert "GET /v1/account -> 503  <- fault account.get 503" in listed
    assert "claude-code: repair it -> repaired it, $0.25" in listed
    assert "$ npm test; seq 1000; exit 3 -> exit 3  (line 28)" in listed
    assert "| 1000" in listed, "the end of the output of a command in a sandbox that is gone"
    assert "destroyed" in listed
    assert "never triggered: stub 'npm tset' (test_short_report_is_a_timeline_without_bodies.py:23)" in listed
    assert "nearest: npm test" in listed
    assert "caged last 20 requests" not in text
    assert "hidden-value" not in text.replace('@pytest.mark.caged(env={"TOKEN": "hidden-value"})', "")
    assert max(map(len, result.outlines)) < 700


def test_full_report_has_requests_and_logs(run_suite) -> None:
    result = run_suite(SOURCE, "--caged-report=full")
    result.assert_outcomes(failed=4, errors=1, passed=1)
    text = result.stdout.str()
    assert len(timelines(result)) == 5
    assert text.count("caged last 20 requests") == 5
    assert "/exec -> 200 (" in text
    assert '  > {"command": "echo hello"}' in text
    assert '"output": "hello\\n"' in text
    assert "$ echo hello (exit 0" in text  # of the sandbox's log
    assert "/v1/account/keys -> 201" in text
    assert '"key": "***"' in text
    assert '"env": {"TOKEN": "***"}' in text
    assert "hidden-value" not in text.replace('@pytest.mark.caged(env={"TOKEN": "hidden-value"})', "")
    assert max(map(len, result.outlines)) < 700


def test_report_can_be_turned_off(run_suite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAGED_REPORT", "full")
    result = run_suite(SOURCE, "--caged-report=none", "--caged-trace=off", "-k", "test_fails")
    result.assert_outcomes(failed=1)
    result.stdout.no_fnmatch_line("*- caged *")


def test_report_of_a_live_run_shows_the_calls_and_the_logs_of_the_api(run_suite, live: Any) -> None:
    source = """
        from caged import CagedError

        def test_fails(caged, caged_sandbox):
            caged.sandboxes.exec(caged_sandbox.id, "echo hello")
            try:
                caged.sandboxes.get("cage_nope")
            except CagedError:
                pass
            assert 0
        """
    result = run_suite(source, *live)
    result.assert_outcomes(failed=1)
    listed = "\n".join(timelines(result)["test_fails"])
    assert re.search(r"sandboxes\.exec cage_\w+  \(line 4\)", listed)
    assert "GET /v1/sandboxes/cage_nope -> 404" in listed
    text = result.stdout.str()
    assert "$ echo hello (exit 0" in text
    assert "caged last 20 requests" not in text
    result = run_suite(None, *live, "--caged-report=full")
    assert "POST /v1/sandboxes -> 201 (" in result.stdout.str()
