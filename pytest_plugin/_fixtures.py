"""The fixtures. Each imports what it needs when it runs: importing asyncio alone takes a tenth of pytest's start."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from ._factory import CagedFactory
from ._markers import SANDBOX, sandbox_options
from ._target import TARGET

if TYPE_CHECKING:
    from caged import AsyncCaged, BoundSandbox, Caged

    from ._accounts import EmulatorAccount
    from ._emulator_source import AnyEmulator
    from ._scopes import Scope


@pytest.fixture(scope="session")
def _caged_running(request: pytest.FixtureRequest) -> Iterator[AnyEmulator]:
    """The emulator of this process: one that runs already (--caged-emulator-url), the one that xdist's workers share
    (--caged-shared), or one that is started with the first test that needs it."""
    target = request.config.stash[TARGET]
    from . import _emulator_source, _hooks, _summary

    with _emulator_source.opened(target) as emulator:
        _hooks.register(request, emulator)
        _summary.add_emulator(request.config, emulator)
        yield emulator


@pytest.fixture
def _caged_scope(request: pytest.FixtureRequest) -> Iterator[Scope]:
    """The scope that all fixtures of one test share. Everything in it is destroyed when it ends."""
    from . import _hooks

    hooks = _hooks.register(request)
    if request.config.stash[TARGET].live:
        from ._live_scope import live

        with live(request.node) as live_scope:
            yield live_scope
    else:
        from ._emulator_scope import on_emulator

        emulator = request.getfixturevalue("_caged_running")
        assert hooks.shared is not None
        with on_emulator(request.node, emulator, hooks.shared) as emulator_scope:
            yield emulator_scope


@pytest.fixture
def caged_emulator(request: pytest.FixtureRequest) -> EmulatorAccount:
    """The test's account on the emulator, with its controls: faults, commands, agents, clock, journal, inventory.

    It is the account that `caged`, `async_caged` and `caged_sandbox` work in, in whatever order fixtures are set up.
    `caged_emulator.emulator` is the emulator as a whole. Skips in live runs.
    """
    if request.config.stash[TARGET].live:
        pytest.skip("caged_emulator: the caged target is live, there is no emulator")
    account: EmulatorAccount = request.getfixturevalue("_caged_scope").account
    return account


@pytest.fixture(scope="session")
def caged_factory(request: pytest.FixtureRequest) -> CagedFactory:
    """Accounts for fixtures of module, class or session scope: `with caged_factory.account() as account:`."""
    live = request.config.stash[TARGET].live
    return CagedFactory(request.session, None if live else request.getfixturevalue("_caged_running"))


@pytest.fixture
def caged(request: pytest.FixtureRequest, _caged_scope: Scope) -> Caged:
    """A client for this test alone. On the emulator `sandboxes.list()` starts empty.

    What the test creates is destroyed after it, also when it fails. In live runs that is what this process
    created with this API key while the test ran, through this client or any other, and nothing else.
    """
    from caged import Caged

    client = Caged(
        api_key=_caged_scope.api_key, base_url=_caged_scope.base_url, transport=_caged_scope.connections(request.config)
    )
    _caged_scope.closing.callback(client.close)
    _caged_scope.claim(client)
    return client


@pytest.fixture
def async_caged(_caged_scope: Scope) -> AsyncCaged:
    """An AsyncCaged for any runner (asyncio.run, pytest-asyncio, anyio), on the same account as `caged`."""
    from caged import AsyncCaged

    from ._closing import close_async
    from ._transport import unpooled_transport

    # As in EmulatorAccount.async_client: no connection may outlive its request.
    client = AsyncCaged(
        api_key=_caged_scope.api_key,
        base_url=_caged_scope.base_url,
        transport=unpooled_transport(_caged_scope.base_url),
    )
    _caged_scope.closing.callback(close_async, client)
    _caged_scope.claim(client)
    return client


@pytest.fixture
def caged_sandbox(request: pytest.FixtureRequest, _caged_scope: Scope, caged: Caged) -> BoundSandbox:
    """A running sandbox, made with the options of `@pytest.mark.caged(template=..., env=..., ...)`.

    `caged_sandbox.run("make")` works in it; the fields of a `Sandbox`, such as `id` and `template`, are attributes.
    """
    from caged import CagedError

    request.node.stash[SANDBOX] = True
    options = sandbox_options(request.node)
    try:
        sandbox = caged.sandboxes.create(**options)
    except CagedError as error:
        # Names only, because env and repo_token hold secrets.
        given = f" (options of @pytest.mark.caged: {', '.join(options)})" if options else ""
        pytest.fail(f"caged_sandbox: {error}{given}", pytrace=False)
    _caged_scope.fixtures.add(sandbox.id)
    if sandbox.status == "error":
        logs = "".join(f"\n  {entry.type}: {entry.message}" for entry in caged.sandboxes.logs(sandbox.id))
        pytest.fail(f"caged_sandbox: sandbox {sandbox.id} came up with status error. Its logs:{logs}", pytrace=False)
    return caged.sandboxes.bind(sandbox)
