"""A Unix socket to listen on: a file through which programs of the same machine connect, such as a reverse proxy.

Rules:

- The file's rights say who may connect, and they are set before anybody can.
- A socket that a server left behind is removed, if nobody listens on it. A file that is no socket is never touched.
- The clients have no addresses, so that all of them together count as the one address `unix`, unless `unix` is a
  trusted proxy, whose header then names them.
"""

import errno
import os
import socket
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from djactors.net._binding import BACKLOG
from djactors.net._network import Door, SocketDoor

MAX_UNIX_PATH: Final = 107
"""The most bytes of the path: the system's structure has 108, with a zero at the end."""


class UnixNetwork:
    """Listens on one path, whatever host and port a listener is given.

    Args:
        path: of the socket, which is made.
        mode: the file's rights, such as 0o660. Whoever may write to the file may connect.
    """

    def __init__(self, path: str | os.PathLike[str], mode: int) -> None:
        self._path = Path(path)
        self._mode = mode

    async def listen(self, host: str, port: int) -> Sequence[Door]:
        """See `Network.listen`.

        Raises:
            OSError: the folder is missing or may not be written to, somebody listens there, or something else than a
                socket is there.
        """
        return [_UnixDoor(self._listen(), self._path)]

    def _listen(self) -> socket.socket:
        self._remove_stale()
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listening.setblocking(False)
            listening.bind(os.fsencode(self._path))
            # Nobody can connect before `listen`, so nobody can with other rights than these.
            os.chmod(self._path, self._mode)
            listening.listen(BACKLOG)
        except BaseException:
            listening.close()
            raise
        return listening

    def _remove_stale(self) -> None:
        try:
            mode = os.lstat(self._path).st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(mode):
            raise OSError(errno.EEXIST, "there is a file that is no socket", str(self._path))
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)
            try:
                probe.connect(os.fsencode(self._path))
            except ConnectionRefusedError:
                self._path.unlink()
                return
            except BlockingIOError:
                pass  # somebody listens and is busy
            except FileNotFoundError:
                return
        raise OSError(errno.EADDRINUSE, "somebody listens there", str(self._path))


class _UnixDoor(SocketDoor):
    """Removes its file when it is closed, unless somebody else has put another one in its place."""

    __slots__ = ("_file", "_path")

    def __init__(self, listening: socket.socket, path: Path) -> None:
        super().__init__(listening)
        self._path = path
        self._file = _identity(path)

    def close(self) -> None:
        super().close()
        if self._file is not None and _identity(self._path) == self._file:
            with suppress(OSError):
                self._path.unlink()
        self._file = None


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
