"""A seccomp filter for a sandbox's commands, against system calls that reach the host whatever is mounted.

Refused are

- `keyctl`, `add_key` and `request_key` (ENOSYS, as in a kernel without keyrings): a user's keyring belongs to the user,
  not to a namespace, so root in a sandbox would read and change the keys of root outside;
- a new cgroup namespace (EPERM): only its owner may mount a cgroup file system, and through such a mount a sandbox
  could lift its own limits and change the host's groups;
- `clone3` (ENOSYS): its flags lie in memory, where a filter cannot read them. The C library then uses `clone`.
"""

from __future__ import annotations

import ctypes
import errno
import struct

from . import libc

CLONE_NEWCGROUP = 0x02000000

_PR_SET_SECCOMP = 22
_SECCOMP_MODE_FILTER = 2
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERROR = 0x7FFF0000, 0x00050000
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16
_CLONE3 = 435  # the same number on every architecture
_X32_BIT = 0x40000000

#: By machine: each ABI that its processes may use, as (audit name, clone, unshare, keyring calls, offset of the lower
#: half of clone's flags). A program of any other ABI gets ENOSYS for every call.
_GENERIC = (220, 97, (217, 218, 219), _ARGUMENTS_AT)
_ABIS: dict[str, tuple[tuple[int, int, int, tuple[int, int, int], int], ...]] = {
    "x86_64": (
        (0xC000003E, 56, 272, (248, 249, 250), _ARGUMENTS_AT),
        (0x40000003, 120, 310, (286, 287, 288), _ARGUMENTS_AT),
    ),
    "aarch64": ((0xC00000B7, *_GENERIC), (0x40000028, 120, 337, (309, 310, 311), _ARGUMENTS_AT)),
    "riscv64": ((0xC00000F3, *_GENERIC),),
    "ppc64le": ((0xC0000015, 120, 282, (269, 270, 271), _ARGUMENTS_AT),),
    # Big-endian, and clone takes its flags in the second argument.
    "s390x": ((0x80000016, 120, 303, (278, 279, 280), _ARGUMENTS_AT + 12),),
}

_Step = tuple[int, int, int, int]


def _of_abi(clone: int, unshare: int, keyring: tuple[int, int, int], flags_at: int, x32: bool) -> list[_Step]:
    """The steps for one ABI. They load the number of the call first, and end in a decision."""
    steps: list[_Step] = [(_LOAD, 0, 0, _NUMBER_AT)]
    if x32:
        steps += [(_AT_LEAST, 0, 1, _X32_BIT), (_RETURN, 0, 0, _ERROR | errno.ENOSYS)]
    for number in (_CLONE3, *keyring):
        steps += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ERROR | errno.ENOSYS)]
    unshare_at = flags_at if flags_at == _ARGUMENTS_AT else _ARGUMENTS_AT + 4
    for number, at in ((clone, flags_at), (unshare, unshare_at)):
        steps += [(_EQUAL, 0, 4, number), (_LOAD, 0, 0, at), (_ANY_BIT, 0, 1, CLONE_NEWCGROUP)]
        steps += [(_RETURN, 0, 0, _ERROR | errno.EPERM), (_RETURN, 0, 0, _ALLOW)]
    return [*steps, (_RETURN, 0, 0, _ALLOW)]


def _program(machine: str) -> bytes:
    """The filter for a machine; empty where the numbers of its system calls are not known."""
    if machine not in _ABIS:
        return b""
    steps: list[_Step] = [(_LOAD, 0, 0, _ARCHITECTURE_AT)]
    for name, clone, unshare, keyring, flags_at in _ABIS[machine]:
        body = _of_abi(clone, unshare, keyring, flags_at, x32=name == 0xC000003E)
        steps += [(_EQUAL, 0, len(body), name), *body]
    steps.append((_RETURN, 0, 0, _ERROR | errno.ENOSYS))
    return b"".join(struct.pack("HBBI", *step) for step in steps)


#: Made once, in the zygote.
_CODE = _program(libc.MACHINE)
_HELD = ctypes.create_string_buffer(_CODE, len(_CODE)) if _CODE else None


def apply() -> None:
    """Filter the system calls of this process, and of all that it starts, for good.

    It must have given up new privileges before. Without effect on a kernel without seccomp, and on machines whose
    numbers are not known here.
    """
    if _HELD is None:
        return
    program = struct.pack("HxxxxxxP", len(_CODE) // 8, ctypes.addressof(_HELD))
    try:
        libc.call("prctl", _PR_SET_SECCOMP, ctypes.c_ulong(_SECCOMP_MODE_FILTER), program, 0, 0)
    except libc.IsolationError as error:
        if libc.errno_of(error) not in (errno.EINVAL, errno.ENOSYS):
            raise
