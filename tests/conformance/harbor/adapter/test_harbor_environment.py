"""What Harbor demands of an environment, and what is peculiar to one in a sandbox."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
from harbor.environments.base import SandboxBuildFailedError
from harbor.models.task.config import EnvironmentConfig, NetworkMode, NetworkPolicy
from harbor.models.trial.paths import TrialPaths

from caged import AsyncCaged, Caged, CagedError
from caged.integrations.harbor import CagedEnvironment

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Definition:
    """A directory with the definition of an environment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "environment"
        self.folder.mkdir()
        self.trial = TrialPaths(folder / "trial")

    def environment(self, dockerfile: str, settings: Any = None, **options: Any) -> CagedEnvironment:
        (self.folder / "Dockerfile").write_text(dockerfile)
        return CagedEnvironment(
            self.folder, "task", "session", self.trial, EnvironmentConfig(**(settings or {})), **options
        )


@pytest.fixture
def definition(tmp_path: Path) -> Definition:
    return Definition(tmp_path)


def test_options_are_those_of_create() -> None:
    options = set(inspect.signature(AsyncCaged("key").sandboxes.create).parameters)
    assert options <= set(CagedEnvironment.options_schema()["properties"])
    with pytest.raises(ValueError, match="Unknown option 'templat'"):
        CagedEnvironment.parse_options({"templat": "minimal"})


def test_missing_key_is_found_before_a_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CAGED_API_KEY", raising=False)
    with pytest.raises(SystemExit, match="CAGED_API_KEY"):
        CagedEnvironment.preflight()


async def test_dockerfile_is_carried_out(definition: Definition, caged: Caged) -> None:
    (definition.folder / "a.txt").write_text("a")
    (definition.folder / "tool").write_text("#!/bin/sh\necho tool\n")
    (definition.folder / "tool").chmod(0o755)
    (definition.folder / "data").mkdir()
    (definition.folder / "data" / "b.txt").write_text("b")
    environment = definition.environment(
        "FROM ubuntu:24.04\n"
        "LABEL any=thing\n"
        "ENV GREETING='hello there' OTHER=1\n"
        "ENV OLD form of it\n"
        "WORKDIR /app\n"
        "WORKDIR below\n"
        "COPY a.txt .\n"
        "COPY a.txt renamed.txt\n"
        "COPY a.txt tool /usr/local/bin/\n"
        "COPY data /data\n"
        'RUN echo "$GREETING" >made && \\\n    echo second >>made\n'
        'CMD ["sleep", "infinity"]\n'
    )
    await environment.start(force_build=False)
    result = await environment.exec("pwd; cat a.txt renamed.txt /data/b.txt made; tool; echo $OTHER $OLD")
    assert result.stdout == "/app/below\naabhello there\nsecond\ntool\n1 form of it\n"
    await environment.stop(delete=True)
    assert caged.sandboxes.list() == []


@pytest.mark.parametrize(
    "line",
    [
        "USER app",
        "ARG version",
        "COPY --chown=app a /a",
        "COPY *.txt /a",
        "WORKDIR $HOME",
        'RUN ["true"]',
        "FROM other",
    ],
)
def test_other_instructions_are_refused(definition: Definition, line: str) -> None:
    with pytest.raises(ValueError, match="cannot be carried out") as caught:
        definition.environment(f"FROM ubuntu\n{line}\n")
    assert (line if not line.startswith("FROM") else "more than one FROM") in str(caught.value)


def test_compose_is_refused(definition: Definition) -> None:
    (definition.folder / "docker-compose.yaml").write_text("services: {}\n")
    with pytest.raises(ValueError, match="does not run Docker Compose; add a Dockerfile"):
        CagedEnvironment(definition.folder, "task", "session", definition.trial, EnvironmentConfig())


