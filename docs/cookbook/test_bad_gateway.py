"""A proxy on the way answers with a page of HTML, which is no JSON and no answer of the platform."""

import pytest

from caged import BoundSandbox, Caged, CagedServerError
from caged.emulator import AccountView


def test_html_in_the_answers_place_is_a_server_error(
    caged: Caged, caged_emulator: AccountView, caged_sandbox: BoundSandbox
) -> None:
    page = "<html><h1>502 Bad Gateway</h1></html>"
    with caged_emulator.faults.add(path="/v1/sandboxes/*/exec", status=502, body=page):
        with pytest.raises(CagedServerError) as caught:
            caged.sandboxes.exec(caged_sandbox.id, "true")
    assert (caught.value.status, caught.value.reason, caught.value.text) == (502, None, page)
