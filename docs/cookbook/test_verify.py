"""Verify that a server conforms to the platform's contract, and report exactly what differs when it does not."""

from caged.emulator import Emulator
from caged.emulator.verify import verify

CHECKS = ["exec.*", "files.read*"]


def test_verify_reports_broken_operation() -> None:
    with Emulator() as emulator:
        assert verify(emulator.base_url, emulator.api_key, only=CHECKS).different == []
        emulator.faults.add("files.read", status=418)
        broken = verify(emulator.base_url, emulator.api_key, only=CHECKS).different
        assert {result.id.split(".")[0] for result in broken} == {"files"}
        assert "418" in broken[0].got
