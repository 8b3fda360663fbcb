"""What a transaction holds of a database that several nodes write to: the tenants, the turns of the clock, the ids.

Rules:
  * A transaction holds the rows of all its tenants, from its start to its end, so what it reads of them does not
    change, and a tenant's sequence is dense and in the order of the commits. The rows are locked in the order of their
    ids, so two nodes do not wait for each other. A tenant that does not exist yet has no row; it is held by a lock on
    its number.
  * `tenants.writer` names the node that wrote last. What this node knows of a tenant is right as long as that is its
    own name, and the log ends where this node left it. Otherwise it is forgotten. The log is looked at because a
    database that failed over may have lost commits of this very node.
  * A statement that waits for a row sees it as it is then, but the rows of other tables as they were when it began. So
    the rows are locked by one statement and read by another, which are sent together.
  * Ids come from sequences, under the locks of all tenants, and those that are not used are thrown away with the
    transaction. So within a tenant ids rise with the sequence numbers. Across tenants they do not.
  * What concerns the whole installation is done by one node at a time: see `take_turn`.

A node's name must be one that no other process has, nor had before, and has no space in it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from djactors.domain.accounts import Account
from djactors.domain.commands import Change, ExpireSlice, NoteRoom, PurgeSlice, RaiseAlerts, SendSummaries, WakeSnoozed
from djactors.inbox.known import Known
from djactors.inbox.rows import Tenant
from djactors.store.connection import Connection

# By the primary keys, for PostgreSQL alone.
SELECT_TENANTS = """SELECT t.id, t.writer, t.name, t.time_zone, t.job_numbering, t.last_job_id, t.names_version,
    coalesce(c.seq, t.oldest_seq), coalesce(c.mark, t.oldest_mark), t.importing
    FROM tenants t LEFT JOIN LATERAL
    (SELECT seq, mark FROM changes WHERE tenant_id = t.id ORDER BY seq DESC LIMIT 1) c ON true
    WHERE t.id = ANY(CAST(? AS BIGINT[])) ORDER BY t.id"""
LOCK_TENANTS = "SELECT id FROM tenants WHERE id = ANY(CAST(? AS BIGINT[])) ORDER BY id FOR NO KEY UPDATE"
LOCK_NUMBERS = "SELECT pg_advisory_xact_lock(number) FROM unnest(CAST(? AS BIGINT[])) AS number"
UPDATE_WRITER = "UPDATE tenants SET writer = ? WHERE id = ANY(CAST(? AS BIGINT[]))"
TRY_LOCK = "SELECT pg_try_advisory_xact_lock(?), EXISTS (SELECT 1 FROM imports)"
NOTIFY = "SELECT pg_notify(?, ?)"

KINDS = ("domain_events", "notifications", "suppressions", "job_comments")
"""The tables whose ids come from sequences."""

# One text, whatever is wanted: of a kind of which nothing is wanted, no row comes.
SELECT_IDS = " UNION ALL ".join(
    f"SELECT '{kind}', nextval('{kind}_ids') FROM generate_series(1, CAST(? AS BIGINT))" for kind in KINDS
)

NO_IDS: Mapping[str, int] = {}

CHANNEL = "djactors"
"""On which nodes tell each other of their commits."""

MAX_PAYLOAD = 7999
"""Bytes of a notification: PostgreSQL refuses more."""

ANY_TENANT = "*"
"""Stands in a notification for more tenants than it has room for."""

_TENANTS = 486 << 53
_TURNS = 487 << 53
"""Numbers of advisory locks. The number of a tenant or of a turn is below 2^53, and these are far from the small ones
that other programs like to use in the same database."""

_TURN_OF: Mapping[type, int] = {
    RaiseAlerts: 1,
    SendSummaries: 2,
    WakeSnoozed: 3,
    ExpireSlice: 4,
    PurgeSlice: 5,
    NoteRoom: 6,
}

FIRST_BLOCK = 16
LAST_BLOCK = 1024
"""Ids that are fetched at a time when those that were expected do not suffice: twice as many each time, so a comment
on a job with a thousand watchers asks six times."""


class Sharing:
    """What one transaction holds.

    Attributes:
        others_wrote_in: the tenants in which somebody else has written since this node did, or whose log does not end
            where this node left it.
        absent: the tenants that do not exist.
        importing: those that are being imported.
        has_imports: whether any tenant is, once a turn was asked for.
    """

    def __init__(self, connection: Connection, known: Known, node: str) -> None:
        self._connection = connection
        self._known = known
        self._node = node
        self._held: set[int] = set()
        self._unclaimed: list[int] = []
        self._claimed: list[int] = []
        self._turns: dict[type, bool] = {}
        self.ids = Ids(connection)
        self.others_wrote_in: set[int] = set()
        self.absent: frozenset[int] = frozenset()
        self.importing: set[int] = set()
        self.has_imports = False

    @property
    def node(self) -> str:
        """This node's name."""
        return self._node

    def lock(self, tenant_ids: Iterable[int], ids: Mapping[str, int] = NO_IDS) -> None:
        """Hold these tenants until the transaction ends, and know what they are now.

        `ids` are how many ids of each kind will be wanted at least. They are fetched in the same round trip, where all
        tenants are known: ids are drawn behind all locks, and a tenant that does not exist is locked by its number.
        """
        wanted = sorted(set(tenant_ids) - self._held)
        if not wanted:
            return
        rows = self._lock_rows(wanted, ids if self._known.tenants.keys() >= set(wanted) else NO_IDS)
        missing = [tenant_id for tenant_id in wanted if tenant_id not in rows]
        if missing:
            # Those that were drawn already may be lower than what another node has given out meanwhile.
            self.ids = Ids(self._connection)
            self._put_off(LOCK_NUMBERS, array_of([_TENANTS | number for number in missing]))
            # Another node may just have made some of them.
            rows.update(self._lock_rows(missing))
            self.absent |= {number for number in missing if number not in rows}
        for tenant_id in wanted:
            self._take_in(tenant_id, rows.get(tenant_id))
        self._unclaimed += [tenant_id for tenant_id, row in rows.items() if row[1] != self._node]
        self._held.update(wanted)

    def holds(self, tenant_id: int) -> bool:
        """Whether the transaction holds a tenant."""
        return tenant_id in self._held

    def claim(self) -> None:
        """Write down that this node has written in the tenants that are held. Does nothing the second time."""
        if self._unclaimed:
            self._connection.execute(UPDATE_WRITER, (self._node, array_of(self._unclaimed)))
            self._claimed += self._unclaimed
            self._unclaimed = []

    def undone(self) -> None:
        """Note that the transaction was rolled back to a savepoint: what was claimed may not be."""
        self._unclaimed += self._claimed
        self._claimed = []
        self.absent = frozenset()

    def take_turn(self, command: object) -> bool:
        """Whether this node may carry out a command of the whole installation. No other node may, until the transaction
        ends."""
        kind = type(command)
        if kind not in self._turns:
            row = self._connection.execute(TRY_LOCK, (_TURNS | _TURN_OF[kind],)).fetchone()
            self._turns[kind], self.has_imports = bool(row[0]), bool(row[1])
        return self._turns[kind]

    def tell(
        self,
        changes: Mapping[int, list[Change]],
        accounts: Mapping[tuple[int, int], Account],
        ended: Collection[int] = (),
    ) -> None:
        """Tell the other nodes where the logs end of the tenants in which something changed, once it is committed.

        A tenant that has said something of a user is named as well, and so is one whose history has `ended`, even if
        its log ends where it did.
        """
        ends = {tenant_id: told[-1].offset.seq for tenant_id, told in changes.items() if told}
        for tenant_id in (*(tenant_id for tenant_id, _ in accounts), *ended):
            tenant = self._known.tenants.get(tenant_id)
            ends.setdefault(tenant_id, 0 if tenant is None else tenant.last_seq)
        if ends:
            self._put_off(NOTIFY, CHANNEL, payload(self._node, ends))

    def _lock_rows(self, tenant_ids: list[int], ids: Mapping[str, int] = NO_IDS) -> dict[int, tuple[Any, ...]]:
        wanted = array_of(tenant_ids)
        self._put_off(LOCK_TENANTS, wanted)
        rows = self._connection.foresee(SELECT_TENANTS, (wanted,))
        self.ids.expect(ids)
        return {row[0]: row for row in rows.fetchall()}

    def _put_off(self, statement: str, *parameters: object) -> None:
        """Run a statement whose rows nobody wants, together with the next one that is asked for its rows."""
        self._connection.executemany(statement, [parameters])

    def _take_in(self, tenant_id: int, row: tuple[Any, ...] | None) -> None:
        """Know a tenant as it is now, and forget what is not true any more."""
        before = self._known.tenants.get(tenant_id)
        if row is None:
            if before is not None:
                self.others_wrote_in.add(tenant_id)
            self._known.forget_tenant(tenant_id)
            return
        _, writer, *columns, importing = row
        if importing:
            self.importing.add(tenant_id)
        if writer != self._node:
            self.others_wrote_in.add(tenant_id)
        elif before is not None:
            if columns[-2:] == [before.last_seq, before.last_mark]:
                return
            self.others_wrote_in.add(tenant_id)
        if before is not None or writer != self._node:
            self._known.forget_tenant(tenant_id)
        self._known.tenants[tenant_id] = Tenant(tenant_id, *columns)


