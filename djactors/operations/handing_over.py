"""What `djactors export --json` writes of a whole tenant, and what `djactors import` reads back.

The folder has a file of JSON lines for each table, one line for each row, and a manifest with the format, the schema,
counts, checksums, and where the tenant's log begins and ends. It is read in one snapshot beside a running server.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime

import msgspec

from djactors import __version__
from djactors.domain.times import WALL_CLOCK, utc_text
from djactors.inbox import schema, tenancy
from djactors.inbox.parcels import FORMAT, VERSION, Columns, End, Manifest, file_of
from djactors.inbox.tenancy import PARTS, Part
from djactors.operations.folders import FolderError, NewFolder
from djactors.operations.inbox import snapshot_of
from djactors.operations.moving import Step
from djactors.store.engines import Place, shown

Report = Callable[[Step], None]


def export(
    place: Place, folder: str, tenant_id: int, report: Report, now: Callable[[], datetime] = WALL_CLOCK
) -> Manifest:
    """Write a tenant into a new folder. Blocks.

    Raises:
        FolderError: the folder is there already, or the database has no such tenant.
        StoreBroken, MigrationError: the database cannot be read.
        OSError: the folder cannot be written.
    """
    columns = Columns(schema.blueprint())
    with snapshot_of(place) as connection:
        if not tenancy.knows(connection, tenant_id):
            raise FolderError(f"--tenant: {shown(place)} has no tenant {tenant_id}")
        last, oldest = tenancy.end_of(connection, tenant_id)
        manifest = Manifest(
            FORMAT,
            VERSION,
            f"djactors {__version__}",
            utc_text(now()),
            tenant_id,
            schema.checksums(),
            End.of(last),
            End.of(oldest),
        )
        with NewFolder(folder) as target:
            done = 0
            for part in PARTS:
                done = _write(target, part, columns.lines(connection, part, tenant_id), done, report)
            target.keep({key: value for key, value in msgspec.to_builtins(manifest).items() if key != "files"})
            return msgspec.structs.replace(manifest, files=target.entries)


def _write(target: NewFolder, part: Part, slices: Iterator[list[bytes]], done: int, report: Report) -> int:
    def counted() -> Iterator[list[bytes]]:
        nonlocal done
        report(Step("writing", part.name, done, None))
        for lines in slices:
            yield lines
            done += len(lines)
            report(Step("writing", part.name, done, None))

    target.write(file_of(part), counted())
    return done
