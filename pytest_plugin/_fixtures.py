"""The fixtures. Each imports what it needs when it runs: asyncio alone costs a pytest start a tenth."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from ._target import TARGET

if TYPE_CHECKING:
    from caged import AsyncCaged, Caged, Sandbox

    from . import _scopes
    from ._emulators import AnyEmulator


@pytest.fixture(scope="session")
def caged_emulator(request: pytest.FixtureRequest) -> Iterator[AnyEmulator]:
    """The emulator of this run: one that runs already (--caged-emulator-url), the one that xdist's workers share
    (--caged-shared), or one of this process, started when needed. Skips in live runs.

    While a test uses another of the fixtures, what is asked of it (faults, clock, stubs, journal) is about that test's
    account; else about the first one, where it is cleared after the test.
    """
    target = request.config.stash[TARGET]
    if target.live:
        pytest.skip("caged_emulator: the caged target is live, there is no emulator")
    from . import _emulators, _summary, _watch

    with _emulators.opened(target) as emulator:
        request.config.stash[_watch.EMULATOR] = emulator
        _watch.start_watching(request.config)
        _summary.note(request.config, emulator)
        yield emulator


@pytest.fixture
def _caged_scope(request: pytest.FixtureRequest) -> Iterator[_scopes.Scope]:
    """Shared by `caged` and `async_caged` of one test. Everything made in it is destroyed when it ends."""
    from . import _scopes, _watch

    _watch.start_watching(request.config)
    if request.config.stash[TARGET].live:
        with _scopes.live(request.node) as scope:
            yield scope
    else:
        with _scopes.on_emulator(request.node, request.getfixturevalue("caged_emulator")) as own:
            yield own


@pytest.fixture
def caged(_caged_scope: _scopes.Scope) -> Caged:
    """A client for this test alone. On the emulator `sandboxes.list()` starts empty.

    What the test creates is destroyed after it, also when it fails. In live runs that is what this process
    created with this API key while the test ran, through this client or any other, and nothing else.
    """
    from caged import Caged

    client = Caged(api_key=_caged_scope.api_key, base_url=_caged_scope.base_url)
    _caged_scope.closing.callback(client.close)
    return client


@pytest.fixture
def async_caged(_caged_scope: _scopes.Scope) -> AsyncCaged:
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
    _caged_scope.closing.callback(_close, client)
    return client


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
def caged_sandbox(request: pytest.FixtureRequest, _caged_scope: _scopes.Scope, caged: Caged) -> Sandbox:
    """A running sandbox, made with the options of `@pytest.mark.caged(template=..., env=..., ...)`."""
    from caged import CagedError

    options = _sandbox_options(request.node)
    try:
        sandbox = caged.sandboxes.create(**options)
    except CagedError as error:
        # Names only: the values of env and repo_token are nobody's business in a CI log.
        asked = f" (options of @pytest.mark.caged: {', '.join(options)})" if options else ""
        pytest.fail(f"caged_sandbox: {error}{asked}", pytrace=False)
    _caged_scope.fixtures.add(sandbox.id)
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