class Ids:
    """Ids of one transaction, from the sequences."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        # Each block backwards, because the end of a list is what is cheap to take.
        self._blocks: dict[str, list[int]] = {kind: [] for kind in KINDS}
        self._size = FIRST_BLOCK

    def expect(self, wanted: Mapping[str, int]) -> None:
        """Fetch so many ids of each kind, in one round trip. What is left of earlier ones is used first."""
        numbers = [max(0, wanted.get(kind, 0) - len(self._blocks[kind])) for kind in KINDS]
        if not any(numbers):
            return
        for kind, number in self._connection.execute(SELECT_IDS, numbers).fetchall():
            self._blocks[kind].append(number)
        for block in self._blocks.values():
            block.sort(reverse=True)

    def next(self, kind: str) -> int:
        """The next id of a kind of row. `kind` is the name of the table."""
        block = self._blocks[kind]
        if not block:
            self.expect({kind: self._size})
            self._size = min(2 * self._size, LAST_BLOCK)
        return block.pop()


def array_of(values: Iterable[int | str]) -> str:
    """Values as PostgreSQL reads them where a statement says `CAST(? AS BIGINT[])` or TEXT[]."""
    return "{" + ",".join([str(value) if isinstance(value, int) else _quoted(value) for value in values]) + "}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def payload(node: str, ends: Mapping[int, int]) -> str:
    """What one node tells the others: its name, and the numbers up to which the logs of tenants go now."""
    text = " ".join([node, *(f"{tenant_id}:{seq}" for tenant_id, seq in ends.items())])
    return text if len(text.encode()) <= MAX_PAYLOAD else f"{node} {ANY_TENANT}"
