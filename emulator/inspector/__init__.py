"""The inspector: pages that show what is in the emulator, and that call its API. Imported with the first request for a
page."""
