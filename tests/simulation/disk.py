"""The disk of a simulated machine: what was written, what of it was synced, and what is there after a crash.

SQLite of the standard library takes no file layer from Python, but the library beneath it takes one from anybody: this
module registers a VFS with the very library that `_sqlite3` has loaded, by ctypes. The files are real ones; reading,
locking and shared memory stay SQLite's own native code. Only `xOpen`, `xWrite`, `xTruncate`, `xSync`, `xClose` and
`xDelete` of files in the folder of a `Disk` come by here first. So the server's whole store runs unchanged, on the
build of SQLite that it has in production. `durable.write_again`, which the store itself does to a file, comes by here
as well.

What is modelled:
  * A process that is killed leaves everything that it wrote, synced or not. What was not synced is still not synced for
    the process that comes after it.
  * A machine that loses its power keeps what was synced. Of each write since then it keeps all, nothing, or some
    sectors of 512 bytes, in any combination: nothing is ordered but by a sync.
  * Any write, truncation or sync may fail with an error of the program's choice, or be the last thing that happens.
  * After a failed sync nothing says that the data is there later: it stays unsynced, and the kernel takes it for clean
    (as Linux does), so that a later sync of the same file does not bring it to the disk either.

What is not modelled: folders (that a file was made or removed survives at once), rot of what was synced, sectors that
are damaged beside the write (SQLite assumes the same: SQLITE_IOCAP_POWERSAFE_OVERWRITE), a disk that says that it has
synced and has not, failing reads. The index of the log (`-shm`) is lost with its process each time.
"""

from __future__ import annotations

import _sqlite3
import ctypes
import errno
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Literal

from djactors.store.sqlite import durable
from tests.simulation.instead import instead

SECTOR = 512
OK = 0
KEPT = ("inbox.db", "inbox.db-wal", "inbox.db-journal")
"""The files of a database that outlive their process."""

NEEDED = "the simulation needs a Python whose _sqlite3 is linked to a shared libsqlite3: this one has its own inside"

Operation = Literal["write", "truncate", "sync"]

# The order of members in `sqlite3_io_methods` and `sqlite3_vfs`, in words of the machine: sqlite3.h.
_CLOSE, _WRITE, _TRUNCATE, _SYNC = 1, 3, 4, 5
_METHODS = 19
_VFS_NEXT, _VFS_NAME, _VFS_OPEN, _VFS_DELETE = 2, 3, 5, 6
_VFS_WORDS = 22

_Word = ctypes.c_void_p
_Open = ctypes.CFUNCTYPE(ctypes.c_int, _Word, _Word, _Word, ctypes.c_int, ctypes.POINTER(ctypes.c_int))
_Delete = ctypes.CFUNCTYPE(ctypes.c_int, _Word, ctypes.c_char_p, ctypes.c_int)
_Write = ctypes.CFUNCTYPE(ctypes.c_int, _Word, _Word, ctypes.c_int, ctypes.c_int64)
_Truncate = ctypes.CFUNCTYPE(ctypes.c_int, _Word, ctypes.c_int64)
_Sync = ctypes.CFUNCTYPE(ctypes.c_int, _Word, ctypes.c_int)
_Close = ctypes.CFUNCTYPE(ctypes.c_int, _Word)


@dataclass(slots=True)
class Content:
    """A file: what is synced, and the writes since then in their order; data of None cuts the file there."""

    synced: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)
    # Writes that a failed sync has left behind: only luck brings them to the disk.
    doomed: list[tuple[int, bytes | None]] = field(default_factory=list)
    # What whoever reads the file is given.
    now: bytearray = field(default_factory=bytearray)

    @classmethod
    def of(cls, content: bytes) -> Content:
        """A file that is synced."""
        return cls(bytearray(content), now=bytearray(content))

    def copy(self) -> Content:
        """The same, on its own."""
        return Content(bytearray(self.synced), list(self.pending), list(self.doomed), bytearray(self.now))

    def write(self, offset: int, data: bytes | None) -> None:
        """Write, or cut."""
        self.pending.append((offset, data))
        _apply(self.now, offset, data)

    def sync(self) -> None:
        """All that is pending is on the disk, and nothing comes over it that was written before."""
        for offset, data in self.pending:
            _apply(self.synced, offset, data)
            if self.doomed:
                end = offset + len(data) if data is not None else 1 << 62
                self.doomed = [each for each in self.doomed if each[0] >= end or _end(each) <= offset]
        self.pending.clear()

    def fail_to_sync(self) -> None:
        """Nothing that is pending will be written by itself any more."""
        self.doomed += self.pending
        self.pending.clear()

    def after_power_loss(self, random: Random) -> bytes:
        """What is left: each write that was not synced is there, or not, or in part."""
        content = bytearray(self.synced)
        # A whole crash keeps little or much, so that both ends are seen often.
        share = random.choice((0.0, 0.2, 0.5, 0.8, 1.0))
        for offset, data in [*self.doomed, *self.pending]:
            if data is None:
                if random.random() < share:
                    _apply(content, offset, None)
                continue
            if random.random() < 0.5:
                if random.random() < share:
                    _apply(content, offset, data)
                continue
            begin = 0
            while begin < len(data):
                end = min(len(data), begin + SECTOR - (offset + begin) % SECTOR)
                if random.random() < share:
                    _apply(content, offset + begin, data[begin:end])
                begin = end
        return bytes(content)


