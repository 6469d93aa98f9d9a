"""One sandbox as real processes and files: starting, running, freezing, killing, paths, snapshots.

Nothing here depends on HTTP, accounts or money. Everything runs on the emulator's event loop, apart from functions
that are documented as blocking.

    provisioning.py   opens a sandbox: directory, init, limits
    cage.py           an open sandbox: commands, terminals, ports, files
    init_client.py    the connection to its init, which is `inside/init.py`
    isolation.py      the isolation levels; `probe.py` finds out which work
    paths.py          where a sandbox's paths are on the host
    shim_rpc.py       requests of agents and stubbed programs in a sandbox
    inside/           what runs at the other end of the control sockets
"""
