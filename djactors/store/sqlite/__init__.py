"""SQLite: one file, one process that writes, and a lock that sees to it. `engine` is the way in."""
