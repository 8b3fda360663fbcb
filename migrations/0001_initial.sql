-- The durable inbox. One text for SQLite and PostgreSQL 15: everything here means the same on both. A line that ends with
-- "-- sqlite only" or "-- postgresql only" is for that engine, and whoever runs this file leaves the line out of the other.
--
-- What differs from the seed's DDL, and why:
--   * A user is (tenant_id, id): the same number in two tenants is two people.
--   * The program allocates the ids inside the commit. BIGSERIAL, identity columns and AUTOINCREMENT do not port. SQLite's
--     INTEGER PRIMARY KEY is the row's own place in the table, so such an id costs no index.
--   * Times are UTC text of one width, 2026-01-27T10:30:00.000000Z, written by the program: they sort as text on both engines,
--     and a default such as CURRENT_TIMESTAMP + INTERVAL does not port. expires_at is created_at plus 30 days as in the seed.
--   * JSON is TEXT: PostgreSQL's JSONB reorders keys, so a replayed packet would differ from the one that was sent live.
--   * A row leaves the inbox by a stamp (removed_seq), not by a DELETE: the log of changes still points at the row.
--   * The seed's index on created_at served "newest first"; ids rise with time, so the inbox index does that.
--   * Booleans are compared as "= false": SQLite would scan on "= 0", and PostgreSQL refuses that.
--
-- A table whose key is composite and whose rows are small is WITHOUT ROWID: SQLite then keeps the rows in the order of the key,
-- and a new row changes one page instead of two. jobs is not: its rows are larger, and its queues have indexes of their own, which
-- SQLite might pass over for the order of the key.

-- One row. pid_key, the key under which pids are given out, never leaves the file.
CREATE TABLE meta (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),  -- sqlite only
    id BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),   -- postgresql only
    pid_key VARCHAR(64) NOT NULL,
    created_at VARCHAR(27) NOT NULL
);

-- Ids of these four kinds are given out once in the life of the database. On SQLite the next one follows the highest id of the table
-- or, where purging has deleted a higher one, the number that purging left here.
CREATE TABLE counters (
    name VARCHAR(50) NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
)
WITHOUT ROWID  -- sqlite only
;
CREATE SEQUENCE domain_events_ids;  -- postgresql only
CREATE SEQUENCE notifications_ids;  -- postgresql only
CREATE SEQUENCE suppressions_ids;   -- postgresql only
CREATE SEQUENCE job_comments_ids;   -- postgresql only

-- oldest_seq: changes up to and with it are purged; oldest_mark is the mark of that change. The tenant's last number is that of
-- its newest change, or oldest_seq where none is left: so a notification does not write this row.
-- writer: which node wrote last. What a node remembers of a tenant is true as long as that is the node itself.
-- job_numbering: who numbers the tenant's jobs, 'backend' or 'djactors'; its first creation decides.
CREATE TABLE tenants (
    id INTEGER NOT NULL PRIMARY KEY,  -- sqlite only
    id BIGINT NOT NULL PRIMARY KEY,   -- postgresql only
    name VARCHAR(255) NOT NULL,
    time_zone VARCHAR(64) NOT NULL DEFAULT 'UTC',
    job_numbering VARCHAR(10),
    last_job_id BIGINT NOT NULL DEFAULT 0,
    oldest_seq BIGINT NOT NULL DEFAULT 0,
    oldest_mark BIGINT NOT NULL DEFAULT 0,
    writer VARCHAR(32),
    created_at VARCHAR(27) NOT NULL,
    updated_at VARCHAR(27) NOT NULL
);

-- unread_count is the badge: kept in the commit that changes it, never counted anew.
-- sent_count: how much the user was told on sent_day, which is the day, in the tenant's time zone, on which that was last; earlier_*
-- are of the day before that one, for a clock or a time zone that is set back.
CREATE TABLE users (
    tenant_id BIGINT NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    id BIGINT NOT NULL,
    name VARCHAR(255) NOT NULL,
    role VARCHAR(20) NOT NULL DEFAULT 'user',
    unread_count BIGINT NOT NULL DEFAULT 0 CHECK (unread_count >= 0),
    sent_day VARCHAR(10),
    sent_count BIGINT NOT NULL DEFAULT 0,
    earlier_day VARCHAR(10),
    earlier_count BIGINT NOT NULL DEFAULT 0,
    created_at VARCHAR(27) NOT NULL,
    updated_at VARCHAR(27) NOT NULL,
    PRIMARY KEY (tenant_id, id)
)
WITHOUT ROWID  -- sqlite only
;

