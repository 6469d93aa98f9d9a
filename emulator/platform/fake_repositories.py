"""Fake repositories: making and removing them, how git in each sandbox reaches them, and what it does there."""

from __future__ import annotations

import asyncio
import secrets
import shlex
import sys
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Optional

from .. import cage as cage_package
from ..cage import disk
from ..cage.cage import Cage
from ..cage.chosen_isolation import ChosenIsolation
from ..cage.init_client import SandboxGone
from ..cage.inside.network import listen_on_loopback
from ..cage.zygote import python_words
from ..control.clock import Clock
from ..control.current_account import ALL_ACCOUNTS, acting_for
from ..control.journal import Journal
from ..control.records import PushRecord
from ..control.redaction import MOST as MOST_TOKENS
from ..control.repositories import MAIN, Repository
from ..control.repository_registry import Repositories
from ..control.repository_urls import RepositoryAddress
from ..control.steps import Steps
from ..repositories import client_settings
from ..repositories.access import GitClient, RefUpdate, ServedRepository
from ..repositories.bare_repository import BareRepository, UnknownNameError
from ..repositories.git_process import GitError, GitProcesses
from ..repositories.server import RepositoryServer
from ..store import Sandbox, Store
from ..workers import Workers
from .errors import ApiError
from .live_sandboxes import LiveSandboxes
from .recorder import SandboxRecorder

#: Of each repository, how many branches and tags that were changed by pushes are kept; the oldest are dropped.
MOST_PUSHES = 1000
#: The file of git's settings, in /opt/caged.
_SETTINGS = "git-settings"
#: URLs that the text about an unknown repository names.
MOST_NAMED = 12
_CALL = "sys.exit(it.main(*sys.argv[1:]))"


