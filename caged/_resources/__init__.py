"""The resource groups of the clients; one file each: the calls first, then the sync and the async class."""
