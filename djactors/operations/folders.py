"""A folder of JSON lines that is written whole or not at all, and read back with its checksums.

It is written as `FOLDER.partial`, which the next attempt replaces, and gets its name when all of it is on the disk.
`manifest.json` says what is in it.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import msgspec

from djactors.inbox.parcels import Digest, FileEntry, encode
from djactors.store.sqlite.durable import sync

MANIFEST = "manifest.json"

MAX_LINE = 4 * 1024 * 1024
"""Bytes of a line that is read: far more than the largest row has, and no danger to the memory."""

MAX_MANIFEST = 1024 * 1024


class FolderError(Exception):
    """A folder cannot be written, or is not what it should be; the message says why, and what to do."""


class NewFolder:
    """A folder that is being written.

    A lock on the folder keeps a second export away from it.

    Args:
        path: where it shall be; nothing is there yet, or an empty folder.

    Raises on entering:
        FolderError: there is something, or another export writes there, or what is not ours is in the way.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.entries: dict[str, FileEntry] = {}
        self._partial: Path
        self._folder: int

    def __enter__(self) -> Self:
        if not self.path.name:
            raise FolderError(f"--json: {str(self.path)!r} names no new folder: name one, which this makes")
        is_empty = self.path.is_dir() and not self.path.is_symlink() and not any(self.path.iterdir())
        if os.path.lexists(self.path) and not is_empty:
            raise FolderError(f"--json: {self.path} exists already: name a new folder")
        self._partial = self.path.with_name(f"{self.path.name}.partial")
        with suppress(FileExistsError):
            self._partial.mkdir(mode=0o700)
        self._folder = self._opened()
        try:
            self._take()
        except BaseException:
            os.close(self._folder)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is not None:
                with suppress(OSError):
                    self._clear()
                    self._partial.rmdir()
        finally:
            os.close(self._folder)

    def _opened(self) -> int:
        try:
            return os.open(self._partial, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            # With these flags a link is no folder either.
            if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise
            raise self._in_the_way(self._partial) from None

    def _take(self) -> None:
        """Keep another export away from the folder, and throw away what one has left that was killed; nothing else."""
        try:
            fcntl.flock(self._folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FolderError(f"--json: {self._partial} is being written by another export: wait for that") from None
        found = os.fstat(self._folder)
        there = os.stat(self._partial, follow_symlinks=False) if os.path.lexists(self._partial) else None
        if there is None or (found.st_dev, found.st_ino) != (there.st_dev, there.st_ino):
            # The one who held it has given it its name meanwhile.
            raise FolderError(f"--json: {self.path} was written by another export just now: name a new folder")
        if found.st_uid != os.geteuid():
            raise self._in_the_way(self._partial)
        for name in os.listdir(self._folder):
            if Path(name).suffix not in (".jsonl", ".json", ".txt") or not (self._partial / name).is_file():
                raise self._in_the_way(self._partial / name)
        os.fchmod(self._folder, 0o700)
        self._clear()

    def _in_the_way(self, what: Path) -> FolderError:
        return FolderError(
            f"--json: {what} is in the way: {self._partial} is needed while the export is written; move it away"
        )

    def _clear(self) -> None:
        for name in os.listdir(self._folder):
            os.unlink(name, dir_fd=self._folder)

    def _private(self, name: str, flags: int) -> int:
        return os.open(name, flags | os.O_CLOEXEC, 0o600, dir_fd=self._folder)

    def write(self, name: str, slices: Iterable[list[bytes]]) -> None:
        """Write a file of lines. Nothing of it but the slice at hand is in memory."""
        digest = Digest()
        with open(name, "xb", opener=self._private) as file:
            for lines in slices:
                file.writelines(lines)
                digest.add(lines)
            _to_disk(file)
        self.entries[name] = digest.entry

    def write_text(self, name: str, text: str) -> None:
        """Write a file for people."""
        with open(name, "xb", opener=self._private) as file:
            file.write(text.encode())
            _to_disk(file)

    def keep(self, manifest: Mapping[str, Any]) -> None:
        """Write the manifest, with the files that were written, and let the folder be seen."""
        whole = {**manifest, "files": self.entries}
        self.write_text(MANIFEST, msgspec.json.format(encode(whole), indent=2).decode() + "\n")
        # An empty folder of this name gives way.
        self._partial.rename(self.path)
        sync(self.path.parent)


def manifest_of(folder: Path) -> bytes:
    """The text of a folder's manifest.

    Raises:
        FolderError: there is none.
    """
    try:
        with open(folder / MANIFEST, "rb") as file:
            return file.read(MAX_MANIFEST)
    except OSError as error:
        raise FolderError(
            f"{folder / MANIFEST}: {error.strerror}: name a folder that `djactors export --json` has written"
        ) from None


def read(folder: Path, name: str, entry: FileEntry, size: int) -> Iterator[list[bytes]]:
    """The lines of a file, `size` at a time. Behind the last ones the file is judged.

    Raises:
        FolderError: the file is not the one that the manifest describes, or cannot be read.
    """
    digest = Digest()
    try:
        with open(folder / name, "rb") as file:
            while lines := _next(file, size):
                digest.add(lines)
                yield lines
    except OSError as error:
        raise FolderError(f"{folder / name}: {error.strerror}: export again, or copy the folder again") from None
    found = digest.entry
    if found != entry:
        wrong = (
            "has another checksum"
            if (found.rows, found.bytes) == (entry.rows, entry.bytes)
            else (f"has {found.rows} rows and {found.bytes} bytes, not {entry.rows} and {entry.bytes}")
        )
        raise FolderError(f"{folder / name} {wrong} than its manifest says: copy the folder again, or export again")


def _next(file: Any, size: int) -> list[bytes]:
    lines = []
    for _ in range(size):
        line = file.readline(MAX_LINE)
        if not line:
            break
        if not line.endswith(b"\n"):
            raise FolderError(f"{file.name} has a line that is cut off or too long: copy the folder again")
        lines.append(line)
    return lines


def _to_disk(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
