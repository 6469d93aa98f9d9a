"""An agent has to fix something, and the fix is there: no model, no cost, the same every time."""

from caged import Caged
from caged.emulator import AccountView


def test_the_fix_is_in_the_workspace(caged: Caged, caged_emulator: AccountView) -> None:
    box = caged.sandboxes.create(agents=["claude"])
    caged.files.write(box.id, "sum.sh", "echo $(($1 - $2))\n")
    caged_emulator.agent("claude").reply("It subtracted.", files={"/workspace/sum.sh": "echo $(($1 + $2))\n"})
    assert caged.sandboxes.exec(box.id, 'claude -p "Fix sum.sh"').output == "It subtracted.\n"
    assert caged.sandboxes.exec(box.id, "bash sum.sh 2 3").output == "5\n"
