"""Fake repositories: bare git repositories in the emulator's run directory, and the servers for git in sandboxes.

What a sandbox pushes is data for git processes of the emulator (`git_process.py`): no hook, filter or setting of it is
ever used.
"""
