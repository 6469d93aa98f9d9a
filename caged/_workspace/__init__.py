"""A bound sandbox: one object for what a program does with one sandbox, over the API as it is.

Each concept is one file: plans (generators without I/O, see `_core`), a class of blocking methods, and one of
coroutines. `BoundSandbox` and `AsyncBoundSandbox` are made of these classes.

A sandbox needs `sh`, `base64`, `tar` and the coreutils for it, those of busybox included; no Python.
"""
