"""What `djactors watch` shows of an inbox: lines on a terminal, lines of JSON for scripts, or notes on a desktop.

Texts of notifications come from strangers. Nothing of them reaches a terminal that could move its cursor, change its
title or its colours, and nothing of them is markup.
"""

from __future__ import annotations

import html
import shutil
import ssl
import subprocess
from collections.abc import Callable
from typing import Any, Final, TextIO, TypeAlias

import msgspec
import trio
from rich.console import Console
from rich.text import Text

from djactors.client import (
    Connected,
    Disconnected,
    InboxItem,
    Notification,
    OtherEvent,
    Reset,
    Token,
    UnreadCount,
    connect,
    event_name,
)

MAX_WAITING: Final = 16
"""Desktop notes that may wait to be shown. More at once than a person reads are dropped, and told as a number."""

NOTE_SECONDS: Final = 10.0
"""How long notify-send may take: it hands the note to the desktop and leaves."""

_COLOURS: Final = {"CRITICAL": "bold red", "HIGH": "yellow", "MEDIUM": "cyan", "LOW": "dim"}
_URGENCY: Final = {"CRITICAL": "critical", "HIGH": "normal", "MEDIUM": "normal", "LOW": "low"}

Show: TypeAlias = Callable[[InboxItem], None]


class NoDesktopError(Exception):
    """There is no way to show notes here; the message says what is missing."""


def plain(text: str) -> str:
    """A text of one line that a terminal shows and does not obey."""
    return "".join(each if each.isprintable() else " " if each.isspace() else "\ufffd" for each in text)


class Lines:
    """One line for each notification, and for what else a person wants to know; in colours on a terminal."""

    def __init__(self, file: TextIO, width: int | None = None) -> None:
        self._console = Console(file=file, highlight=False, soft_wrap=True, width=width)
        self._counts: tuple[int, int] | None = None

    def __call__(self, item: InboxItem) -> None:
        """Show an item."""
        match item:
            case Notification():
                self._notification(item)
            case UnreadCount(count=count, unseen=unseen) if self._counts != (count, unseen):
                self._counts = count, unseen
                self._print(f"{count} unread, {unseen} of them unseen", "dim")
            case Connected(transport=transport):
                self._print(f"connected by {transport}", "green")
            case Disconnected(attempt=attempt, detail=detail, retry_in=retry_in):
                what = "not connected" if attempt else "disconnected"
                self._print(f"{what}: {detail}; next attempt in {retry_in:.1f} s", "dim red")
            case Reset():
                self._print("the server cannot tell what was missed: what is shown has a gap here", "bold yellow")
            case _:
                pass

    def _notification(self, item: Notification) -> None:
        colour = _COLOURS.get(item.priority, "")
        line = Text(f"{item.created_at.astimezone():%H:%M:%S} ", "dim")
        line.append(f"{plain(item.priority):<8} ", colour)
        line.append(plain(item.title), "bold")
        if item.message:
            line.append(f"  {plain(item.message)}")
        line.append(f"  #{item.id} {plain(item.type)}", "dim")
        if item.replaces is not None:
            line.append(f" in place of #{item.replaces}", "dim")
        self._console.print(line)

    def _print(self, text: str, style: str) -> None:
        self._console.print(Text(plain(text), style))


class JsonLines:
    """One line of JSON for each item: `{"event", "data", "offset"}`, with the server's names and payloads.

    The connection's own have the events `connect` and `disconnect`.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def __call__(self, item: InboxItem) -> None:
        """Write an item."""
        self._file.write(msgspec.json.encode(told(item)).decode() + "\n")
        # A script that reads from a pipe wants each line when it comes.
        self._file.flush()


def told(item: InboxItem) -> dict[str, Any]:
    """An item as a line of JSON has it."""
    if isinstance(item, OtherEvent):
        return {"event": item.name, "data": item.data, "offset": item.offset}
    fields: dict[str, Any] = msgspec.to_builtins(item)
    offset = fields.pop("offset")
    match item:
        case Reset():
            name, fields = event_name(item), {"offset": offset}
        case _:
            name = event_name(item)
    return {"event": name, "data": fields, "offset": offset}


class Desktop:
    """Notes on the desktop by `notify-send`, one after the other.

    Raises:
        NoDesktopError: there is no `notify-send`.
    """

    def __init__(self, shown_too: Show) -> None:
        found = shutil.which("notify-send")
        if found is None:
            raise NoDesktopError("--desktop: notify-send is missing: on Debian, `apt install libnotify-bin` has it")
        self._program = found
        self._shown_too = shown_too
        self._send, self._receive = trio.open_memory_channel[Notification](MAX_WAITING)
        self._dropped = 0

    def __call__(self, item: InboxItem) -> None:
        """Show an item."""
        self._shown_too(item)
        # What takes the place of another one was seen already.
        if isinstance(item, Notification) and item.replaces is None:
            try:
                self._send.send_nowait(item)
            except trio.WouldBlock:
                self._dropped += 1

    async def run(self) -> None:
        """Show what waits, for ever.

        Raises:
            NoDesktopError: no desktop takes notes.
        """
        async for item in self._receive:
            await self._note(_URGENCY.get(item.priority, "normal"), item.title, item.message or "")
            if self._dropped:
                dropped, self._dropped = self._dropped, 0
                await self._note("normal", f"{dropped} more notifications", "")

    async def _note(self, urgency: str, title: str, message: str) -> None:
        # The body is markup to many desktops, and the title to none.
        words = [plain(title), html.escape(plain(message), quote=False)]
        command = [self._program, "--app-name=djactors", f"--urgency={urgency}", "--", *words]
        with trio.move_on_after(NOTE_SECONDS):
            done = await trio.run_process(command, check=False, stdin=subprocess.DEVNULL, capture_stderr=True)
            if done.returncode != 0:
                why = plain(done.stderr.decode(errors="replace")).strip()
                raise NoDesktopError(f"--desktop: notify-send failed: {why}: is this a session with a desktop?")


async def watch(
    url: str,
    token: Token,
    show: Show,
    *,
    since: str | None = None,
    ssl_context: ssl.SSLContext | None = None,
) -> None:
    """Show an inbox until cancelled.

    Raises:
        DjactorsError: the server refuses the token, or an argument is wrong.
        ValueError: the URL is none.
        NoDesktopError: no desktop takes notes.
    """
    async with connect(url, token, since=since, ssl_context=ssl_context) as inbox:
        if isinstance(show, Desktop):
            inbox.start_soon(show.run)
        async for item in inbox:
            show(item)
