"""What Inspect's own suite does not test of `CagedSandboxEnvironment`."""

from __future__ import annotations

import errno
import inspect
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from inspect_ai.util import (
    OutputLimitExceededError,
    SandboxEnvironmentSpec,
    SandboxUnavailableError,
    SandboxUserUnsupportedError,
)
from inspect_ai.util._sandbox.events import SandboxEnvironmentProxy
from inspect_ai.util._sandbox.limits import override_max_exec_output_size
from inspect_ai.util._sandbox.registry import registry_find_sandboxenv
from pydantic import ValidationError

from caged import AsyncCaged, Caged, CagedAuthError, CagedError, CagedNotFoundError
from caged.integrations.inspect_ai import CagedSandboxConfig, CagedSandboxEnvironment

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def environment(caged_emulator: Any) -> AsyncIterator[CagedSandboxEnvironment]:
    made = await CagedSandboxEnvironment.sample_init("task", None, {})
    yield made["default"]
    await CagedSandboxEnvironment.sample_cleanup("task", None, made, False)


def test_entry_point_registers_the_environment() -> None:
    assert registry_find_sandboxenv("caged") is CagedSandboxEnvironment


def test_settings_are_the_options_of_create() -> None:
    options = set(inspect.signature(AsyncCaged("key").sandboxes.create).parameters)
    assert set(CagedSandboxConfig.model_fields) == options | {"user"}


def test_settings_survive_a_log_and_can_be_in_a_set() -> None:
    spec = SandboxEnvironmentSpec("caged", CagedSandboxConfig(template="python-312", env={"A": "b"}))
    read = SandboxEnvironmentSpec.model_validate_json(spec.model_dump_json())
    assert read == spec
    assert len({read, spec}) == 1


async def test_settings_come_from_a_file(caged: Caged, tmp_path: Path) -> None:
    path = tmp_path / "sandbox.yaml"
    path.write_text("template: minimal\nenv:\n  GREETING: hello\n")
    made = await CagedSandboxEnvironment.sample_init("task", str(path), {})
    try:
        assert (await made["default"].exec(["sh", "-c", "echo $GREETING"])).stdout == "hello\n"
    finally:
        await CagedSandboxEnvironment.sample_cleanup("task", str(path), made, False)
    assert caged.sandboxes.list() == []


async def test_unknown_setting_in_a_file_is_refused(caged: Caged, tmp_path: Path) -> None:
    path = tmp_path / "sandbox.yaml"
    path.write_text("templat: minimal\n")
    with pytest.raises(ValidationError, match="templat"):
        await CagedSandboxEnvironment.sample_init("task", str(path), {})
    assert caged.sandboxes.list() == []


async def test_sandbox_whose_creation_fails_is_destroyed(caged: Caged) -> None:
    with pytest.raises(CagedError, match="exit"):
        await CagedSandboxEnvironment.sample_init("task", CagedSandboxConfig(init_script="exit 3"), {})
    assert caged.sandboxes.list() == []


async def test_unknown_user_is_unsupported(environment: CagedSandboxEnvironment) -> None:
    with pytest.raises(SandboxUserUnsupportedError, match="stranger"):
        await environment.exec(["true"], user="stranger")


async def test_missing_directory_is_not_found(environment: CagedSandboxEnvironment) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        await environment.exec(["true"], cwd="missing")
    assert caught.value.filename == "/workspace/missing"


async def test_missing_program_is_a_result(environment: CagedSandboxEnvironment) -> None:
    result = await environment.exec(["no-such-program"])
    assert (result.success, result.returncode) == (False, 127)
    assert "no-such-program" in result.stderr


@pytest.mark.parametrize("program", ["cd", "if", "A=b"])
async def test_words_of_the_shell_are_names_of_programs(environment: CagedSandboxEnvironment, program: str) -> None:
    assert (await environment.exec([program, "true"])).returncode == 127


async def test_exit_code_126_of_a_program_is_a_result(environment: CagedSandboxEnvironment) -> None:
    assert (await environment.exec(["sh", "-c", "exit 126"])).returncode == 126


async def test_null_character_is_the_error_that_inspect_reports_to_the_model(
    environment: CagedSandboxEnvironment,
) -> None:
    with pytest.raises(ValueError, match="embedded null byte"):
        await environment.exec(["echo", "a\0b"])


async def test_output_over_the_limit_is_an_error_with_its_beginning(environment: CagedSandboxEnvironment) -> None:
    with override_max_exec_output_size(4), pytest.raises(OutputLimitExceededError) as caught:
        await environment.exec(["echo", "abcdef"])
    assert caught.value.truncated_output == "abcd"


