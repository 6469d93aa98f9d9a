"""Concurrent calls: each response is correct and belongs to its request."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

from caged.emulator import Emulator

LONG = bool(os.environ.get("CAGED_ATTACKS_LONG"))
SANDBOXES = 50 if LONG else 20
EXECS = 500 if LONG else 160
THREADS = 20


def test_concurrent_execs_in_many_sandboxes_return_own_output() -> None:
    with Emulator() as emulator, emulator.client() as client, ThreadPoolExecutor(THREADS) as pool:
        boxes = [box.id for box in pool.map(lambda _: client.sandboxes.create(), range(SANDBOXES))]
        assert len(set(boxes)) == SANDBOXES

        def execute(number: int) -> tuple[int, str, str, int]:
            box = boxes[number % SANDBOXES]
            command = f"echo {number} >> /workspace/seen; echo out {number} $CAGED_SANDBOX_ID; exit {number % 256}"
            result = client.sandboxes.exec(box, command)
            return number, box, result.output, result.exit_code

        for number, box, output, exit_code in pool.map(execute, range(EXECS)):
            assert output == f"out {number} {box}\n"
            assert exit_code == number % 256
        for index, box in enumerate(boxes):
            seen = {int(line) for line in client.files.read(box, "/workspace/seen").split()}
            assert seen == set(range(index, EXECS, SANDBOXES))
        list(pool.map(client.sandboxes.destroy, boxes))
        assert client.sandboxes.list() == []
