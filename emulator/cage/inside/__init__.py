"""What runs on the far side of the control sockets: the zygote, one init per sandbox, the agent programs.

These modules are loaded by a bare `python -I -S` as the top-level package `inside`, so they import the
standard library and each other, nothing else, and as little of both as they can: every byte here is paid for
in each sandbox. `frames` is the one module that the emulator itself shares with them.
"""
