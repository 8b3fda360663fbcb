"""How much room a database takes, and how much is left."""

from dataclasses import dataclass

__all__ = ["Room"]


@dataclass(frozen=True, slots=True)
class Room:
    """A look at the disk under a database.

    Attributes:
        taken: bytes that the database takes on the disk, with its log.
        filled: bytes of it that are in use. The rest is free inside of the database and is used first.
        free: bytes that are free on the disk; None where nobody tells.
    """

    taken: int
    filled: int
    free: int | None
