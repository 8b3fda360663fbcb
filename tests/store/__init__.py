"""The store: migrations, the lock, group commit, the inbox as it is read."""
