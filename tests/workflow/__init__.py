"""The workflow of jobs: who hears of what, which move is allowed to whom and when, what everybody sees of it."""