@pytest.mark.parametrize(("line", "said"), [("RUN echo why >&2; exit 3", "exited with 3: why"), ("COPY b .", "COPY b")])
async def test_instruction_that_fails_destroys_the_sandbox(
    definition: Definition, caged: Caged, line: str, said: str
) -> None:
    environment = definition.environment(f"FROM ubuntu\n{line}\n")
    with pytest.raises(SandboxBuildFailedError, match=said):
        await environment.start(force_build=False)
    assert caged.sandboxes.list() == []
    with pytest.raises(RuntimeError, match="no sandbox"):
        await environment.exec("true")
    await environment.stop(delete=True)


async def test_files_and_directories_are_transferred(definition: Definition, tmp_path: Path, caged: Caged) -> None:
    environment = definition.environment("FROM ubuntu\nWORKDIR /app\n")
    await environment.start(force_build=False)
    source = tmp_path / "source"
    (source / "empty").mkdir(parents=True)
    (source / "bytes").write_bytes(bytes(range(256)))
    (source / "link").symlink_to("bytes")
    await environment.upload_dir(source, "/app/copy")
    await environment.upload_file(source / "bytes", "/app/copy/more")
    assert await environment.is_dir("/app/copy/empty")
    assert await environment.is_file("/app/copy/more")
    await environment.download_dir("/app/copy", tmp_path / "back")
    await environment.download_file("/app/copy/more", tmp_path / "more")
    assert sorted(path.name for path in (tmp_path / "back").iterdir()) == ["bytes", "empty", "link", "more"]
    assert (tmp_path / "back" / "link").is_symlink()
    assert (tmp_path / "more").read_bytes() == bytes(range(256))
    await environment.stop(delete=True)


async def test_commands_of_users_with_variables(definition: Definition, caged: Caged) -> None:
    environment = definition.environment(
        "FROM ubuntu\nENV A=image\nRUN useradd --uid 1234 app\n", {"env": {"B": "task"}}, persistent_env={"C": "trial"}
    )
    await environment.start(force_build=False)
    show = "echo $A $B $C; id -un; pwd"
    assert (await environment.exec(show, env={"A": "call"}, cwd="/tmp")).stdout == "call task trial\nroot\n/tmp\n"
    for user in ("app", 1234, "1234"):
        assert (await environment.exec(show, user=user, cwd="/")).stdout == "image task trial\napp\n/\n"
    with environment.with_default_user("app"):
        assert (await environment.exec("id -un")).stdout == "app\n"
    with pytest.raises(RuntimeError, match="timed out after 1 seconds"):
        await environment.exec("sleep 60", timeout_sec=1)
    assert (await environment.exec("echo why >&2; exit 3")).return_code == 3
    await environment.stop(delete=True)


async def test_resources_and_network_come_from_the_task(
    definition: Definition, caged: Caged, caged_emulator: Any
) -> None:
    policy = NetworkPolicy(network_mode=NetworkMode.ALLOWLIST, allowed_hosts=["pypi.org"])
    settings = {"cpus": 2, "memory_mb": 1024, "storage_mb": 1500}
    environment = definition.environment("FROM ubuntu\n", settings, network_policy=policy, template="minimal")
    await environment.start(force_build=True)
    await environment.stop(delete=True)
    [created] = caged_emulator.journal.requests(operation="sandboxes.create")
    assert created.json() == {
        "template": "minimal",
        "cpus": 2,
        "memory_mb": 1024,
        "disk_gb": 2,
        "network_mode": "allowlist",
        "allowlist": ["pypi.org"],
    }


async def test_sandbox_is_kept_unless_it_is_to_be_deleted(definition: Definition, caged: Caged) -> None:
    environment = definition.environment("FROM ubuntu\n")
    await environment.start(force_build=False)
    sandbox_id = environment.box.id
    await environment.stop(delete=False)
    await environment.stop(delete=True)
    assert [sandbox.id for sandbox in caged.sandboxes.list()] == [sandbox_id]


async def test_failure_of_the_platform_is_an_error_of_the_sdk(
    definition: Definition, caged: Caged, caged_emulator: Any
) -> None:
    environment = definition.environment("FROM ubuntu\n")
    with caged_emulator.faults.add("sandboxes.create", status=503), pytest.raises(CagedError):
        await environment.start(force_build=False)
    assert caged.sandboxes.list() == []
