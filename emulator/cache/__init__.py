"""What emulators keep between runs in the user's cache directory: layers of installed packages.

Entries are directories that never change once they are published. `location.py` finds and checks the directory,
`manifest.py` describes a tree so that a change is noticed, `entries.py` is one entry, `cache.py` the whole.
"""
