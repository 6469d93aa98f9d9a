"""One sandbox as real processes and files: start, run, freeze, kill, map paths, pack and unpack.

Nothing here knows of HTTP, accounts or money. Everything here runs on the emulator's event loop, apart from
the functions that say that they block.
"""
