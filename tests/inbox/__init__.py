"""Commands become rows, changes and counts: the recorder on a real SQLite."""
