"""The router as the rest of the program sees it: the type of a command decides the type of its outcome.

`Ask` is the table of commands and their outcomes. Python's types cannot tie this table to the code that carries
commands out, so a test carries every command out and compares (`tests/actors/test_command_ref.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias, overload

import msgspec

from djactors.domain.commands import (
    Command,
    Counted,
    Erased,
    EraseSlice,
    InboxCommand,
    Outcome,
    Publish,
    Published,
    SignedOut,
    SignOut,
    SliceCommand,
    Sliced,
)
from djactors.domain.importing import ImportCommand, Imported
from djactors.kernel import ActorRef


class PublishAll(msgspec.Struct, frozen=True):
    """Record several events in one commit, or in a few where they write more than one may: one message in the router's
    mailbox, an outcome for each.

    An exception in the place of an outcome says why this event was refused (`Refused`) or how it failed; the others are
    not affected. There may be as many commands as one commit takes (the router's `batch_limit`).
    """

    commands: tuple[Publish, ...]


RouterMessage: TypeAlias = Command | PublishAll
"""What the router takes."""

RouterReply: TypeAlias = Outcome | list[Outcome | Exception]
"""What the router answers."""


class Ask(Protocol):
    """`ActorRef.ask` and `ActorRef.ask_nowait`, by command."""

    @overload
    async def __call__(self, message: Publish, timeout: float) -> Published: ...
    @overload
    async def __call__(self, message: InboxCommand, timeout: float) -> Counted: ...
    @overload
    async def __call__(self, message: SliceCommand, timeout: float) -> Sliced: ...
    @overload
    async def __call__(self, message: SignOut, timeout: float) -> SignedOut: ...
    @overload
    async def __call__(self, message: EraseSlice, timeout: float) -> Erased: ...
    @overload
    async def __call__(self, message: ImportCommand, timeout: float) -> Imported: ...
    @overload
    async def __call__(self, message: PublishAll, timeout: float) -> list[Published | Exception]: ...


class Request(Protocol):
    """`ActorRef.request_nowait`, by command."""

    @overload
    def __call__(self, message: Publish, reply: Callable[[Published | Exception], None]) -> None: ...
    @overload
    def __call__(self, message: InboxCommand, reply: Callable[[Counted | Exception], None]) -> None: ...


class CommandRef(Protocol):
    """A ref to the router. Everything raises as `ActorRef` says; besides, an ask raises `Refused` and `StoreError`."""

    @property
    def ask(self) -> Ask:
        """Have a command recorded; waits for room."""

    @property
    def ask_nowait(self) -> Ask:
        """Have a command recorded; refused at once if there is no room."""

    @property
    def request_nowait(self) -> Request:
        """Have a command recorded, and a function called with what comes of it."""

    def tell_nowait(self, message: Command) -> None:
        """Have a command recorded, whatever comes of it."""


def command_ref(router: ActorRef[RouterMessage, Any]) -> CommandRef:
    """The ref of the router, typed by command."""
    return router
