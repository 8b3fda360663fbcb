"""The `test:` events."""
