"""With a state directory an emulator goes on where the last one ended, also when that was killed."""

from pathlib import Path

from caged.emulator import Emulator


def test_work_survives_a_restart(tmp_path: Path) -> None:
    with Emulator(state_dir=tmp_path / "state") as emulator, emulator.client() as client:
        key, box = emulator.api_key, client.sandboxes.create(env={"STAGE": "test"})
        client.sandboxes.exec(box.id, "echo half > work.txt")

    with Emulator(state_dir=tmp_path / "state") as emulator, emulator.client(key) as client:
        assert client.sandboxes.get(box.id).status == "stopped"
        client.sandboxes.resume(box.id)
        assert client.sandboxes.exec(box.id, "cat work.txt; echo $STAGE").output == "half\ntest\n"
