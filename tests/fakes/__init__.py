"""Stand-ins with the behaviour of what they stand in for."""
