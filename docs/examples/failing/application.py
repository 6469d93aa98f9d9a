"""The code under test: an agent that repairs a project in a sandbox."""

from __future__ import annotations

from caged import Caged, Sandbox


def prepare(client: Caged, *, budget: float = 5.0) -> Sandbox:
    """A sandbox with a project that has a bug."""
    box = client.sandboxes.create(template="minimal", agents=["claude-code"], budget=budget)
    client.files.write(box.id, "/workspace/calc.py", "def add(a, b):\n    return a - b\n")
    client.files.write(box.id, "/workspace/check.py", "from calc import add\nassert add(2, 2) == 4, add(2, 2)\n")
    return box


def install(client: Caged, box: Sandbox) -> int:
    """Install what the project needs."""
    return client.sandboxes.exec(box.id, "npm install --no-audit").exit_code


def check(client: Caged, box: Sandbox) -> bool:
    """Whether the project's own check passes."""
    return client.sandboxes.exec(box.id, "python3 -B check.py").exit_code == 0


def repair(client: Caged, box: Sandbox) -> None:
    """Let the agent repair the project."""
    client.sandboxes.exec(box.id, "claude -p 'add(2, 2) is 0 and should be 4. Repair it.'")


def build(client: Caged) -> int:
    """Build the project in a sandbox of its own."""
    box = client.sandboxes.create(template="minimal")
    try:
        client.files.write(box.id, "/workspace/Makefile", "all:\n\techo linking; cc -o app missing.c\n")
        return client.sandboxes.exec(box.id, "make").exit_code
    finally:
        client.sandboxes.destroy(box.id)


def follow_tests(client: Caged, box: Sandbox) -> list[str]:
    """The output of the project's tests, as it comes."""
    return list(client.sandboxes.stream(box.id, "echo collected 1 item; echo 1 passed"))
