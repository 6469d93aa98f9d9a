"""`refusing.py SYSCALL[,SYSCALL] COMMAND...`: runs COMMAND where the kernel refuses these, as Docker's seccomp does.

`unshare` refuses unshare(2); `clone` refuses clone(2) and clone3(2) that make a user namespace.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
LOAD, EQUAL, ANY_BIT, RETURN = 0x20, 0x15, 0x45, 0x06
ALLOW, REFUSE = 0x7FFF0000, 0x00050000  # + the error number
EPERM, ENOSYS = 1, 38
CLONE_NEWUSER = 0x10000000
NUMBERS = {"x86_64": {"unshare": 272, "clone": 56}, "aarch64": {"unshare": 97, "clone": 220}}
CLONE3 = 435
NUMBER_AT, FIRST_ARGUMENT_AT = 0, 16


def program(refused: list[str]) -> bytes:
    numbers = NUMBERS[platform.machine()]
    steps: list[tuple[int, int, int, int]] = [(LOAD, 0, 0, NUMBER_AT)]
    if "unshare" in refused:
        steps += [(EQUAL, 0, 1, numbers["unshare"]), (RETURN, 0, 0, REFUSE | EPERM)]
    if "clone" in refused:
        # Its flags lie behind a pointer, which a filter cannot follow: programs fall back to clone.
        steps += [(EQUAL, 0, 1, CLONE3), (RETURN, 0, 0, REFUSE | ENOSYS)]
        steps += [(EQUAL, 0, 3, numbers["clone"]), (LOAD, 0, 0, FIRST_ARGUMENT_AT)]
        steps += [(ANY_BIT, 0, 1, CLONE_NEWUSER), (RETURN, 0, 0, REFUSE | EPERM)]
    steps += [(RETURN, 0, 0, ALLOW)]
    return b"".join(struct.pack("HBBI", *step) for step in steps)


def main() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    code = program(sys.argv[1].split(","))
    held = ctypes.create_string_buffer(code, len(code))
    described = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(held))
    for option, value, pointer in ((PR_SET_NO_NEW_PRIVS, 1, None), (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, described)):
        if libc.prctl(option, ctypes.c_ulong(value), pointer, 0, 0) != 0:
            sys.exit(os.strerror(ctypes.get_errno()))
    os.execvp(sys.argv[2], sys.argv[2:])


main()