def _end(write: tuple[int, bytes | None]) -> int:
    offset, data = write
    return 1 << 62 if data is None else offset + len(data)


def _apply(content: bytearray, offset: int, data: bytes | None) -> None:
    if data is None:
        del content[offset:]
        return
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


Fault = Callable[[Operation, str], int]
"""Told of each operation before it happens, with the file's name; returns `OK`, or SQLite's code of an error."""


class Disk:
    """The disk under one process. `before` is asked before each operation; a disk that is `dead` is told to nobody."""

    def __init__(self, folder: Path, contents: dict[str, Content], before: Fault) -> None:
        self.folder = folder
        self.contents = {name: content.copy() for name, content in contents.items()}
        self.before = before
        self.dead = False
        folder.mkdir(parents=True)
        for name, content in self.contents.items():
            (folder / name).write_bytes(content.now)

    def killed(self) -> dict[str, Content]:
        """What the next process finds, if this one is killed now."""
        return {name: content.copy() for name, content in self.contents.items()}

    def unplugged(self, random: Random) -> dict[str, Content]:
        """What the machine finds when it is switched on, if it is switched off now."""
        return {name: Content.of(content.after_power_loss(random)) for name, content in sorted(self.contents.items())}

    def replaced(self, content: bytes) -> dict[str, Content]:
        """Another database in the place of this one, synced."""
        return {KEPT[0]: Content.of(content)}


