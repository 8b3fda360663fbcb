"""Whose the files are that a process makes beside a database: its owner's, also if root makes them."""

import os

__all__ = ["give"]


def give(descriptor: int, owner: os.stat_result) -> None:
    """Give an open file to the owner of another one, if this process may do so, which is root.

    Raises:
        OSError: the file system lets nobody give a file away.
    """
    if os.geteuid() == 0:
        os.fchown(descriptor, owner.st_uid, owner.st_gid)
