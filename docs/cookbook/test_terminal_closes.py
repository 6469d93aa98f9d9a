"""The terminal closes with a code in the middle of a command: the output so far counts, and there is no exit code."""

from caged import BoundSandbox, Caged
from caged.emulator import AccountView


def test_half_a_stream_has_no_exit_code(caged: Caged, caged_emulator: AccountView, caged_sandbox: BoundSandbox) -> None:
    with caged_emulator.faults.add("sandboxes.terminal", close_socket=1011, delay=0.5):
        with caged.sandboxes.stream(caged_sandbox.id, "echo begun; sleep 60") as output:
            assert output.text() == "begun\n"
    assert output.exit_code is None
