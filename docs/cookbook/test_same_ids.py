"""With a seed and a frozen clock two runs are the same to the letter, ids and times included."""

from caged.emulator import Emulator


def run() -> list[tuple[object, ...]]:
    with Emulator(seed=42) as emulator, emulator.client() as client:
        emulator.clock.freeze(at="2030-01-01T00:00:00Z")
        box = client.sandboxes.create()
        client.snapshots.create(box.id, name="first")
        return [(request.path, request.at, request.response) for request in emulator.journal]


def test_two_runs_are_the_same() -> None:
    assert run() == run()
