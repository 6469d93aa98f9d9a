"""Put an emulator around any command: it finds it in its environment, and its exit code is passed on."""

import subprocess
import sys

SCRIPT = """
import sys
from caged import Caged

with Caged() as client:
    sys.exit(client.sandboxes.exec(client.sandboxes.create().id, "exit 7").exit_code)
"""


def test_a_script_needs_no_pytest() -> None:
    command = [sys.executable, "-m", "caged.emulator", "exec", "--", sys.executable, "-c", SCRIPT]
    assert subprocess.run(command, timeout=60).returncode == 7
