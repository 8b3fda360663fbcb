"""The commands that bring a tenant in beside those that are served, and what came of them.

    BeginImport ── ImportRows, ImportRows, … ── (everything is read back and judged) ── FinishImport
         └──────────────────────── or at any time: AbandonImport, AbandonImport, … ───────┘

Each is one commit of bounded size. Until the last one nobody is served with the tenant.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, TypeAlias

import msgspec
from msgspec import Meta

from djactors.domain.ids import Id

ABANDONED_AFTER = timedelta(hours=1)
"""How long an import may stand still before it is removed. Whoever sends it waits for seconds at most between two
slices, and mends a network within an hour. Retention stands still as long."""

LONGEST = timedelta(days=1)
"""How long an import may take in all, by when some hundred million rows have come. Whoever sends a row now and then
would keep the retention of all tenants waiting for ever."""


class BeginImport(msgspec.Struct, frozen=True):
    """Begin to bring a tenant in, or go on with that.

    Attributes:
        plan: what is announced; the same plan goes on where it was interrupted.
        columns, row: of the tenant itself.
        highest: the highest id of each kind that will come.
        version: this program's; all nodes must have the same.
    """

    tenant_id: Id
    plan: str
    columns: tuple[str, ...]
    row: tuple[Any, ...]
    highest: Mapping[str, int]
    version: str


class ImportRows(msgspec.Struct, frozen=True):
    """Bring rows of one table in. They were judged by themselves.

    Attributes:
        plan: the one with which the import was begun.
        first: how many rows of the tenant came before these; the tenant's own row is one of them.
    """

    tenant_id: Id
    plan: str
    first: int
    table: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


class FinishImport(msgspec.Struct, frozen=True):
    """Serve a tenant that has arrived whole, and of which `rows` rows were read back and judged. `walks` are the ids at
    which a walk of expiry is to begin."""

    tenant_id: Id
    plan: str
    rows: int
    walks: tuple[int, ...] = ()


class AbandonImport(msgspec.Struct, frozen=True):
    """Remove a slice of a tenant that has arrived in part: `limit` rows at most.

    Attributes:
        stale: whether it is removed only if it has stood still for long, or takes too long.
    """

    tenant_id: Id
    limit: Annotated[int, Meta(ge=1)] = 1000
    stale: bool = False


ImportCommand: TypeAlias = BeginImport | ImportRows | FinishImport | AbandonImport
"""All of them are answered with `Imported`."""


class Imported(msgspec.Struct, frozen=True):
    """A slice is durable.

    Attributes:
        arrived: how many rows of the tenant are here now; of an abandoned import, how many this slice removed.
        done: whether the tenant is served now, or has been removed.
    """

    arrived: int
    done: bool = False
