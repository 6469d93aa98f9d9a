"""The mask: a lower layer of each sandbox's root that hides what the sandbox must not see of its host.

    mask.py               what is hidden and replaced, and when the mask is made anew
    writable_entries.py   directories and copies that root in a user namespace can write
    directories.py        directories with the modes and owners of the host's
    cache.py              masks of user namespaces, kept between runs
    manifest.py           whether such a mask is as it was made

The marks of deletions in it are those of `cage/overlay_marks.py`.
"""
