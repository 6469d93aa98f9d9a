"""The fixtures. Each imports what it needs when it runs: asyncio alone costs a pytest start a tenth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from . import _environment, _summary, _watch
from ._target import TARGET

if TYPE_CHECKING:
    from caged import AsyncCaged, Caged, Sandbox
    from caged.emulator import Emulator


@pytest.fixture(scope="session")
def caged_emulator(request: pytest.FixtureRequest) -> Iterator[Emulator]:
    """The emulator of this run (with xdist: of this worker), started when needed. Skips in live runs."""
    target = request.config.stash[TARGET]
    if target.live:
        pytest.skip("caged_emulator: the caged target is live, there is no emulator")
    from caged.emulator import Emulator

    with Emulator(isolation=target.isolation) as emulator:
        request.config.stash[_watch.EMULATOR] = emulator
        _watch.start_watching(request.config)
        _summary.note(request.config, emulator)
        yield emulator


@dataclass(frozen=True)
class Scope:
    """What one test works with: on the emulator its own account, in live runs the account of the key."""

    base_url: str
    api_key: str


@pytest.fixture
def _caged_scope(request: pytest.FixtureRequest) -> Iterator[Scope]:
    """Shared by `caged` and `async_caged` of one test. Everything made in it is destroyed when it ends."""
    target = request.config.stash[TARGET]
    _watch.start_watching(request.config)
    if target.live:
        if target.api_key is None:
            raise pytest.UsageError(
                "--caged-target=live needs an API key: pass --caged-api-key=KEY or set CAGED_API_KEY, "
                "or run against the emulator with --caged-target=emulator"
            )
        from ._live import destroying_what_is_created

        scope = Scope(target.base_url, target.api_key)
        with destroying_what_is_created(scope.base_url, scope.api_key):
            yield from _pointing_at(scope, request.node)
        return
    emulator: Emulator = request.getfixturevalue("caged_emulator")
    request.node.stash[_watch.EMULATOR] = emulator
    account = emulator.create_account(name=request.node.name)
    try:
        yield from _pointing_at(Scope(emulator.base_url, account.api_key), request.node)
    finally:
        emulator.delete_account(account.id)


def _pointing_at(scope: Scope, item: pytest.Item) -> Iterator[Scope]:
    saved = _environment.point_at(scope.base_url, scope.api_key)
    item.stash[_watch.SAVED] = saved
    try:
        yield scope
    finally:
        _environment.restore(saved)


@pytest.fixture
def caged(_caged_scope: Scope) -> Iterator[Caged]:
    """A client for this test alone. On the emulator `sandboxes.list()` starts empty.

    What the test creates is destroyed after it, also when it fails. In live runs that is what this process
    created with this API key while the test ran, through this client or any other, and nothing else.
    """
    from caged import Caged

    with Caged(api_key=_caged_scope.api_key, base_url=_caged_scope.base_url) as client:
        yield client


@pytest.fixture
def async_caged(_caged_scope: Scope) -> Iterator[AsyncCaged]:
    """An AsyncCaged for any runner (asyncio.run, pytest-asyncio, anyio), on the same account as `caged`."""
    from caged import AsyncCaged

    from ._transport import unpooled_transport

    # Connections belong to an event loop, and whose loop a test uses, and how often it makes a new one,
    # is its own affair. So none outlives its request: there is nothing to close too late.
    client = AsyncCaged(
        api_key=_caged_scope.api_key,
        base_url=_caged_scope.base_url,
        transport=unpooled_transport(_caged_scope.base_url),
    )
    try:
        yield client
    finally:
        _close(client)


def _close(client: AsyncCaged) -> None:
    import asyncio
    import threading

    def run() -> None:
        # Not asyncio.run: it would take away the event loop that the thread has set.
        loop = asyncio.new_event_loop()
        try:
            loop.run_until_complete(client.close())
        finally:
            loop.close()

    if asyncio._get_running_loop() is None:
        run()
    else:  # a runner that tears fixtures down inside its loop
        thread = threading.Thread(target=run, name="caged-close")
        thread.start()
        thread.join(10)


@pytest.fixture
def caged_sandbox(request: pytest.FixtureRequest, caged: Caged) -> Sandbox:
    """A running sandbox, made with the options of `@pytest.mark.caged(template=..., env=..., ...)`."""
    from caged import CagedError

    options = _sandbox_options(request.node)
    try:
        sandbox = caged.sandboxes.create(**options)
    except CagedError as error:
        # Names only: the values of env and repo_token are nobody's business in a CI log.
        asked = f" (options of @pytest.mark.caged: {', '.join(options)})" if options else ""
        pytest.fail(f"caged_sandbox: {error}{asked}", pytrace=False)
    if sandbox.status == "error":
        logs = "".join(f"\n  {entry.type}: {entry.message}" for entry in caged.sandboxes.logs(sandbox.id))
        pytest.fail(
            f"caged_sandbox: sandbox {sandbox.id} came up with status error. Its logs:{logs}", pytrace=False
        )
    return sandbox


def _sandbox_options(item: pytest.Item) -> dict[str, Any]:
    """The options of all markers of the test; the nearest marker wins, option by option."""
    options: dict[str, Any] = {}
    for marker in reversed(list(item.iter_markers("caged"))):
        if marker.args:
            pytest.fail(
                f"@pytest.mark.caged takes keyword options only, and was given {marker.args[0]!r}; "
                f"write for example @pytest.mark.caged(template={str(marker.args[0])!r})",
                pytrace=False,
            )
        options.update(marker.kwargs)
    return options
