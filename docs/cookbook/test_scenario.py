"""What a test has to start with stands in a file: sandboxes with files, agents' replies, stubs, faults."""

from pathlib import Path

import pytest

from caged import Caged, CagedServerError
from caged.emulator import AccountView

SCENARIO = """
[[sandboxes]]
name = "web"
agents = ["claude"]
budget = 5.00

[sandboxes.files]
"/workspace/app.py" = "print('hello')\\n"

[agents.claude]
replies = ["I have looked at it."]

[[faults]]
operation = "files.write"
sandbox = "web"
status = 503
times = 3
"""


def test_it_begins_with_a_scenario(caged: Caged, caged_emulator: AccountView, tmp_path: Path) -> None:
    (tmp_path / "web.toml").write_text(SCENARIO)
    web = caged_emulator.load_scenario(tmp_path / "web.toml").sandboxes["web"]
    assert caged.sandboxes.exec(web, 'cat app.py; claude -p "Look"').output == "print('hello')\nI have looked at it.\n"
    with pytest.raises(CagedServerError):
        caged_emulator.client(max_retries=0).files.write(web, "app.py", "")
