"""What makes the emulator a test double: clock, chance, journal, agents. Handed in from the top; the layers
below ask through the small interfaces here and never look behind them."""
