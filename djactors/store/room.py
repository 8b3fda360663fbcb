"""How much room a database takes, how much is left, and what copy of it there is."""

from dataclasses import dataclass

import msgspec

__all__ = ["Copied", "Room"]


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


class Copied(msgspec.Struct, frozen=True):
    """A copy that was made and checked.

    Attributes:
        at: the moment of which it is, as seconds since 1970.
        of: whose database it is, the same in all its copies.
        to: where it was put.
        size: its bytes.
    """

    at: float
    of: str
    to: str
    size: int
