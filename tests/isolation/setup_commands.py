"""What a set-up script can do in a sandbox, by isolation level: the tests run each row, and README's table is generated
from them.

At level `process` a command changes the host as far as the emulator's user may, so nothing of this is run there.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from typing import Optional

YES, NO = "yes", "no"
#: As root, yes; as an ordinary user, where newuidmap may map other users.
IF_ROOT = "as root, or with `newuidmap`"
#: As root alone, because the user namespace of an ordinary user's sandbox does not have the owners of the host's files.
AS_ROOT = "as root"
#: As an ordinary user, where newuidmap may map other users.
IF_MAPPED = "with `newuidmap`"


@dataclass(frozen=True)
class SetUp:
    """One row of the table. A command that exits with 0 means yes.

    Attributes:
        says: What it does.
        command: For `bash -c`.
        root, user, bwrap: The result at level `namespace` as root and as an ordinary user, and at level `bwrap`.
        copies: The result where overlays cannot be mounted.
        needs: A program of the host, without which the row is not tested.
    """

    says: str
    command: str
    root: str
    user: str
    bwrap: str
    copies: str
    needs: Optional[str] = None

    @property
    def can_be_tested(self) -> bool:
        """Whether the host has the program that it needs."""
        path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
        return self.needs is None or shutil.which(self.needs, path=path) is not None

    def expected(self, level: str, is_root: bool, is_mapped: bool) -> str:
        """Return the result at a level; `is_mapped`: whether the sandbox has more users than root by newuidmap."""
        cell = self.user if level.startswith("namespace") else self.bwrap
        if level == "copies":
            cell = self.copies
        elif level == "namespace" and is_root:
            cell = self.root
        known = {IF_ROOT: is_root or is_mapped, AS_ROOT: is_root, IF_MAPPED: is_mapped}
        return (YES if known[cell] else NO) if cell in known else cell


_DEB = """\
mkdir -p deb/DEBIAN deb/usr/share/caged-probe deb/usr/bin
printf '#!/bin/sh\\necho from the package\\n' > deb/usr/bin/caged-probe && chmod 755 deb/usr/bin/caged-probe
echo x > deb/usr/share/caged-probe/file
printf 'Package: caged-probe\\nVersion: 1\\nArchitecture: all\\nMaintainer: x <x@example.com>\\nDescription: x\\n' \\
    > deb/DEBIAN/control
dpkg-deb --build deb probe.deb && dpkg --install probe.deb && test "$(caged-probe)" = "from the package" \\
    && dpkg --remove caged-probe && ! test -e /usr/bin/caged-probe"""


def _anywhere(says: str, command: str, needs: Optional[str] = None) -> SetUp:
    return SetUp(says, command, YES, YES, YES, YES, needs)


SET_UPS = (
    _anywhere("new top-level directories (`mkdir /app /testbed`)", "mkdir /app /testbed && touch /app/file"),
    _anywhere(
        "files in `/srv`, `/mnt`, `/home`, `/opt`, `/var/log`, `/var/lib`, `/var/tmp`",
        "for place in /srv /mnt /home /opt /var/log /var/lib /var/tmp; do touch $place/caged-file || exit 1; done",
    ),
    _anywhere(
        "a script in `/usr/local/bin`",
        "printf '#!/bin/sh\\necho works\\n' > /usr/local/bin/caged-script && chmod +x /usr/local/bin/caged-script"
        ' && test "$(caged-script)" = works',
    ),
    _anywhere(
        "a line in `/etc/hosts`, by which names resolve",
        "echo 192.0.2.7 caged-name.example >> /etc/hosts && getent hosts caged-name.example",
    ),
    _anywhere(
        "new, changed and deleted files in `/etc`",
        "mkdir -p /etc/caged.d && echo x > /etc/caged.d/file && echo 'export CAGED_PROBE=1' >> /etc/profile"
        " && rm /etc/passwd- /etc/services; cp /etc/passwd /etc/caged-copy && mv /etc/caged-copy /etc/caged-moved"
        " && ! test -e /etc/services",
    ),
    SetUp(
        "new, replaced and deleted files in `/usr`",
        "mkdir /usr/share/caged && echo x > /usr/lib/caged-file && rm /usr/bin/env && ! test -e /usr/bin/env"
        " && cp /bin/true /usr/bin/env && /usr/bin/env",
        YES,
        YES,
        YES,
        NO,
    ),
    SetUp(
        "renaming a file of the host in `/usr` (`mv /usr/bin/yes /usr/bin/yes2`)",
        "mv /usr/bin/yes /usr/bin/caged-yes && test -x /usr/bin/caged-yes && ! test -e /usr/bin/yes",
        YES,
        NO,
        AS_ROOT,
        NO,
    ),
    SetUp(
        "deleting files of the host deep in `/usr` (`rm -r /usr/share/doc/dpkg`)",
        "rm -r /usr/share/doc/dpkg",
        YES,
        NO,
        AS_ROOT,
        NO,
        "dpkg-deb",
    ),
    _anywhere(
        "`useradd -m`, `groupadd`, `usermod`",
        (
            "useradd -m caged-bob && id caged-bob && test -d /home/caged-bob && groupadd caged-group"
            " && usermod -aG caged-group caged-bob"
        ),
        "useradd",
    ),
    SetUp(
        "Debian's `adduser --disabled-password --gecos '' NAME`",
        "adduser --disabled-password --gecos '' caged-carl && id caged-carl && test -d /home/caged-carl",
        YES,
        IF_MAPPED,
        NO,
        IF_ROOT,
        "deluser",
    ),
    _anywhere("`sudo`, as root, without a password", "sudo -n true && sudo CAGED=1 sh -c 'test \"$(id -u)\" = 0'"),
    SetUp(
        "`su` and `runuser` to another user",
        (
            "useradd caged-eve && test \"$(su caged-eve -c 'id -un')\" = caged-eve"
            ' && test "$(runuser -u caged-eve -- id -un)" = caged-eve'
        ),
        YES,
        IF_MAPPED,
        NO,
        IF_ROOT,
        "useradd",
    ),
    SetUp(
        "`chown` to another user", "touch /srv/caged-owned && chown 1:1 /srv/caged-owned", YES, IF_MAPPED, NO, IF_ROOT
    ),
    SetUp("`dpkg --install` and `--remove` of a package", _DEB, YES, YES, YES, NO, "dpkg-deb"),
)

#: Run where the registry of the distribution answers.
APT = SetUp(
    "`apt-get update && apt-get install -y hello`",
    "export DEBIAN_FRONTEND=noninteractive; apt-get update && apt-get install -y hello && hello",
    YES,
    YES,
    YES,
    NO,
    "apt-get",
)

_HEADER = ("", "`namespace`, as root", "`namespace`, as a user", "`namespace` by `bwrap`", "without overlays")


def table() -> str:
    """Return README's table, with a line feed at its end."""
    cells = [(row.says, row.root, row.user, row.bwrap, row.copies) for row in (*SET_UPS, APT)]
    rows = [_HEADER, ("---",) * len(_HEADER), *cells]
    return "".join("| " + " | ".join(row) + " |\n" for row in rows)