async def test_timeout_has_what_was_printed(environment: CagedSandboxEnvironment) -> None:
    with pytest.raises(TimeoutError) as caught:
        await environment.exec(["sh", "-c", "echo before; sleep 60"], timeout=1)
    assert getattr(caught.value, "truncated_output", None) == "before\n"


@pytest.mark.parametrize(
    ("path", "code"), [("pipe", errno.EINVAL), ("file/below", errno.ENOTDIR), ("/proc/version/below", errno.ENOTDIR)]
)
async def test_write_to_a_path_that_cannot_be_one(environment: CagedSandboxEnvironment, path: str, code: int) -> None:
    await environment.exec(["sh", "-c", "mkfifo pipe; echo content >file"])
    with pytest.raises(OSError, match=path) as caught:
        await environment.write_file(path, "content")
    assert (caught.value.errno, caught.value.filename) == (code, path)


async def test_read_of_a_pipe_does_not_wait(environment: CagedSandboxEnvironment) -> None:
    await environment.exec(["mkfifo", "pipe"])
    with pytest.raises(OSError, match="pipe") as caught:
        await environment.read_file("pipe")
    assert caught.value.errno == errno.EINVAL


@pytest.mark.parametrize("path", ["-n", "a b\n'c'", "-d/(", "$HOME/`id`"])
async def test_any_path_can_be_written_and_read(environment: CagedSandboxEnvironment, path: str) -> None:
    await environment.write_file(path, "content")
    assert await environment.read_file(path) == "content"


async def test_file_that_is_not_text_is_a_decode_error(environment: CagedSandboxEnvironment) -> None:
    await environment.write_file("bytes", b"\xff\0\r\n")
    assert await environment.read_file("bytes", text=False) == b"\xff\0\r\n"
    with pytest.raises(UnicodeDecodeError):
        await environment.read_file("bytes")


async def test_process_of_the_tools_that_inspect_puts_into_the_sandbox(environment: CagedSandboxEnvironment) -> None:
    command = ["sh", "-c", "echo out; echo err >&2; exit 4"]
    result = await SandboxEnvironmentProxy(environment).exec_remote(command, stream=False)
    assert (result.returncode, result.stdout, result.stderr) == (4, "out\n", "err\n")


async def test_destroyed_sandbox_is_unavailable(environment: CagedSandboxEnvironment, caged: Caged) -> None:
    caged.sandboxes.destroy(environment.box.id)
    with pytest.raises(SandboxUnavailableError):
        await environment.exec(["true"])
    with pytest.raises(SandboxUnavailableError):
        await environment.read_file("file")


async def test_paused_sandbox_is_unavailable(environment: CagedSandboxEnvironment, caged: Caged) -> None:
    caged.sandboxes.pause(environment.box.id)
    with pytest.raises(SandboxUnavailableError):
        await environment.exec(["true"])


async def test_key_that_is_refused_ends_the_sample(environment: CagedSandboxEnvironment, caged_emulator: Any) -> None:
    with caged_emulator.faults.add("sandboxes.exec", status=401, times=1), pytest.raises(CagedAuthError):
        await environment.exec(["true"])


async def test_environment_of_a_callers_sandbox_leaves_it(caged: Caged, async_caged: AsyncCaged) -> None:
    async with async_caged:
        box = async_caged.sandboxes.bind(caged.sandboxes.create().id)
        await CagedSandboxEnvironment.sample_cleanup("task", None, {"default": CagedSandboxEnvironment(box)}, False)
        assert caged.sandboxes.get(box.id).status == "running"


async def test_cleanup_command_destroys_the_named_sandbox(caged: Caged) -> None:
    kept, named = caged.sandboxes.create().id, caged.sandboxes.create().id
    await CagedSandboxEnvironment.cli_cleanup(named)
    with pytest.raises(SystemExit, match="pass the id of one: inspect sandbox cleanup caged ID"):
        await CagedSandboxEnvironment.cli_cleanup(None)
    assert [sandbox.id for sandbox in caged.sandboxes.list()] == [kept]
    with pytest.raises(CagedNotFoundError):
        await CagedSandboxEnvironment.cli_cleanup("unknown")


async def test_program_is_run_by_one_request(environment: CagedSandboxEnvironment, caged_emulator: Any) -> None:
    for code in range(3):
        result = await environment.exec(["sh", "-c", f"echo out; echo err >&2; exit {code}"])
        assert (result.returncode, result.stdout, result.stderr) == (code, "out\n", "err\n")
    assert len(caged_emulator.journal.requests(operation="sandboxes.exec")) == 3
