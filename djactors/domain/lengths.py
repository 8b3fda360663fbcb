"""How long texts may be, in characters: what the columns of the schema hold.

PostgreSQL refuses a longer text, SQLite takes any; so the domain refuses it, at every door alike. A test compares these
numbers with the schema.
"""

TITLE = 255
"""Of a job or a notification."""

NAME = 255
"""Of a user or a tenant."""

KEY = 255
"""Of an idempotency key (contract)."""

DJ_ID = 50
TYPE = 50
"""Of a notification's type."""

TIME_ZONE = 64
"""IANA names have at most 14 characters a part, and three parts."""
