"""Room on the disk: which errors speak of it, and how to find out where SQLite does not say.

SQLite tells a full disk (ENOSPC) from other failed writes, but not a quota that is used up (EDQUOT), which heals in the
same way: https://www.sqlite.org/rescode.html#full
"""

import errno
import os
import tempfile

__all__ = ["NO_ROOM", "shortage"]

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
"""The error numbers of a disk without room for this user."""

_PAGE = 4096


def shortage(path: str | os.PathLike[str]) -> str | None:
    """Why nothing more can be written beside a file; None if something can, or nobody can tell.

    A page is written to a file without a name, which is gone when this returns.
    """
    try:
        with tempfile.TemporaryFile(dir=os.path.dirname(os.path.realpath(path)), buffering=0) as file:
            os.pwrite(file.fileno(), bytes(_PAGE), 0)
    except OSError as error:
        return error.strerror if error.errno in NO_ROOM else None
    return None
