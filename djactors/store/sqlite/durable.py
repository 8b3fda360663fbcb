"""Has files and names on the disk before anybody counts on them."""

import os

__all__ = ["sync"]


def sync(path: str | os.PathLike[str]) -> None:
    """Make durable what a file holds or, for a folder, the names in it.

    Raises:
        OSError: the disk does not take it, or nothing is there.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
