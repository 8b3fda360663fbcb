"""A database that knows nothing of notifications: one writer thread, query-only readers, a lock, migrations."""
