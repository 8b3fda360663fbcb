"""What is durable: one writer thread, query-only readers, all SQL."""
