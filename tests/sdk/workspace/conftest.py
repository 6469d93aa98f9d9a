"""Fixtures of the bound sandbox's tests: each isolation level, and busybox alone, with either kind of client."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Callable

import pytest
from levels import Served
from workspace_testing import PLACES, SMALL, Places, new_sandbox, opened_places

from caged import Caged
from caged._workspace import directory_listing, files, local_tree, pieces, remote_tree, transfers
from caged._workspace.binding import Binding
from caged.emulator import Emulator


@pytest.fixture(autouse=True)
def clock() -> None:
    """Time is real here: commands take some."""


@pytest.fixture(scope="session")
def places(emulators: Callable[[str], Served]) -> Iterator[Places]:
    """The sandboxes that tests share: each leaves them as it has found them."""
    with opened_places(emulators) as places:
        yield places


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> str:
    """Where the sandbox of a test is, and which client it has."""
    name: str = request.param
    return name


@pytest.fixture
def box(places: Places, place: str) -> Any:
    """A bound sandbox that tests share; one for asyncio blocks like the other."""
    return places.box(place)


@pytest.fixture
def served(places: Places, place: str) -> Served:
    """The emulator of `box`."""
    return places.served(place)


@pytest.fixture
def busybox_box(places: Places) -> Any:
    """The sandbox that has busybox alone."""
    return places.box("busybox-sync")


@pytest.fixture
def process_box(places: Places) -> Any:
    """The cheapest sandbox: for behaviour of the SDK that does not depend on the level."""
    return places.box("process-sync")


@pytest.fixture
def namespace_box(places: Places) -> Any:
    """The sandbox that sees no processes but its own: to look through them takes a tenth of the time."""
    return places.box("namespace-sync")


@pytest.fixture
def client(places: Places) -> Caged:
    """A client of the emulator of `process_box` and `own_box`."""
    return places.served("process-sync").client


@pytest.fixture
def own_box(places: Places) -> Iterator[Any]:
    """A sandbox of the test's own, at the cheapest level, for what others could not go on with."""
    with new_sandbox(places.served("process-sync")) as sandbox_id:
        yield places.bind("process-sync", sandbox_id, "sync")


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> int:
    """Pieces of another size: what depends on their number is tested with less data. Returns the size."""
    for module in (directory_listing, files, local_tree, pieces, remote_tree, transfers):
        if hasattr(module, "PIECE"):
            monkeypatch.setattr(module, "PIECE", SMALL)
    return SMALL


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """An element for each request that a bound sandbox has sent in the test so far."""
    sent: list[Any] = []
    send = Binding.send

    def counted(*args: Any, **options: Any) -> Any:
        sent.append(args)
        return send(*args, **options)

    monkeypatch.setattr(Binding, "send", counted)
    return sent


@pytest.fixture
def faulty_box(emulator: Emulator) -> Iterator[Any]:
    """A sandbox of an emulator that injects faults."""
    with emulator.client() as client, client.sandboxes.open() as box:
        yield box


@pytest.fixture
def folder(box: Any, make_folder: Callable[[Any], str]) -> str:
    """A path of the test's own: of files an empty directory, of transfers one where nothing is yet."""
    return make_folder(box)


@pytest.fixture
def cheap(process_box: Any, make_folder: Callable[[Any], str]) -> str:
    """The same, in the cheapest sandbox alone: for what does not depend on the level."""
    return make_folder(process_box)


@pytest.fixture
def single(namespace_box: Any, make_folder: Callable[[Any], str]) -> str:
    """The same, in the sandbox that sees no processes but its own alone."""
    return make_folder(namespace_box)
