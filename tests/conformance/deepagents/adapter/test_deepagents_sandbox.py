"""The adapter for deepagents, where LangChain's suite leaves open what happens."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from caged import Caged, CagedServerError
from caged.emulator import AccountView
from caged.integrations.deepagents import TIMED_OUT, CagedSandbox


@pytest.fixture
def backend(caged: Caged) -> Iterator[CagedSandbox]:
    with caged.sandboxes.open() as box:
        yield CagedSandbox(box)


def test_id_is_the_sandboxes(backend: CagedSandbox, caged: Caged) -> None:
    assert [backend.id] == [sandbox.id for sandbox in caged.sandboxes.list()]


def test_streams_are_one_text_in_order(backend: CagedSandbox) -> None:
    response = backend.execute("echo 1; echo 2 >&2; echo 3; exit 4")
    assert (response.output, response.exit_code, response.truncated) == ("1\n2\n3\n", 4, False)


def test_command_that_the_shell_cannot_parse_says_why(backend: CagedSandbox) -> None:
    response = backend.execute("echo (")
    assert response.exit_code not in (0, None)
    assert "yntax error" in response.output


def test_command_that_takes_too_long_is_ended_with_what_it_printed(backend: CagedSandbox) -> None:
    response = backend.execute("echo begun; sleep 600", timeout=1)
    assert response.exit_code == TIMED_OUT
    assert response.output.startswith("begun\n")
    assert "took longer than 1 s" in response.output
    assert backend.execute("pgrep -x sleep").output == ""


def test_zero_means_the_backends_own_limit(caged: Caged) -> None:
    with caged.sandboxes.open() as box:
        assert CagedSandbox(box, timeout=1).execute("sleep 600", timeout=0).exit_code == TIMED_OUT


def test_file_that_cannot_be_written_does_not_affect_the_others(backend: CagedSandbox) -> None:
    files = [("/workspace", b""), ("/workspace/a b/c", b"1"), ("/workspace/a b/c/d", b"2"), ("relative", b"3")]
    responses = backend.upload_files(files)
    assert [response.error for response in responses] == ["is_directory", None, "invalid_path", "invalid_path"]
    answers = backend.download_files(["/workspace/a b/c", "/workspace/none", "/workspace"])
    assert [(answer.content, answer.error) for answer in answers] == [
        (b"1", None),
        (None, "file_not_found"),
        (None, "is_directory"),
    ]


def test_long_output_stays_in_a_file_of_the_sandbox(backend: CagedSandbox) -> None:
    result = backend.execute_with_offload("seq 100000; exit 3", "/tmp/output", max_inline_bytes=1000)
    assert result.offloaded
    assert result.response.exit_code == 3
    assert result.response.output.startswith("1\n2\n")
    assert "100000" in result.response.output
    assert len(result.response.output) < 2000
    assert backend.execute("wc -l </tmp/output").output.strip() == "100000"


def test_failure_of_the_platform_is_raised(backend: CagedSandbox, caged_emulator: AccountView) -> None:
    for use in (lambda: backend.execute("true"), lambda: backend.download_files(["/workspace/x"])):
        with caged_emulator.faults.add("sandboxes.exec", status=503, times=1), pytest.raises(CagedServerError):
            use()
