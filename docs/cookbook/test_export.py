"""Prepare a sandbox once, keep it as a file, and begin with it anywhere."""

from pathlib import Path

from caged.emulator import Emulator


def test_a_prepared_sandbox_moves(tmp_path: Path) -> None:
    with Emulator() as emulator, emulator.client() as client:
        account = emulator.create_account("prepared")
        with emulator.client(account.api_key) as owner:
            box = owner.sandboxes.create()
            owner.sandboxes.exec(box.id, "mkdir deps; echo 1.0 > deps/version")
        emulator.export(tmp_path / "prepared.tar.gz", account.id)
        assert client.sandboxes.list() == []

    with Emulator() as emulator:
        emulator.import_(tmp_path / "prepared.tar.gz")
        with emulator.client(account.api_key) as owner:
            owner.sandboxes.resume(box.id)
            assert owner.files.read(box.id, "deps/version") == "1.0\n"
