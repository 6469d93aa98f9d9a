"""The emulator's controls as a test holds them: faults, clock, commands, agents, journal, accounts. They speak the
admin API (`/_emulator/…`), so they are the same for an emulator in this process and for one that runs elsewhere."""
