"""python benchmarks/agents.py: a scripted reply of an emulated agent, and a stubbed program, against exec("true")."""

from __future__ import annotations

import sys

from _timing import Row, alternate, report

from caged.emulator import Emulator

ROUNDS = 200
BOUND = 4.0


def main() -> int:
    with Emulator() as emulator, emulator.client() as caged:
        sandbox = caged.sandboxes.create(agents=["claude"]).id
        emulator.agent("claude").reply("done")
        emulator.commands.program("deploy", "done\n")

        def run(command: str) -> None:
            result = caged.sandboxes.exec(sandbox, command)
            assert result.exit_code == 0, result

        commands = ["claude -p hello", "deploy"]
        bare, *ours = alternate(ROUNDS, lambda: run("true"), *(lambda command=one: run(command) for one in commands))
        return report([Row(name, time, bare, 'exec("true")', BOUND) for name, time in zip(commands, ours)])


if __name__ == "__main__":
    sys.exit(main())
