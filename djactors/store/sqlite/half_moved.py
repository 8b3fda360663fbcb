"""Whether a database file has begun to take in its write-ahead log.

SQLite moves the log into the file in the order of the pages, the first page first. A server that is killed meanwhile
leaves a file that has the first of the log's pages and lacks the last. The next start moves the log anew, and nothing
is lost. But a file that somebody has put in the database's place looks different from what was noted of it as well, and
the log would destroy that one. To look at the whole file for a fault takes 32 s for two GB, and the pages tell as much:

- The first page has a counter that goes up whenever the page is written, so an older copy has another first page.
- A file of another history, whose counter happens to be the same, would have to have the same keys and rows on all the
  pages behind it that are looked at.
- A copy that has the log's pages was made after they were written, so it is the same file, or one as good, if it is
  whole: `is_half_moved` looks whether it lacks its end.
- The log is read to its end only if all of it is sound. Else the file may have taken in what SQLite finds no more.

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

_LOG_HEAD: Final = struct.Struct(">IIII8sII")
"""Magic number, version, size of a page, number of the log, salts, checksum."""

_FRAME_HEAD: Final = struct.Struct(">II8sII")
"""Number of the page, pages of the file if it ends a transaction, salts, checksum."""

_SUMMED_OF_LOG_HEAD: Final = 24
_SUMMED_OF_FRAME_HEAD: Final = 8
"""Bytes of each head that its checksum is of. That of a frame is of its page, too, and of all that comes before."""

_WORDS: Final = {0x377F0682: struct.Struct("<II"), 0x377F0683: struct.Struct(">II")}
"""The order of bytes in which the checksums are made up, by magic number."""

_WORD: Final = 0xFFFFFFFF


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
    """The size of a page, and where in a log the versions of each page are that a transaction has committed.

    SQLite reads a log up to the first frame that is not sound, so nothing counts where that is not the end: the file
    may have taken in what SQLite would not find any more.
    """
    nothing: tuple[int, dict[int, list[int]]] = 0, {}
    head = os.pread(log, _LOG_HEAD.size, 0)
    if len(head) < _LOG_HEAD.size:
        return nothing
    magic, _, size, _, salts, *noted = _LOG_HEAD.unpack(head)
    words = _WORDS.get(magic)
    if words is None:
        return nothing
    sums = _added((0, 0), head[:_SUMMED_OF_LOG_HEAD], words)
    if [*sums] != noted:
        return nothing
    versions: dict[int, list[int]] = defaultdict(list)
    place, open_transaction = _LOG_HEAD.size, []
    while len(head := os.pread(log, _FRAME_HEAD.size, place)) == _FRAME_HEAD.size:
        page, pages, its_salts, *noted = _FRAME_HEAD.unpack(head)
        if its_salts != salts:
            # From here on the file has what an earlier log left.
            break
        place += _FRAME_HEAD.size
        sums = _added(sums, head[:_SUMMED_OF_FRAME_HEAD] + os.pread(log, size, place), words)
        if [*sums] != noted:
            return nothing
        open_transaction.append((page, place))
        if pages:
            for number, where in open_transaction:
                versions[number].append(where)
            open_transaction.clear()
        place += size
    return size, versions


def _added(sums: tuple[int, int], data: bytes, words: struct.Struct) -> tuple[int, int]:
    """The checksum of a log that goes on with `data`, whole words. 8 MB take 0.3 s."""
    first, second = sums
    for one, two in words.iter_unpack(data):
        first = (first + one + second) & _WORD
        second = (second + two + first) & _WORD
    return first, second