-- Job ids are the backend's own where it numbers them, so they are unique within a tenant only. Whoever deletes a user takes the
-- user out of the jobs first: SET NULL would take the tenant out as well.
-- next_alert_at: the moment at which the clock looks at the job next; NULL for never. alerted_24h and alerted_overdue: the deadlines
-- for which each alert was sent, newest last, separated by spaces, at most eight (domain/sla.py says why).
CREATE TABLE jobs (
    tenant_id BIGINT NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    id BIGINT NOT NULL,
    dj_id VARCHAR(50),
    title VARCHAR(255) NOT NULL,
    project_id BIGINT,
    job_type_id BIGINT,
    status VARCHAR(20) NOT NULL,
    requester_id BIGINT,
    assignee_id BIGINT,
    approver_id BIGINT,
    manager_id BIGINT,
    deadline VARCHAR(27),
    next_alert_at VARCHAR(27),
    alerted_24h VARCHAR(255),
    alerted_overdue VARCHAR(255),
    created_at VARCHAR(27) NOT NULL,
    updated_at VARCHAR(27) NOT NULL,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, requester_id) REFERENCES users (tenant_id, id),
    FOREIGN KEY (tenant_id, assignee_id) REFERENCES users (tenant_id, id),
    FOREIGN KEY (tenant_id, approver_id) REFERENCES users (tenant_id, id),
    FOREIGN KEY (tenant_id, manager_id) REFERENCES users (tenant_id, id)
);
CREATE UNIQUE INDEX idx_jobs_dj_id ON jobs (tenant_id, dj_id) WHERE dj_id IS NOT NULL;
-- A queue, of one person or of all, in one state or in all, is read newest first from one index; the primary key serves the whole list.
CREATE INDEX idx_jobs_assignee ON jobs (tenant_id, assignee_id, id);
CREATE INDEX idx_jobs_assignee_status ON jobs (tenant_id, assignee_id, status, id);
CREATE INDEX idx_jobs_status ON jobs (tenant_id, status, id);
CREATE INDEX idx_jobs_next_alert ON jobs (next_alert_at, tenant_id, id) WHERE next_alert_at IS NOT NULL;

-- The last number of DJ-<year>-<number>, per tenant and year.
CREATE TABLE job_numbers (
    tenant_id BIGINT NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    year BIGINT NOT NULL,
    last_number BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, year)
)
WITHOUT ROWID  -- sqlite only
;