class FakeRepositories:
    """The fake repositories of an emulator.

    As long as an account has none, nothing of this exists in its sandboxes.

    Args:
        run_dir: The emulator's directory, in which they are.
    """

    def __init__(
        self,
        registry: Repositories,
        store: Store,
        live: LiveSandboxes,
        isolation: ChosenIsolation,
        recorder: SandboxRecorder,
        journal: Journal,
        steps: Steps,
        clock: Clock,
        workers: Workers,
        run_dir: Path,
    ) -> None:
        self._registry = registry
        self._store = store
        self._live = live
        self._isolation = isolation
        self._recorder = recorder
        self._journal = journal
        self._steps = steps
        self._clock = clock
        self._workers = workers
        self._directory = run_dir / "repositories"
        self._server = RepositoryServer(self._client_of)
        self._git = GitProcesses()
        self._made: dict[str, BareRepository] = {}
        self._pushes: dict[str, deque[PushRecord]] = {}
        self._sandboxes: dict[str, str] = {}  # secret -> sandbox id
        self._lock: Optional[asyncio.Lock] = None

    # --- the repositories

    async def add(self, account: str, options: Mapping[str, Any]) -> Repository:
        """Make a repository, and connect the account's sandboxes to it.

        Raises:
            ValueError, TypeError: An option is wrong; the text starts with its name.
            ApiError: A running sandbox cannot be connected; the repository is not added.
        """
        control = self._registry.add(account, **options)
        for sandbox in list(self._store.sandboxes.values()):
            self._learn_tokens(sandbox)
        bare = BareRepository(self._directory / control.id, control.url, self._git)
        try:
            self._directory.mkdir(exist_ok=True, mode=0o700)
            await self._make(control, bare)
            self._made[control.id] = bare
            self._pushes[control.id] = deque(maxlen=MOST_PUSHES)
            await self._update_sandboxes(account)
        except BaseException as error:
            await self.remove(control)
            if isinstance(error, (GitError, UnknownNameError, OSError)):
                text = str(error)
                raise ValueError(text if text.startswith("branch: ") else f"source: {text}") from error
            raise
        return control

    async def _make(self, control: Repository, bare: BareRepository) -> None:
        bundle = control.bundle()
        if bundle:
            control.default_branch = await bare.make_of_bundle(bundle, control.branch)
        else:
            control.default_branch = control.branch or MAIN
            files = control.source if isinstance(control.source, Mapping) else {}
            await bare.make_of_files(files, control.default_branch)
        control.source = {}  # it is on disk

    async def remove(self, control: Repository) -> None:
        """Remove a repository. Harmless when it was removed before. Raises ApiError when a running sandbox cannot be
        disconnected."""
        self._registry.remove(control)
        self._pushes.pop(control.id, None)
        bare = self._made.pop(control.id, None)
        try:
            await self._update_sandboxes(control.account)
        finally:
            if bare is not None or (self._directory / control.id).exists():
                await self._workers.walk.run(disk.remove, self._directory / control.id)

    async def clear(self, account: str) -> None:
        """Remove those that were added for exactly this account; for `*`, every one."""
        for control in self._registry.cleared_by(account):
            await self.remove(control)

    def bare(self, control: Repository) -> BareRepository:
        """A repository on disk. Raises UnknownNameError while it is being made or removed."""
        found = self._made.get(control.id)
        if found is None:
            raise UnknownNameError(f"{control} does not exist any more")
        return found

    def pushes(self, control: Repository) -> Sequence[PushRecord]:
        """What was pushed to a repository, oldest first."""
        return list(self._pushes.get(control.id, ()))

    async def stop(self) -> None:
        """End all connections."""
        await self._server.close()

    # --- sandboxes

    async def connect(self, sandbox: Sandbox, cage: Cage) -> None:
        """Let git in a sandbox reach the account's repositories, or no longer if there are none. Harmless to repeat.

        Raises:
            SandboxGone: The sandbox's processes have ended, or do not answer.
            OSError: No socket or file can be made.
        """
        self._learn_tokens(sandbox)
        if self._is_settled(sandbox, cage):
            return
        if self._lock is None:
            self._lock = asyncio.Lock()
        async with self._lock:
            while not self._is_settled(sandbox, cage):  # repositories may be added and removed meanwhile
                if cage.git_environment:
                    await self._disconnect(cage)
                else:
                    await self._connect(sandbox, cage)

    def _learn_tokens(self, sandbox: Sandbox) -> None:
        """Redact the tokens of the account's repositories in all that is kept of a sandbox, also once they are removed:
        its files may still have them."""
        known = sandbox.fake_repository_tokens
        tokens = [token for control in self._registry.list(sandbox.account_id) for token in control.tokens]
        new = [token for token in dict.fromkeys(tokens) if token not in known]
        known += new
        del known[:-MOST_TOKENS]
        self._journal.redact(sandbox.account_id, new)  # a repository of all accounts was added by no account's request

    def _is_settled(self, sandbox: Sandbox, cage: Cage) -> bool:
        """Whether a sandbox is connected exactly if its account has a repository, or has ended."""
        return not cage.alive or bool(cage.git_environment) == bool(self._registry.list(sandbox.account_id))

    async def _connect(self, sandbox: Sandbox, cage: Cage) -> None:
        own_network = sandbox.network_mode != "full" and self._isolation.current.own_network
        listening = await cage.serve(own_network)
        port = int(listening.getsockname()[1])
        listener = await self._server.listen(listening, sandbox.id)
        if not cage.alive:  # killed meanwhile: nothing calls `on_kill` any more
            listener.close()
            return
        cage.on_kill.append(listener.close)
        secret = self._new_secret(sandbox)
        cage.on_kill.append(lambda: _forget(self._sandboxes, secret))
        try:
            await self._workers.small.run(_install, cage, port, secret)
        except BaseException:
            _close(cage)
            raise
        opt = cage.layout.command_path("opt/caged")
        cage.git_environment = client_settings.environment(f"{opt}/{_SETTINGS}")

    async def _disconnect(self, cage: Cage) -> None:
        """The opposite of `_connect`. Programs that run have the path of the settings: they find an empty file."""
        cage.git_environment = {}
        _close(cage)
        await self._workers.small.run((cage.layout.opt / _SETTINGS).write_text, "", "utf-8")

    async def _update_sandboxes(self, account: str) -> None:
        """Connect or disconnect the sandboxes of an account. Raises ApiError if that fails for one that runs: its git
        would reach other hosts than the user expects."""
        failures = []
        for sandbox in list(self._store.sandboxes.values()):
            cage = self._live.of(sandbox).cage
            if cage is None or not cage.alive or account not in (sandbox.account_id, ALL_ACCOUNTS):
                continue
            try:
                await self.connect(sandbox, cage)
            except (SandboxGone, OSError) as error:
                if cage.alive:  # else it was destroyed meanwhile
                    failures.append(f"{sandbox.id}: {error}")
        if failures:
            raise ApiError(
                503,
                "git in running sandboxes cannot be connected to the fake repositories, or disconnected from them"
                f" ({'; '.join(failures[:MOST_NAMED])}); try again, or destroy the sandboxes first",
            )

    @asynccontextmanager
    async def reached_outside(self, sandbox: Sandbox, outside: Cage) -> AsyncIterator[None]:
        """Let git that runs for a sandbox outside of its isolation (`Cage.outside`) reach the repositories in the
        block."""
        if outside.git_environment or not self._registry.list(sandbox.account_id):
            yield  # without isolation, it is the sandbox itself, which is connected
            return
        listening = listen_on_loopback(0)
        port, secret = int(listening.getsockname()[1]), self._new_secret(sandbox)
        listener = await self._server.listen(listening, sandbox.id)
        inside = Path(cage_package.__file__).parent
        words = [*python_words(sys.executable, str(inside), "git_ssh", _CALL), str(port), secret]
        program = self._directory / f"{sandbox.id}.ssh"
        settings = self._directory / f"{sandbox.id}.settings"
        try:
            program.write_text(f'#!/bin/sh\nexec {" ".join(map(shlex.quote, words))} "$@"\n', "utf-8")
            program.chmod(0o700)
            settings.write_text(client_settings.settings(port, secret, str(program)), "utf-8")
            outside.git_environment = client_settings.environment(str(settings))
            yield
        finally:
            listener.close()
            _forget(self._sandboxes, secret)
            for file in (program, settings):
                file.unlink(missing_ok=True)

    def _new_secret(self, sandbox: Sandbox) -> str:
        secret = secrets.token_hex(16)
        self._sandboxes[secret] = sandbox.id
        return secret

    # --- what git does

    def _client_of(self, secret: str) -> Optional[GitClient]:
        sandbox = self._store.sandboxes.get(self._sandboxes.get(secret, ""))
        return None if sandbox is None else _SandboxClient(self, sandbox)

    def find(self, sandbox: Sandbox, address: RepositoryAddress) -> Optional[ServedRepository]:
        """The repository that an address means in a sandbox."""
        control = self._registry.find(sandbox.account_id, address)
        if control is None or control.id not in self._made:
            return None
        return ServedRepository(control.id, control.url, self._made[control.id], control.tokens)

    def describe_unknown(self, sandbox: Sandbox, host: str, path: str) -> str:
        """Record that a sandbox wanted a repository that does not exist, and return what git prints."""
        wanted = "".join(letter for letter in f"{host}/{path.strip('/')}"[:300].rstrip("/") if letter.isprintable())
        urls = sorted(self._registry.urls(sandbox.account_id))
        listed = ", ".join(urls[:MOST_NAMED]) + (", …" if len(urls) > MOST_NAMED else "")
        text = f"git reaches only the fake repositories of this account, and {wanted} is none of them: {listed}"
        with acting_for(sandbox.account_id):
            self._recorder.log(sandbox, f"git: {text}", "network")
        self._add_step(sandbox, f"git: unknown repository {wanted}", error=text)
        return text

    def note_use(self, repository: ServedRepository) -> None:
        """Count a git command that reads or writes a repository."""
        control = self._registry.get(repository.id)
        if control is not None:
            control.used += 1

    def note_push(self, sandbox: Sandbox, repository: ServedRepository, updates: Sequence[RefUpdate]) -> None:
        """Record a push."""
        control = self._registry.get(repository.id)
        if control is None or not updates:
            return
        control.pushes += len(updates)
        with acting_for(sandbox.account_id):
            at = self._clock.timestamp()
        records = [PushRecord(at, sandbox.id, one.ref, one.before, one.after) for one in updates]
        self._pushes.setdefault(control.id, deque(maxlen=MOST_PUSHES)).extend(records)
        names = ", ".join(one.ref for one in updates[:5]) + (", …" if len(updates) > 5 else "")
        self._add_step(sandbox, f"git push to {repository.url}: {names}", repository, refs=len(updates))

    def add_step(self, sandbox: Sandbox, title: str, repository: ServedRepository, error: str = "") -> None:
        """Record a step of a repository."""
        self._add_step(sandbox, title, repository, error=error)

    def _add_step(
        self,
        sandbox: Sandbox,
        title: str,
        repository: Optional[ServedRepository] = None,
        error: str = "",
        **data: Any,
    ) -> None:
        command = self._steps.running_command(sandbox.id)
        with acting_for(sandbox.account_id):
            self._steps.add(
                "event",
                title,
                outcome="error" if error else "ok",
                account=sandbox.account_id,
                sandbox=sandbox.id,
                parent=command.id if command is not None else "",
                controls=[repository.id] if repository is not None else (),
                event="git",
                session="",
                data={**data, **({"error": error} if error else {})},
            )


