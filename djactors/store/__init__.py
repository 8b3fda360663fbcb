"""A database without a subject: one writer thread, query-only readers, a lock, migrations."""
