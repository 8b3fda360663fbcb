"""The terminal of `djactors top`: draws, listens for keys, and leaves everything as it was.

Rules:
  * A look and what is drawn of it come in turns, so at most one request is under way, and a slow server is asked less
    often.
  * q, Ctrl-C, SIGTERM and a hang-up end it. Ctrl-Z puts the terminal back before it stops, and draws anew behind it.
  * Where the output is no terminal, or one that cannot move its cursor, one picture is printed.
"""

from __future__ import annotations

import os
import signal
import sys
import termios
import tty
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from datetime import datetime
from math import inf
from typing import Any, Final, TextIO

import trio
from rich.console import Console
from rich.live import Live

from djactors.operations.top.looking import Look, Looker, NoLookError
from djactors.operations.top.picture import ALL, picture

QUIT: Final = frozenset({b"q", b"Q", b"\x03", b"\x04"})
"""q, and Ctrl-C and Ctrl-D where the terminal passes them on as letters."""

ENDS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
OTHERS: Final = (signal.SIGTSTP, signal.SIGWINCH)


def is_live(output: TextIO, environment: Mapping[str, str]) -> bool:
    """Whether the output is a terminal on which a picture can be drawn over another one."""
    return output.isatty() and environment.get("TERM", "dumb") not in ("", "dumb", "unknown")


async def show(
    looker: Looker,
    url: str,
    *,
    once: bool,
    interval: float,
    output: TextIO | None = None,
    keys: TextIO | None = None,
    now: Callable[[], datetime] = datetime.now,
) -> None:
    """Show the installation until somebody quits, or print one picture.

    Args:
        looker: asks the server.
        url: of the server, as it is shown.
        once: print one picture.
        interval: seconds between two looks.
        output: where to, by default standard output.
        keys: where keys come from, by default standard input.
        now: the wall clock of this machine.

    Raises:
        NoLookError: the server has given no answer to print; or its answer says that no further look can help.
    """
    output = sys.stdout if output is None else output
    if once:
        console = Console(file=output, highlight=False, color_system=None, soft_wrap=False)
        look = await looker.look()
        console.print(picture(look, url=url, width=console.width, height=ALL, ascii_only=_is_ascii(console)))
        return
    await _Show(looker, url, interval, output, sys.stdin if keys is None else keys, now).run()


class _Show:
    def __init__(
        self,
        looker: Looker,
        url: str,
        interval: float,
        output: TextIO,
        keys: TextIO,
        now: Callable[[], datetime],
    ) -> None:
        self._looker = looker
        self._url = url
        self._interval = interval
        self._keys = keys
        self._keyboard = _Keyboard(keys)
        self._now = now
        self._console = Console(file=output, highlight=False, force_terminal=True)
        self._live = Live(
            console=self._console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
        )
        self._look: Look | None = None
        self._absent_since: datetime | None = None
        self._absent_at = -inf
        self._reason = ""

    async def run(self) -> None:
        with trio.open_signal_receiver(*ENDS, *OTHERS) as signals, self._keyboard, self._live:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._listen, nursery.cancel_scope)
                nursery.start_soon(self._obey, signals, nursery.cancel_scope)
                self._draw()
                while True:
                    await self._take()
                    self._draw()
                    await trio.sleep(self._interval)

    async def _take(self) -> None:
        try:
            self._look = await self._looker.look()
            self._absent_since = None
        except NoLookError as error:
            if error.is_final and self._look is None:
                raise
            if self._absent_since is None:
                self._absent_since, self._absent_at = self._now(), trio.current_time()
            self._reason = str(error)

    def _draw(self) -> None:
        console = self._console
        width, height = console.size
        drawn = picture(
            self._look,
            url=f"{self._url}  q quits",
            width=width,
            height=height,
            absent=self._absent(),
            ascii_only=_is_ascii(console),
        )
        self._live.update(drawn, refresh=True)

    def _absent(self) -> str:
        if self._absent_since is None:
            return ""
        ago = trio.current_time() - self._absent_at
        return f"no answer since {self._absent_since:%H:%M:%S} ({ago:.0f} s): {self._reason}"

    async def _listen(self, scope: trio.CancelScope) -> None:
        """Wait for the key that ends it, if there is a keyboard."""
        with suppress(OSError, ValueError):
            keys = self._keys.fileno()
            while self._keys.isatty():
                await trio.lowlevel.wait_readable(keys)
                pressed = os.read(keys, 1)
                if pressed in QUIT or not pressed:
                    scope.cancel()
                    return

    async def _obey(self, signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
        async for number in signals:
            if number in ENDS:
                scope.cancel()
                return
            if number == signal.SIGTSTP:
                self._live.stop()
                self._keyboard.__exit__()
                # This returns when somebody says `fg`.
                os.kill(os.getpid(), signal.SIGSTOP)
                self._keyboard.__enter__()
                self._live.start()
            self._draw()


class _Keyboard:
    """Has keys come one by one and without an echo, if they come from a terminal; a context."""

    def __init__(self, keys: TextIO) -> None:
        self._keys = keys
        self._before: list[Any] | None = None

    def __enter__(self) -> None:
        # Without a descriptor, or with one of something else than a terminal, there is nothing to change.
        with suppress(OSError, ValueError, termios.error):
            self._before = termios.tcgetattr(self._keys.fileno())
            tty.setcbreak(self._keys.fileno())

    def __exit__(self, *_: object) -> None:
        # A terminal that was closed has nothing to be put back.
        with suppress(OSError, ValueError, termios.error):
            if self._before is not None:
                termios.tcsetattr(self._keys.fileno(), termios.TCSADRAIN, self._before)


def _is_ascii(console: Console) -> bool:
    return not console.encoding.startswith("utf")
