"""State that survives: a state directory, its database, and archives of both. Imported only where one is asked for."""
