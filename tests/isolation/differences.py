"""The differences between the isolation levels: the tests run each, and README's table is generated from them.

A command that exits with 0 means yes. `{home}`, `{tmp}`, `{other}`, `{run_dir}`, `{outside}` are paths of the host,
`{pid}` and `{port}` are the emulator's. The paths are quoted so that level `process` does not rewrite them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

YES, NO = "yes", "no"
#: As root, yes; as an ordinary user, no.
IF_ROOT = "if root"
#: As an ordinary user, where newuidmap may map other users.
IF_MAPPED = "with `newuidmap`"
#: As root, yes, where Landlock confines signals; otherwise a command runs as a user of its own.
IF_ROOT_WITH_LANDLOCK = "if root, with Landlock"
#: As an ordinary user, yes, where Landlock cannot confine signals.
IF_USER_WITHOUT_LANDLOCK = "if user, without Landlock"


@dataclass(frozen=True)
class Behaviour:
    """One row of the table. `create`: options of the sandbox; a refused create means no."""

    says: str
    command: str
    namespace: str
    user: str
    bwrap: str
    process: str
    create: dict[str, object] = field(default_factory=dict)

    def expected(self, level: str) -> str:
        return {
            "namespace": self.namespace,
            "namespace-user": self.user,
            "bwrap": self.bwrap,
            "bwrap-user": self.bwrap,
            "process": self.process,
        }[level]


def isolation_only(says: str, command: str, **create: object) -> Behaviour:
    return Behaviour(says, command, YES, YES, YES, NO, create)


def open_only(says: str, command: str) -> Behaviour:
    return Behaviour(says, command, NO, NO, NO, YES)


BEHAVIOURS = (
    isolation_only("`/workspace` is real, also inside scripts and programs", "touch here && test -e /w''orkspace/here"),
    isolation_only(
        "the host name is the sandbox's id", 'test "$(cat /proc/sys/kernel/hostname)" = "$CAGED_SANDBOX_ID"'
    ),
    isolation_only(
        "the host name resolves without DNS",
        'test "$(getent hosts "$CAGED_SANDBOX_ID")"',
    ),
    isolation_only(
        "`network_mode` `none` and `allowlist` are enforced",
        "! (: < /dev/tcp/127.0.0.1/{port}) 2>/dev/null",
        network_mode="none",
    ),
    Behaviour(
        "setuid programs (sudo, su) give no rights", "grep -q 'NoNewPrivs:.*1' /proc/self/status", YES, YES, YES, YES
    ),
    Behaviour("a command is root", 'test "$(id -u)" = 0', YES, YES, YES, IF_ROOT_WITH_LANDLOCK),
    Behaviour("a command can give a file to another user", "touch f && chown 1234 f", IF_ROOT, IF_MAPPED, NO, IF_ROOT),
    open_only("sees the host's processes", "grep -qs serve /proc/{pid}/cmdline"),
    Behaviour("can signal the host's processes", "kill -0 {pid}", NO, NO, NO, IF_USER_WITHOUT_LANDLOCK),
    open_only("reads the home of the developer (`~/.ssh`, `~/.aws`, `~/.config`)", "cat {home}/.ssh/id_ed25519"),
    open_only("reads the host's `/tmp`", "cat {tmp}/host-file"),
    open_only("reads the files of other sandboxes", "cat {other}/workspace/file"),
    open_only("reads the files of the emulator", "ls {run_dir}/snapshots"),
    open_only("writes to the host's files", "echo was here >> {outside}/file"),
)

_HEADER = ("", "`namespace`, as root", "`namespace`, as a user", "`namespace` by `bwrap`", "`process`")


def cells(behaviour: Behaviour) -> Iterable[str]:
    return (behaviour.says, behaviour.namespace, behaviour.user, behaviour.bwrap, behaviour.process)


def table() -> str:
    """Return README's table, with a line feed at its end."""
    shown = {
        IF_ROOT: "as the emulator's user",
        IF_ROOT_WITH_LANDLOCK: "as the emulator's user (before Linux 6.12, not as root)",
        IF_USER_WITHOUT_LANDLOCK: "before Linux 6.12, those of its user (not as root)",
    }
    rows = [_HEADER, ("---",) * len(_HEADER), *map(cells, BEHAVIOURS)]
    return "".join("| " + " | ".join(shown.get(cell, cell) for cell in row) + " |\n" for row in rows)
