"""A program is called from within a script, where your test sees no command: a shim on PATH answers."""

from caged import BoundSandbox, Caged
from caged.emulator import AccountView


def test_a_deploy_that_deploys_nothing(caged: Caged, caged_emulator: AccountView, caged_sandbox: BoundSandbox) -> None:
    caged.files.write(caged_sandbox.id, "deploy.sh", "set -e\nkubectl get pods\necho v2 | kubectl apply -f -\n")
    caged_emulator.commands.program("kubectl", "web-1 Running\n", args="get *")
    apply = caged_emulator.commands.program("kubectl", lambda args, cwd, stdin: f"applied {stdin}", args="apply*")
    result = caged.sandboxes.exec(caged_sandbox.id, "bash deploy.sh")
    assert result.output == "web-1 Running\napplied v2\n"
    assert apply.used == 1
