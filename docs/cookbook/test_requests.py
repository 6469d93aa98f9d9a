"""See every request of your code as it came over the wire: method, path, body, status, and what was dubious in it."""

from caged import Caged
from caged.emulator import AccountView


def test_create_request_has_the_options_that_it_should(caged: Caged, caged_emulator: AccountView) -> None:
    box = caged.sandboxes.create(template="python", env={"CI": "1"})
    caged.sandboxes.destroy(box.id)
    (created,) = caged_emulator.journal.requests("POST", "/v1/sandboxes")
    assert created.json() == {"template": "python", "env": {"CI": "1"}}
    assert (created.status, created.warnings) == (201, [])
    assert [request.operation for request in caged_emulator.journal] == ["sandboxes.create", "sandboxes.destroy"]
    caged_emulator.journal.assert_requested(operation="sandboxes.destroy", sandbox=box.id, times=1)
