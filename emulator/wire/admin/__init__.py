"""`/_emulator/…`: what makes it a test double, for any client. Every call takes the admin key as its bearer, and
`?account=` says which account it is about: an id, `*` for all, or nothing for the first. No part of the platform's
API."""
