"""How long texts may be, in characters. The columns of the schema hold no more.

PostgreSQL refuses a longer text, and SQLite takes any text. So the domain refuses a longer text, whichever way it comes
in. A test compares these numbers with the schema.
"""

TITLE = 255
"""Length of the title of a job or a notification."""

NAME = 255
"""Length of the name of a user or a tenant."""

KEY = 255
"""Length of an idempotency key (contract)."""

DJ_ID = 50
TYPE = 50
"""Length of a notification's type."""

TEXT = 4000
"""Length of every other text, such as a comment or the message of a notification. The columns have no bound."""

TIME_ZONE = 64
"""Length of a time zone's name. IANA names have at most three parts of at most 14 characters each."""
