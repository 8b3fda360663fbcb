"""Whether a database file has begun to take in its write-ahead log.

SQLite moves the log into the file in the order of the pages, the first page first. A server that is killed meanwhile
leaves a file that has the first of the log's pages and lacks the last. The next start moves the log anew, and nothing
is lost. But a file that somebody has put in the database's place looks different from what was noted of it as well, and
the log would destroy that one. To look at the whole file for a fault takes 32 s for two GB, and the pages tell as much:

- The first page has a counter that goes up whenever the page is written, so an older copy has another first page.
- A file of another history, whose counter happens to be the same, would have to have the same keys and rows on all the
  pages behind it that are looked at.
- A copy that has the log's pages was made after they were written, so it is the same file, or one as good.

This is asked only of a file and a log that are those which were noted when the move began (`lock`).

https://www.sqlite.org/fileformat2.html has the format of both files.
"""

import os
import struct
from collections import defaultdict
from typing import Final

__all__ = ["has_begun_to_take_in"]

PROOF_PAGES: Final = 32
"""How many of the log's pages the file must have: of a log of 2,000 pages, those that it has after a sixtieth of the
time that it takes to move it."""

_LOG_HEAD: Final = struct.Struct(">IIII8s8x")
"""Magic number, version, size of a page, number of the log, salts."""

_FRAME_HEAD: Final = struct.Struct(">II8s8x")
"""Number of the page, pages of the file if it ends a transaction, salts."""

_MAGIC: Final = (0x377F0682, 0x377F0683)


def has_begun_to_take_in(database: str, log: str) -> bool:
    """Whether the file has the first pages of what the log holds. No means that nobody knows.

    SQLite has neither of them open in this process: closing a file drops all locks that the process has on it.

    Raises:
        OSError: one of them cannot be read.
    """
    with open(log, "rb") as frames, open(database, "rb") as file:
        size, versions = _committed(frames.fileno())
        first = sorted(versions)[:PROOF_PAGES]
        if len(first) < PROOF_PAGES or first[0] != 1:
            return False
        return all(
            os.pread(file.fileno(), size, (page - 1) * size)
            in (os.pread(frames.fileno(), size, place) for place in versions[page])
            for page in first
        )


def _committed(log: int) -> tuple[int, dict[int, list[int]]]:
    """The size of a page, and where in a log the versions of each page are that a transaction has committed."""
    head = os.pread(log, _LOG_HEAD.size, 0)
    versions: dict[int, list[int]] = defaultdict(list)
    if len(head) < _LOG_HEAD.size:
        return 0, versions
    magic, _, size, _, salts = _LOG_HEAD.unpack(head)
    if magic not in _MAGIC:
        return 0, versions
    place, open_transaction = _LOG_HEAD.size, []
    while len(head := os.pread(log, _FRAME_HEAD.size, place)) == _FRAME_HEAD.size:
        page, pages, its_salts = _FRAME_HEAD.unpack(head)
        if its_salts != salts:
            # From here on the file has what an earlier log left.
            break
        open_transaction.append((page, place + _FRAME_HEAD.size))
        if pages:
            for number, where in open_transaction:
                versions[number].append(where)
            open_transaction.clear()
        place += _FRAME_HEAD.size + size
    return size, versions
