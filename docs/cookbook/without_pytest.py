"""All of it without pytest, in a plain script."""

from caged import CagedServerError
from caged.emulator import Emulator

with Emulator() as emulator, emulator.client(max_retries=0) as client:
    box = client.sandboxes.create()
    with emulator.faults.add("sandboxes.exec", status=503, times=1):  # fails the script if it never triggers
        try:
            client.sandboxes.exec(box.id, "true")
        except CagedServerError as error:
            print(f"as it should be: {error.status}")
    assert client.sandboxes.exec(box.id, "true").ok
    emulator.journal.assert_requested(operation="sandboxes.exec", status=503, times=1)
    emulator.journal.assert_ran("true", times=1)
