"""The programs at the other end of the control sockets: the zygote, one init per sandbox, and shims.

A bare `python -I -S` loads these modules as the top-level package `inside`. So they import only the standard library
and each other, and as little as possible, because each sandbox pays for it in time and memory. The code for a platform
is here, behind one interface: the functions of `startup.py`, and `ProcessTree`. The emulator itself uses `frames` and
some constants and functions.
"""
