"""Has files and names on the disk before anybody counts on them."""

import os
from typing import Final

__all__ = ["sync", "write_again"]

PIECE_BYTES: Final = 1024 * 1024
"""Bytes that are written again at a time: few calls, and little memory for a log of any size."""


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


def write_again(path: str | os.PathLike[str]) -> None:
    """Make durable what a file holds, even if an earlier process has failed to: each byte is written over itself.

    A sync that has failed once need not fail again. The kernel counts as clean what never reached the disk, and the
    next sync, by whichever process, says that all is well: https://wiki.postgresql.org/wiki/Fsync_Errors. What is
    written again is dirty again. The time of the file stays as it is, because nothing in it has changed.

    Raises:
        OSError: the disk does not take it, or nothing is there.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        place = 0
        while piece := os.pread(descriptor, PIECE_BYTES, place):
            place += os.pwrite(descriptor, piece, place)
        os.utime(descriptor, ns=(found.st_atime_ns, found.st_mtime_ns))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
