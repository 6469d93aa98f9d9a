"""`refusing.py SYSCALL[,SYSCALL] COMMAND...`: runs COMMAND with a seccomp filter that refuses these, as Docker's does.

`namespaces` refuses clone(2), clone3(2) and unshare(2) with flags of namespaces. `mount` refuses the first mount of
the emulator's own isolation, recognised by its flags, and not those of bwrap: like AppArmor's rule by program.
`landlock` refuses Landlock, like a kernel without it. `setuid` refuses to change the user.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys

from continuing import continue_as

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
LOAD, EQUAL, ANY_BIT, RETURN = 0x20, 0x15, 0x45, 0x06
ALLOW, REFUSE = 0x7FFF0000, 0x00050000  # + the error number
EPERM, EACCES, ENOSYS = 1, 13, 38
NAMESPACES = 0x7E020000
MS_REC_PRIVATE = 16384 | 1 << 18
NUMBERS = {
    "x86_64": {"unshare": 272, "clone": 56, "mount": 165, "setresuid": 117},
    "aarch64": {"unshare": 97, "clone": 220, "mount": 40, "setresuid": 147},
}
CLONE3 = 435
CREATE_RULESET = 444
NUMBER_AT, FIRST_ARGUMENT_AT, FOURTH_ARGUMENT_AT = 0, 16, 40


def program(refused: list[str]) -> bytes:
    numbers = NUMBERS[platform.machine()]
    steps: list[tuple[int, int, int, int]] = [(LOAD, 0, 0, NUMBER_AT)]
    if "namespaces" in refused:
        # A filter cannot read the flags of clone3 behind its pointer, so it refuses all: programs fall back to clone.
        steps += [(EQUAL, 0, 1, CLONE3), (RETURN, 0, 0, REFUSE | ENOSYS)]
        for name in ("clone", "unshare"):
            steps += [(EQUAL, 0, 4, numbers[name]), (LOAD, 0, 0, FIRST_ARGUMENT_AT)]
            steps += [(ANY_BIT, 0, 1, NAMESPACES), (RETURN, 0, 0, REFUSE | EPERM), (LOAD, 0, 0, NUMBER_AT)]
    if "mount" in refused:
        steps += [(EQUAL, 0, 4, numbers["mount"]), (LOAD, 0, 0, FOURTH_ARGUMENT_AT)]
        steps += [(EQUAL, 0, 1, MS_REC_PRIVATE), (RETURN, 0, 0, REFUSE | EACCES), (LOAD, 0, 0, NUMBER_AT)]
    if "landlock" in refused:
        steps += [(EQUAL, 0, 1, CREATE_RULESET), (RETURN, 0, 0, REFUSE | ENOSYS)]
    if "setuid" in refused:
        steps += [(EQUAL, 0, 1, numbers["setresuid"]), (RETURN, 0, 0, REFUSE | EPERM)]
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
    continue_as(sys.argv[2:])


main()
