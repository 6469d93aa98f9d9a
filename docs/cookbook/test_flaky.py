"""Every third call or so fails, and with the same seed it is always the same ones."""

from caged import Caged, CagedServerError
from caged.emulator import Emulator


def outcomes(seed: int) -> list[bool]:
    with Emulator(seed=seed) as emulator, emulator.client(max_retries=0) as client:
        emulator.faults.add("sandboxes.list", status=500, probability=0.3)
        return [worked(client) for _ in range(20)]


def worked(client: Caged) -> bool:
    try:
        client.sandboxes.list()
    except CagedServerError:
        return False
    return True


def test_a_flaky_platform_fails_twice_in_the_same_way() -> None:
    first = outcomes(seed=1)
    assert 0 < sum(first) < 20
    assert first == outcomes(seed=1)