CREATE TABLE job_watchers (
    tenant_id BIGINT NOT NULL,
    job_id BIGINT NOT NULL,
    user_id BIGINT NOT NULL,
    created_at VARCHAR(27) NOT NULL,
    PRIMARY KEY (tenant_id, job_id, user_id),
    FOREIGN KEY (tenant_id, job_id) REFERENCES jobs (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE
)
WITHOUT ROWID  -- sqlite only
;

CREATE TABLE job_comments (
    id INTEGER NOT NULL PRIMARY KEY,  -- sqlite only
    id BIGINT NOT NULL PRIMARY KEY,   -- postgresql only
    tenant_id BIGINT NOT NULL,
    job_id BIGINT NOT NULL,
    author_id BIGINT,
    text TEXT NOT NULL,
    created_at VARCHAR(27) NOT NULL,
    FOREIGN KEY (tenant_id, job_id) REFERENCES jobs (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, author_id) REFERENCES users (tenant_id, id)
);
CREATE INDEX idx_job_comments_job ON job_comments (tenant_id, job_id, id);

-- Every accepted domain event. Where its sender gave a key, the answer is kept so that a retry gets the same one; fingerprint is the
-- SHA-256 of the body, so that another body under the same key is told apart.
-- sender: whose key it is, since each sender has keys of its own: a person by their user id, 0 for a backend of the tenant, -1 for
-- one of the whole installation. NULL where there is no key.
CREATE TABLE domain_events (
    id INTEGER NOT NULL PRIMARY KEY,  -- sqlite only
    id BIGINT NOT NULL PRIMARY KEY,   -- postgresql only
    tenant_id BIGINT NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    type VARCHAR(50) NOT NULL,
    actor_id BIGINT,
    job_id BIGINT,
    sender BIGINT,
    idempotency_key VARCHAR(255),
    fingerprint VARCHAR(64),
    answer TEXT,
    seq BIGINT NOT NULL,
    occurred_at VARCHAR(27) NOT NULL,
    received_at VARCHAR(27) NOT NULL
);
CREATE UNIQUE INDEX idx_domain_events_key ON domain_events (tenant_id, sender, idempotency_key)
    WHERE idempotency_key IS NOT NULL;

-- The log that clients replay: one row for each logged packet. user_id NULL: to everyone in the tenant.
-- kind 'new' points at its notification; the other kinds carry their packet's payload in data.
-- mark: a hash over all that clients were shown of the tenant's log up to and with this change (djactors/domain/marks.py), as a
-- signed number of 64 bits.
CREATE TABLE changes (
    tenant_id BIGINT NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    seq BIGINT NOT NULL,
    user_id BIGINT,
    kind VARCHAR(30) NOT NULL,
    notification_id BIGINT,
    data TEXT,
    mark BIGINT NOT NULL,
    created_at VARCHAR(27) NOT NULL,
    PRIMARY KEY (tenant_id, seq)
)
WITHOUT ROWID  -- sqlite only
;
-- The changes of kind new, which name their notification, are found by the notification's own row; here are the others.
-- "+ 0" keeps SQLite from walking the tenant's whole log by the primary key instead: it takes that for the cheaper way, as the rows
-- lie there. A query that is to use this index says "tenant_id + 0" as well.
CREATE INDEX idx_changes_user ON changes ((tenant_id + 0), user_id, seq) WHERE notification_id IS NULL;

-- seq, read_seq and removed_seq name the changes that brought the row, read it and took it away, so that the inbox as it was at
-- any sequence number can be read off. removed_reason: 'deleted', 'expired' or 'replaced'.
-- mark is that of the change that brought the row, here as well so that a replay of what is new need not look into changes: one page
-- for each notification of a user among those of many.
-- job_id: bursts of the same type and job can be collapsed.
CREATE TABLE notifications (
    id INTEGER NOT NULL PRIMARY KEY,  -- sqlite only
    id BIGINT NOT NULL PRIMARY KEY,   -- postgresql only
    tenant_id BIGINT NOT NULL,
    user_id BIGINT NOT NULL,
    event_id BIGINT,
    job_id BIGINT,
    type VARCHAR(50) NOT NULL,
    priority VARCHAR(20) NOT NULL,
    title VARCHAR(255) NOT NULL,
    message TEXT,
    data TEXT,
    is_read BOOLEAN NOT NULL DEFAULT false,
    read_at VARCHAR(27),
    created_at VARCHAR(27) NOT NULL,
    expires_at VARCHAR(27) NOT NULL,
    replaces BIGINT,
    seq BIGINT NOT NULL,
    mark BIGINT NOT NULL,
    read_seq BIGINT,
    removed_seq BIGINT,
    removed_at VARCHAR(27),
    removed_reason VARCHAR(10),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE
);
-- The one index of the inbox. It has the seed's name and, within a tenant, the seed's columns; but it has what was read as well, so
-- that the whole inbox is read as the merge of its two halves. It also has what was removed, for the log.
CREATE INDEX idx_notifications_user_unread ON notifications (tenant_id, user_id, is_read, id, removed_seq);
-- Purging finds what left the inbox long ago. Changes, domain events and suppressions need no index for that: their keys rise with
-- time.
CREATE INDEX idx_notifications_removed ON notifications (removed_at) WHERE removed_at IS NOT NULL;

-- How far expiry has come. Ids and expires_at rise together, so expiry walks along the ids and needs no index. Only where the clock was
-- set back do they not: from there on the ids have a walk of their own. A walk is of the ids from first_id up to the next walk's;
-- what lies before next_id has left the inbox.
CREATE TABLE expiry_walks (
    first_id INTEGER NOT NULL PRIMARY KEY,  -- sqlite only
    first_id BIGINT NOT NULL PRIMARY KEY,   -- postgresql only
    next_id BIGINT NOT NULL
);
INSERT INTO expiry_walks (first_id, next_id) VALUES (1, 1);

-- One row for each user and each day, in the tenant's time zone, on which the daily limit kept something back: held counts that.
-- summary_id: the newest summary of what was held back; summary_at: when it was sent; summary_due: when the next one is.
CREATE TABLE user_days (
    tenant_id BIGINT NOT NULL,
    user_id BIGINT NOT NULL,
    day VARCHAR(10) NOT NULL,
    held BIGINT NOT NULL DEFAULT 0,
    summary_id BIGINT,
    summary_at VARCHAR(27),
    summary_due VARCHAR(27),
    PRIMARY KEY (tenant_id, user_id, day),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE
)
WITHOUT ROWID  -- sqlite only
;
CREATE INDEX idx_user_days_summary_due ON user_days (summary_due, tenant_id, user_id, day) WHERE summary_due IS NOT NULL;
CREATE INDEX idx_user_days_day ON user_days (day);

-- Why somebody was not notified.
CREATE TABLE suppressions (
    id INTEGER NOT NULL PRIMARY KEY,  -- sqlite only
    id BIGINT NOT NULL PRIMARY KEY,   -- postgresql only
    tenant_id BIGINT NOT NULL,
    user_id BIGINT NOT NULL,
    event_id BIGINT NOT NULL,
    type VARCHAR(50) NOT NULL,
    reason VARCHAR(50) NOT NULL,
    created_at VARCHAR(27) NOT NULL,
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX idx_suppressions_user ON suppressions (tenant_id, user_id, id);
