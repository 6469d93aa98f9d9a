"""A download URL is good for an hour: your code must ask for a new one in place of keeping it."""

import httpx

from caged import BoundSandbox, Caged
from caged.emulator import AccountView


def test_an_old_url_leads_nowhere(caged: Caged, caged_emulator: AccountView, caged_sandbox: BoundSandbox) -> None:
    snapshot = caged.snapshots.wait(caged.snapshots.create(caged_sandbox.id).id)
    kept = caged.snapshots.download_url(snapshot.id)
    assert httpx.get(kept, trust_env=False).status_code == 200
    caged_emulator.clock.advance(hours=1, seconds=1)
    assert httpx.get(kept, trust_env=False).status_code == 403
    assert httpx.get(caged.snapshots.download_url(snapshot.id), trust_env=False).status_code == 200