class _Layer:
    """The VFS. There is one in a process; SQLite keeps a pointer to it for as long as files are open."""

    def __init__(self) -> None:
        self.disks: dict[str, Disk] = {}
        self.failure: BaseException | None = None
        self._write_again = durable.write_again
        self._library = ctypes.CDLL(_sqlite3.__file__)
        self._library.sqlite3_vfs_find.restype = _Word
        self._library.sqlite3_vfs_find.argtypes = [ctypes.c_char_p]
        self._library.sqlite3_vfs_register.argtypes = [_Word, ctypes.c_int]
        native = self._library.sqlite3_vfs_find(None)
        self._native = native
        words = (ctypes.c_size_t * _VFS_WORDS).from_address(native)
        self._open_native = _Open(words[_VFS_OPEN])
        self._delete_native = _Delete(words[_VFS_DELETE])
        self._name = ctypes.create_string_buffer(b"simulated")
        self._vfs = (ctypes.c_size_t * _VFS_WORDS)(*words)
        self._callbacks: dict[str, Any] = {
            "open": _Open(self._open),
            "delete": _Delete(self._delete),
            "write": _Write(self._write),
            "truncate": _Truncate(self._truncate),
            "sync": _Sync(self._sync),
            "close": _Close(self._close),
        }
        self._vfs[_VFS_NEXT] = 0
        self._vfs[_VFS_NAME] = ctypes.addressof(self._name)
        self._vfs[_VFS_OPEN] = self._address("open")
        self._vfs[_VFS_DELETE] = self._address("delete")
        # Native method tables, and ours made of them.
        self._tables: dict[int, Any] = {}
        self._natives: dict[int, tuple[Any, Any, Any, Any]] = {}
        # Open files by their address.
        self._files: dict[int, tuple[Disk, str, tuple[Any, Any, Any, Any]]] = {}

    def register(self) -> None:
        """Every connection that is opened from now on comes by here."""
        self._library.sqlite3_vfs_register(ctypes.addressof(self._vfs), 1)

    def unregister(self) -> None:
        """None does any more; those that are open stay."""
        self._library.sqlite3_vfs_register(self._native, 1)

    def _address(self, name: str) -> int:
        address = ctypes.cast(self._callbacks[name], _Word).value
        assert address is not None
        return address

    def _find(self, path: str) -> tuple[Disk, str] | None:
        folder, _, name = path.rpartition("/")
        disk = self.disks.get(folder)
        return None if disk is None or name not in KEPT else (disk, name)

    def _open(self, vfs: int, name: int | None, file: int, flags: int, out: Any) -> int:
        code = int(self._open_native(vfs, name, file, flags, out))
        if code != OK or name is None:
            return code
        found = self._find(ctypes.string_at(name).decode())
        if found is None:
            return code
        disk, short = found
        disk.contents.setdefault(short, Content())
        methods = ctypes.c_size_t.from_address(file)
        table = self._table(methods.value)
        self._files[file] = disk, short, self._natives[methods.value]
        methods.value = ctypes.addressof(table)
        return code

    def _table(self, native: int) -> Any:
        table = self._tables.get(native)
        if table is None:
            words = (ctypes.c_size_t * _METHODS).from_address(native)
            self._natives[native] = (
                _Write(words[_WRITE]), _Truncate(words[_TRUNCATE]), _Sync(words[_SYNC]), _Close(words[_CLOSE])
            )  # fmt: skip
            table = (ctypes.c_size_t * _METHODS)(*words)
            table[_WRITE], table[_TRUNCATE] = self._address("write"), self._address("truncate")
            table[_SYNC], table[_CLOSE] = self._address("sync"), self._address("close")
            self._tables[native] = table
        return table

    def _before(self, disk: Disk, operation: Operation, name: str) -> int:
        if disk.dead:
            return OK
        try:
            return disk.before(operation, name)
        except BaseException as error:  # SQLite cannot carry it
            self.failure = error
            return sqlite3.SQLITE_IOERR

    def _write(self, file: int, data: int, size: int, offset: int) -> int:
        disk, name, (write, _, _, _) = self._files[file]
        code = self._before(disk, "write", name)
        if code != OK:
            return code
        code = write(file, data, size, offset)
        if code == OK and not disk.dead:
            disk.contents[name].write(offset, ctypes.string_at(data, size))
        return int(code)

    def _truncate(self, file: int, size: int) -> int:
        disk, name, (_, truncate, _, _) = self._files[file]
        code = self._before(disk, "truncate", name)
        if code != OK:
            return code
        code = truncate(file, size)
        if code == OK and not disk.dead:
            disk.contents[name].write(size, None)
        return int(code)

    def _sync(self, file: int, flags: int) -> int:
        disk, name, _ = self._files[file]
        code = self._before(disk, "sync", name)
        if disk.dead:
            return OK
        content = disk.contents[name]
        if code == OK:
            # The native sync would only cost time: the real file is thrown away.
            content.sync()
        else:
            content.fail_to_sync()
        return code

    def write_again(self, path: str | os.PathLike[str]) -> None:
        """See `durable.write_again`."""
        folder, _, name = os.fspath(path).rpartition("/")
        disk = self.disks.get(folder)
        content = None if disk is None else disk.contents.get(name)
        if disk is None or content is None:
            self._write_again(path)
            return
        if disk.dead:
            return
        # A full disk takes what makes no file longer.
        content.write(0, bytes(content.now))
        code = self._before(disk, "sync", name)
        if disk.dead:
            return
        if code != OK:
            content.fail_to_sync()
            number = errno.ENOSPC if code == sqlite3.SQLITE_FULL else errno.EIO
            raise OSError(number, os.strerror(number))
        content.sync()

    def _close(self, file: int) -> int:
        _, _, (_, _, _, close) = self._files.pop(file)
        return int(close(file))

    def _delete(self, vfs: int, name: bytes, sync: int) -> int:
        code = int(self._delete_native(vfs, name, sync))
        found = self._find(name.decode())
        if code == OK and found is not None and not found[0].dead:
            found[0].contents.pop(found[1], None)
        return code


def is_possible() -> bool:
    """Whether this Python has loaded SQLite as a library, to which a VFS can be given."""
    try:
        return hasattr(ctypes.CDLL(_sqlite3.__file__), "sqlite3_vfs_register")
    except (AttributeError, OSError):
        return False


_layer: _Layer | None = None


@contextmanager
def disks() -> Iterator[dict[str, Disk]]:
    """Inside the block, databases in the folders that are entered in the dictionary are on the `Disk` beside it.

    Raises:
        AttributeError: this Python has an SQLite of its own inside `_sqlite3`, so that no VFS can be registered.
    """
    global _layer
    if _layer is None:
        _layer = _Layer()
    _layer.register()
    _layer.failure = None
    try:
        with instead(durable, "write_again", _layer.write_again):
            yield _layer.disks
    finally:
        _layer.unregister()
        _layer.disks.clear()
    if _layer.failure is not None:
        raise _layer.failure
