"""The Python objects that set up controls and read records: faults, clock, commands, agents, journal, accounts. They
call the admin API (`/_emulator/…`), and are the same for an emulator in this process and for one elsewhere."""
