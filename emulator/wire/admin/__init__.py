"""`/_emulator/…`: controls and records of the emulator, for any client. Each call needs the admin key as its bearer,
and `?account=` names the account: an id, `*` for all, or nothing for the first. The platform's API has none of it."""
