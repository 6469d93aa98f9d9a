"""`npm install` takes minutes and a network: let it be answered, and fail when you want it to."""

from caged import BoundSandbox, Caged
from caged.emulator import AccountView, Output


def test_an_install_that_fails_once(caged: Caged, caged_emulator: AccountView, caged_sandbox: BoundSandbox) -> None:
    broken = caged_emulator.commands.stub("npm install*", "npm ERR! network\n", exit_code=1, times=1)
    caged_emulator.commands.stub(lambda command: Output("added 42 packages\n") if "npm i" in command else None)
    first, second = (caged.sandboxes.exec(caged_sandbox.id, "npm install --silent") for _ in range(2))
    assert (first.exit_code, first.output) == (1, "npm ERR! network\n")
    assert (second.exit_code, second.output) == (0, "added 42 packages\n")
    assert broken.used == 1
    assert caged.sandboxes.exec(caged_sandbox.id, "echo $((6 * 7))").output == "42\n", "the rest really runs"
