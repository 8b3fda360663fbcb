"""What `djactors export --json` writes about one person: for somebody who asks what is held about them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime

import msgspec

from djactors import __version__
from djactors.domain.times import WALL_CLOCK, utc_text
from djactors.inbox import person
from djactors.inbox.parcels import FileEntry, lines_of
from djactors.inbox.person import SECTIONS, Section
from djactors.operations.folders import FolderError, NewFolder
from djactors.operations.inbox import snapshot_of
from djactors.operations.moving import Step
from djactors.store.engines import Place, shown

FORMAT = "djactors person"
VERSION = 1

READ_ME = "READ-ME.txt"

HEAD = """What is held about you
======================

You are user {user_id} of tenant {tenant_id}. This was written at {at} by {made_by}.
Each file below is text with one entry a line, in the form that is called JSON. Times are in UTC.

"""

FOOT = """
Not in here: what others wrote, even where it names you; the addresses of your devices, which are not kept in the
database; and backups, which hold the same as the database did when they were made.
"""


class Manifest(msgspec.Struct, frozen=True, rename="camel"):
    """What the folder says of itself."""

    format: str
    version: int
    made_by: str
    exported_at: str
    tenant_id: int
    user_id: int


def export(
    place: Place,
    folder: str,
    tenant_id: int,
    user_id: int,
    report: Callable[[Step], None],
    now: Callable[[], datetime] = WALL_CLOCK,
) -> dict[str, FileEntry]:
    """Write what is held about a person into a new folder; its files. Blocks.

    Raises:
        FolderError: the folder is there already, or the tenant has no such user.
        StoreBroken, MigrationError: the database cannot be read.
        OSError: the folder cannot be written.
    """
    with snapshot_of(place) as connection:
        if not person.knows(connection, tenant_id, user_id):
            raise FolderError(f"--user: {shown(place)} has no user {user_id} in tenant {tenant_id}")
        manifest = Manifest(FORMAT, VERSION, f"djactors {__version__}", utc_text(now()), tenant_id, user_id)
        with NewFolder(folder) as target:
            done = 0

            def lines(section: Section) -> Iterator[list[bytes]]:
                nonlocal done
                for rows in person.rows(connection, section, tenant_id, user_id):
                    yield lines_of(section.columns, rows)
                    done += len(rows)
                    report(Step("writing", section.name, done, None))

            for section in SECTIONS:
                target.write(file_of(section), lines(section))
            target.write_text(READ_ME, _read_me(manifest, target.entries))
            target.keep(msgspec.to_builtins(manifest))
            return target.entries


def file_of(section: Section) -> str:
    """The file of a section."""
    return f"{section.name}.jsonl"


def _read_me(manifest: Manifest, entries: dict[str, FileEntry]) -> str:
    head = HEAD.format(
        user_id=manifest.user_id, tenant_id=manifest.tenant_id, at=manifest.exported_at, made_by=manifest.made_by
    )
    body = "".join(f"{file_of(section)} ({entries[file_of(section)].rows}): {section.about}.\n" for section in SECTIONS)
    return head + body + FOOT
