"""How init starts at each isolation level: in the child that the zygote has forked, or after bwrap has become it.

Each function returns when the sandbox has ended. A start that fails is reported over the control socket as `failed`.
"""

from __future__ import annotations

import os
import signal
import socket

from . import frames, id_mapping, libc, limits, namespaces, network, processes, rights, root_filesystem
from .init import Init

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Optional

#: Of every command, whatever the emulator's own is.
UMASK = 0o022


def main(control: socket.socket, spec: dict[str, Any]) -> None:
    """Run init at level `process`; the caller leaves with os._exit afterwards."""
    os.setsid()
    os.umask(UMASK)
    processes.prctl(processes.PR_SET_CHILD_SUBREAPER, 1)
    init = Init(control, spec, processes.ProcessTree(os.getpid()))
    signal.signal(signal.SIGTERM, init.on_sigterm)  # the signal of PR_SET_PDEATHSIG: the zygote has ended
    init.process_limit.watched = limits.apply(spec, own_table=False)
    try:
        if spec["confine"] and not rights.lock_process_level() and os.geteuid() == 0:
            rights.become_own_user(spec["own_users"], spec["directory"])
    except (OSError, libc.IsolationError) as error:
        frames.send(control, {"ev": "failed", "error": str(error)})
        return
    # Armed only now, in the process that stays: the handler must exist before the signal can come.
    processes.prctl(processes.PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() == spec["zygote"]:
        init.run()


def main_in_namespaces(
    control: socket.socket,
    spec: dict[str, Any],
    user: Optional[tuple[int, int]] = None,
    mapped: Optional[int] = None,
) -> None:
    """Run init at level `namespace`, as process 1 of its new namespaces.

    Args:
        control: The socket that leads to the emulator.
        spec: What `IsolationLevel.spec` has made for this sandbox.
        user: The emulator's user and group when there is a new user namespace, in which init becomes root first.
        mapped: What reports that the zygote has mapped the users of that namespace, if it does.
    """

    def build(init: Init) -> bool:
        # The death of process 1 ends everything in its process table. A zygote that died before this was armed is not
        # its parent any more; the number is read from the host's /proc, which shows it.
        processes.prctl(processes.PR_SET_PDEATHSIG, signal.SIGKILL)
        if processes.parent_in_proc() != spec["zygote"]:
            return False
        if mapped is not None:
            id_mapping.wait_for_maps(mapped)
        elif user:
            namespaces.become_root(*user)
        init.sources = root_filesystem.build(spec)
        return True

    _run_as_process_1(control, spec, build)


def main_of_bwrap(control_fd: int, spec: dict[str, Any]) -> None:
    """Run init at level `bwrap`: bwrap has made the namespaces, or the whole isolation, and replaced itself by this
    interpreter."""

    def complete(init: Init) -> bool:
        if spec["root_kind"] == "overlays":
            init.sources = root_filesystem.build(spec)
            return True
        rights.leave_keyring()
        if spec.get("limits"):
            limits.count_by_kernel(spec["limits"]["processes"], spec["counted"])
            limits.limit_segments(spec["limits"]["memory_mb"])
        root_filesystem.protect_host_inodes(spec["real_root"])
        return True

    libc.load()
    os.set_inheritable(control_fd, False)
    _run_as_process_1(socket.socket(fileno=control_fd), spec, complete)


def _run_as_process_1(control: socket.socket, spec: dict[str, Any], build: Callable[[Init], bool]) -> None:
    """Build the isolation, limit and lock what commands may do, and serve. `build` returns False when the zygote has
    ended meanwhile."""
    os.setsid()
    os.umask(UMASK)
    # No handler for SIGTERM: the kernel then keeps process 1 from anything that a command sends it.
    processes.prctl(processes.PR_SET_NAME, b"init")
    try:
        init = Init(control, spec, processes.ProcessTable())
        if not build(init):
            return
        proxy = network.listen_on_loopback(spec["proxy_port"]) if spec["network"] == "allowlist" else None
        init.process_limit.watched = limits.apply(spec, own_table=True)
        rights.lock()
        root = os.open("/", os.O_PATH | os.O_DIRECTORY)
    except (OSError, libc.IsolationError) as error:
        frames.send(control, {"ev": "failed", "error": str(error)})
        return
    except Exception as error:  # nothing else would say why the sandbox has not started
        frames.send(control, {"ev": "failed", "error": f"{type(error).__name__}: {error}"})
        raise
    init.run(proxy, root)
