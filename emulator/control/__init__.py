"""Controls and records of the emulator: faults, stubs, replies, clock, randomness and journal. The platform receives
them and decides by them."""
