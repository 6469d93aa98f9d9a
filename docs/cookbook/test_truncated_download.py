"""A download breaks off after 100 bytes: your code must notice, and leave no half file."""

from pathlib import Path

import httpx
import pytest

from caged import BoundSandbox, Caged
from caged.emulator import AccountView


def fetch(url: str, target: Path) -> None:  # code under test
    half = target.with_suffix(".part")
    try:
        half.write_bytes(httpx.get(url, trust_env=False).content)
        half.rename(target)
    finally:
        half.unlink(missing_ok=True)


def test_half_a_snapshot_is_none(
    caged: Caged, caged_emulator: AccountView, caged_sandbox: BoundSandbox, tmp_path: Path
) -> None:
    snapshot = caged.snapshots.wait(caged.snapshots.create(caged_sandbox.id).id)
    url = caged.snapshots.download_url(snapshot.id)
    with caged_emulator.faults.add("snapshots.content", truncate=100), pytest.raises(httpx.RemoteProtocolError):
        fetch(url, tmp_path / "box.tar.gz")
    assert list(tmp_path.iterdir()) == []
    fetch(url, tmp_path / "box.tar.gz")
    assert (tmp_path / "box.tar.gz").stat().st_size > 100
