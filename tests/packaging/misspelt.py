# ruff: noqa
"""What static checkers must flag, line by line: a line with the comment "wrong" has to have an error, others none.

Read by test_typed_names.py, never run.
"""

import asyncio

import caged
import caged.emulator
from caged import AsyncCaged, Caged, EventPayload, NetworkMode
from caged import Sandboxx  # wrong
from caged import require_extra  # wrong
from caged.emulator import Emulator, RemoteEmulator
from caged.emulator import Emulatorr  # wrong
from caged.emulator import require_extra as extra  # wrong

client = Caged("key")
print(caged.Sandboxx)  # wrong
print(caged.emulator.Emulatorr)  # wrong
print(caged.TYPE_CHECKING)  # wrong
print(caged.emulator.TYPE_CHECKING)  # wrong

client.sandboxes.create(template="python-312", agents=["claude"], network_mode="none", budget=5)
client.sandboxes.create(template="of-our-own", agents=["of-our-own"], network_mode="allowlist", allowlist=["a.b"])
client.sandboxes.create(templat="python-312")  # wrong
client.sandboxes.create(network_mode="non")  # wrong
client.sandboxes.create(cpus="2")  # wrong
caged.SandboxCreateParams(network_mode="ful")  # wrong
client.account.create_key("ci", scope="read_only")
client.account.create_key("ci", scope="readonly")  # wrong
client.events.ingest([EventPayload("llm_call"), EventPayload("of_our_own")])

sandbox = client.sandboxes.get("cage_1")
print(sandbox.status == "running")
print(sandbox.status == "runing")  # wrong
print(client.snapshots.get("snap_1").status == "complete")  # wrong
print(client.sessions.get("sess_1").status == "done")  # wrong
print(client.alerts.get("alrt_1").state == "close")  # wrong
print(client.files.list("cage_1")[0].type == "dir")  # wrong
mode: NetworkMode = "allow"  # wrong


async def main() -> None:
    async with AsyncCaged("key") as other:
        await other.sandboxes.create(network_mode="full")
        await other.sandboxes.create(templat="python-312")  # wrong
        await other.sandboxes.create(network_mode="non")  # wrong


asyncio.run(main())

Emulator(isolation="process", tier="free", budget_action="destroy", memory_limit="sandbox")
Emulator(isolation="proces")  # wrong
Emulator(tier="fre")  # wrong
Emulator(budget_action="stop")  # wrong
Emulator(memory_limit="all")  # wrong

with RemoteEmulator() as emulator:
    emulator.faults.add("sandboxes.exec", drop="before")
    emulator.faults.add("snapshots.*", status=503)
    emulator.faults.add("sandboxes.exec", drop="befor")  # wrong
    emulator.faults.add(outcome="dead")  # wrong
    emulator.journal.commands(source="exec")
    emulator.journal.commands(source="sandboxes.exec")  # wrong
    emulator.journal.requests(operation="files.*")
