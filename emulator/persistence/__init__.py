"""State that survives the emulator: a state directory with its database, and archives. Imported on first use only."""
