"""The platform's rules: who may do what, when, and what follows. No HTTP, no processes."""
