"""What `djactors import --url` does: brings a tenant in through a running server, and what `--abandon` does.

    folder ── proved as without a server ── slices ── the server ── read back and judged ── served

A slice that got no answer is sent again. If the command is interrupted, the same command goes on where it stopped.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import trio

from djactors.config import Settings
from djactors.domain.errors import Refused
from djactors.domain.importing import AbandonImport, Imported
from djactors.inbox import moving as installation
from djactors.inbox.importing import ROWS_OF_A_SLICE
from djactors.inbox.inbox import Inbox
from djactors.inbox.parcels import Manifest
from djactors.inbox.tenancy import PARTS
from djactors.operations.asking import NotDoneError, UntrustedError, ask
from djactors.operations.bringing_in import Report, Staged, announced, staged
from djactors.operations.moving import Step
from djactors.operations.signing_out import alone
from djactors.store.database import Database

ROUTE = "/api/imports"

TIMEOUT = 60.0
"""Seconds in which the server must answer: a slice takes some milliseconds, and a piece two seconds."""

BYTES_OF_A_SLICE = 128 * 1024
"""Bytes of lines after which a slice ends; a single line may have more."""

PATIENCE = 120
"""Seconds for which a server that is not there, or cannot take anything now, is asked again: it may be restarted."""

PAUSE = 1.0
"""Seconds between two tries."""

PASSING = frozenset({None, 429, 502, 503, 504})
"""The statuses of answers after which the same is asked again; None where there was no answer."""

NOT_FOUND = 404


class _Begun(msgspec.Struct, frozen=True):
    plan: str
    arrived: int


class _Arrived(msgspec.Struct, frozen=True):
    arrived: int


class _Judged(msgspec.Struct, frozen=True):
    done: bool
    judged: int


class _Removed(msgspec.Struct, frozen=True):
    done: bool
    removed: int


_Answer = TypeVar("_Answer", _Begun, _Arrived, _Judged, _Removed)


class Server:
    """The server that takes a tenant in.

    Args:
        settings: have the secret for the token.
        url: where the server is.
        token: of a service; without one, the command signs one for itself.
        sleep: waits so many seconds.
        ssl_context: what checks the server's certificate, if not the CAs of the system do.
    """

    def __init__(
        self,
        settings: Settings,
        url: str,
        token: str | None,
        sleep: Callable[[float], object] = time.sleep,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._settings = settings
        self._url = url
        self._token = token
        self._sleep = sleep
        self._ssl_context = ssl_context

    def ask(self, path: str, body: dict[str, Any], kind: type[_Answer], *, patience: int = PATIENCE) -> _Answer:
        """The server's answer to a request that is harmless when it is repeated.

        Raises:
            SettingError: there is neither a token nor a secret.
            NotDoneError: the server is not there, or refused.
        """
        for tries in range(patience + 1):
            try:
                answer = ask(
                    self._settings,
                    self._url,
                    self._token,
                    f"{ROUTE}{path}",
                    body,
                    TIMEOUT,
                    of_all=True,
                    ssl_context=self._ssl_context,
                )
                return msgspec.convert(answer, kind)
            except NotDoneError as error:
                if isinstance(error, UntrustedError) or error.status not in PASSING or tries == patience:
                    raise
                self._sleep(PAUSE)
            except msgspec.ValidationError:
                raise NotDoneError(f"{self._url} is no djactors server: its answer is another one") from None
        raise AssertionError("it was answered or not")


def send_in(server: Server, folder: str, report: Report) -> Manifest:
    """Bring a tenant in through a server that does not have it.

    Raises:
        FolderError: the folder is not what its manifest says, or is of another version.
        SettingError, NotDoneError: see `Server.ask`. What has arrived stays, and the same call goes on with it.
    """
    with staged(folder, report) as parcel:
        manifest = parcel.manifest
        # Who mistypes the URL is told so at once.
        begun = server.ask("", _beginning(parcel), _Begun, patience=0)
        _send(server, parcel, begun, report)
        while True:
            body = {"tenantId": manifest.tenant_id, "plan": begun.plan, "last": manifest.last.offset}
            judged = server.ask("/finish", body, _Judged)
            report(Step("verifying", "tenant", judged.judged, manifest.rows))
            if judged.done:
                return manifest


def _beginning(parcel: Staged) -> dict[str, Any]:
    [part, *_] = PARTS
    manifest, connection = parcel.manifest, parcel.connection
    [[line]] = parcel.columns.lines(connection, part, manifest.tenant_id)
    return {
        "tenantId": manifest.tenant_id,
        "manifest": msgspec.to_builtins(manifest),
        "tenant": line.decode(),
        "highest": installation.numbers_given(connection),
    }


def _send(server: Server, parcel: Staged, begun: _Begun, report: Report) -> None:
    tenant_id, total, arrived = parcel.manifest.tenant_id, parcel.manifest.rows, begun.arrived
    for table, first, lines in _slices(parcel, arrived):
        if first + len(lines) <= arrived:
            continue
        body = {
            "tenantId": tenant_id,
            "plan": begun.plan,
            "first": first,
            "table": table,
            "lines": b"".join(lines).decode(),
        }
        arrived = server.ask("/rows", body, _Arrived).arrived
        if arrived < first + len(lines):
            raise NotDoneError("the server has lost rows that it had taken in: run the same command again")
        report(Step("importing", table, arrived, total))


def _slices(parcel: Staged, arrived: int) -> Iterator[tuple[str, int, list[bytes]]]:
    """The rows that have not arrived: the table, the number of the first row, and the lines."""
    number = 1
    for part in PARTS[1:]:
        some: list[bytes] = []
        for lines in parcel.columns.lines(parcel.connection, part, parcel.manifest.tenant_id):
            for line in lines:
                number += 1
                if number <= arrived:
                    continue
                if some and (len(some) == ROWS_OF_A_SLICE or _bytes(some) + len(line) > BYTES_OF_A_SLICE):
                    yield part.name, number - 1 - len(some), some
                    some = []
                some.append(line)
        if some:
            yield part.name, number - len(some), some


def _bytes(lines: list[bytes]) -> int:
    return sum(map(len, lines))


def abandon(server: Server, folder: str, report: Report) -> Manifest:
    """Have a server remove what has arrived of the tenant in a folder.

    Raises:
        FolderError, SettingError, NotDoneError: as `send_in`; the tenant is not being imported.
    """
    manifest = announced(Path(folder))
    removed = 0
    while True:
        try:
            answer = server.ask("/abandon", {"tenantId": manifest.tenant_id}, _Removed)
        except NotDoneError as error:
            raise (_not_under_way(manifest) if error.status == NOT_FOUND else error) from None
        removed += answer.removed
        report(Step("removing", "tenant", removed, None))
        if answer.done:
            return manifest


def abandon_directly(path: str, folder: str, report: Report) -> Manifest:
    """Remove what has arrived from a database, which no server may have open if it is a file.

    Raises:
        FolderError, NotDoneError: as `abandon`.
        DatabaseLocked: a server holds it.
        StoreError: it cannot be written.
    """
    manifest = announced(Path(folder))
    with alone(path):
        trio.run(_abandon, path, manifest, report)
    return manifest


async def _abandon(path: str, manifest: Manifest, report: Report) -> None:
    async with await Database.open(path) as database:
        inbox, removed = Inbox(database), 0
        while True:
            [outcome] = (await inbox.record([AbandonImport(manifest.tenant_id)])).outcomes
            if isinstance(outcome, Refused):
                raise _not_under_way(manifest)
            if isinstance(outcome, Exception):
                raise outcome
            assert isinstance(outcome, Imported)
            removed += outcome.arrived
            report(Step("removing", "tenant", removed, None))
            if outcome.done:
                return


def _not_under_way(manifest: Manifest) -> NotDoneError:
    return NotDoneError(f"tenant {manifest.tenant_id} is not being imported there: there is nothing to abandon")