class _SandboxClient(GitClient):
    def __init__(self, repositories: FakeRepositories, sandbox: Sandbox) -> None:
        self._repositories = repositories
        self._sandbox = sandbox

    def find(self, address: RepositoryAddress) -> Optional[ServedRepository]:
        return self._repositories.find(self._sandbox, address)

    def describe_unknown(self, host: str, path: str) -> str:
        return self._repositories.describe_unknown(self._sandbox, host, path)

    def note_use(self, repository: ServedRepository) -> None:
        self._repositories.note_use(repository)

    def note_fetch(self, repository: ServedRepository, is_clone: bool) -> None:
        verb = "clone of" if is_clone else "fetch from"
        self._repositories.add_step(self._sandbox, f"git {verb} {repository.url}", repository)

    def note_refusal(self, repository: ServedRepository, reason: str) -> None:
        self._repositories.add_step(self._sandbox, f"git refused by {repository.url}", repository, reason)

    def note_push(self, repository: ServedRepository, updates: Sequence[RefUpdate]) -> None:
        self._repositories.note_push(self._sandbox, repository, updates)


def _install(cage: Cage, port: int, secret: str) -> None:
    """Write the program in place of ssh, and git's settings, into /opt/caged."""
    program = cage.programs.install_git_ssh(port, secret)
    file = cage.layout.opt / _SETTINGS
    file.write_text(client_settings.settings(port, secret, program), "utf-8")
    file.chmod(0o644)


def _close(cage: Cage) -> None:
    """Close a sandbox's connection to the server."""
    while cage.on_kill:
        cage.on_kill.pop()()


def _forget(sandboxes: dict[str, str], secret: str) -> None:
    sandboxes.pop(secret, None)
