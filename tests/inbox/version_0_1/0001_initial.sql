-- The durable inbox. One file for SQLite and PostgreSQL 15: everything here means the same on both.
--
-- What differs from the seed's DDL, and why:
--   * Ids are plain BIGINTs that the program allocates inside the commit (table counters). BIGSERIAL, identity columns and
--     AUTOINCREMENT do not port; INTEGER PRIMARY KEY would hand out deleted ids again.
--   * Times are UTC text of one width, 2026-01-27T10:30:00.000000Z, written by the program: they sort as text on both, and a
--     default such as CURRENT_TIMESTAMP + INTERVAL does not port. expires_at is created_at plus 30 days as in the seed.
--   * A row leaves the inbox by a stamp (removed_seq), not by a DELETE: the log of changes still points at it. The seed's index on
--     expires_at compares with the clock in its predicate, which PostgreSQL refuses; here the predicate is "still in the inbox".
--   * The seed's index on created_at served "newest first"; ids rise with time, so the inbox index does that.
--   * Booleans are compared as "= false": SQLite would scan on "= 0", and PostgreSQL refuses it.

-- One row: what marks this database. epoch is renewed in every copy that a backup makes, pid_key never leaves the file.
CREATE TABLE meta (
    id BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    epoch VARCHAR(32) NOT NULL,
    pid_key VARCHAR(64) NOT NULL,
    created_at VARCHAR(27) NOT NULL
);

-- The last id handed out, per kind of row.
CREATE TABLE counters (
    name VARCHAR(50) NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO counters (name, value) VALUES ('domain_events', 0);
INSERT INTO counters (name, value) VALUES ('notifications', 0);
INSERT INTO counters (name, value) VALUES ('suppressions', 0);
INSERT INTO counters (name, value) VALUES ('job_comments', 0);

-- last_seq: the sequence number of the tenant's newest change. oldest_seq: changes up to and with it are purged.
-- job_numbering: who numbers the tenant's jobs, 'backend' or 'djactors'; its first creation decides.
CREATE TABLE tenants (
    id BIGINT NOT NULL PRIMARY KEY,
    name VARCHAR(255) NOT NULL,
    time_zone VARCHAR(64) NOT NULL DEFAULT 'UTC',
    job_numbering VARCHAR(10),
    last_job_id BIGINT NOT NULL DEFAULT 0,
    last_seq BIGINT NOT NULL DEFAULT 0,
    oldest_seq BIGINT NOT NULL DEFAULT 0,
    created_at VARCHAR(27) NOT NULL,
    updated_at VARCHAR(27) NOT NULL
);

-- unread_count is the badge: kept in the commit that changes it, never counted anew.
CREATE TABLE users (
    id BIGINT NOT NULL PRIMARY KEY,
    tenant_id BIGINT NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    name VARCHAR(255) NOT NULL,
    role VARCHAR(20) NOT NULL DEFAULT 'user',
    unread_count BIGINT NOT NULL DEFAULT 0 CHECK (unread_count >= 0),
    created_at VARCHAR(27) NOT NULL,
    updated_at VARCHAR(27) NOT NULL
);
CREATE UNIQUE INDEX idx_users_tenant ON users (tenant_id, id);

-- Job ids are the backend's own where it numbers them, so they are unique within a tenant only.
CREATE TABLE jobs (
    tenant_id BIGINT NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    id BIGINT NOT NULL,
    dj_id VARCHAR(50),
    title VARCHAR(255) NOT NULL,
    project_id BIGINT,
    job_type_id BIGINT,
    status VARCHAR(20) NOT NULL,
    requester_id BIGINT REFERENCES users (id) ON DELETE SET NULL,
    assignee_id BIGINT REFERENCES users (id) ON DELETE SET NULL,
    approver_id BIGINT REFERENCES users (id) ON DELETE SET NULL,
    manager_id BIGINT REFERENCES users (id) ON DELETE SET NULL,
    deadline VARCHAR(27),
    created_at VARCHAR(27) NOT NULL,
    updated_at VARCHAR(27) NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
CREATE UNIQUE INDEX idx_jobs_dj_id ON jobs (tenant_id, dj_id) WHERE dj_id IS NOT NULL;
CREATE INDEX idx_jobs_assignee ON jobs (tenant_id, assignee_id, id);

-- The last number of DJ-<year>-<number>, per tenant and year.
CREATE TABLE job_numbers (
    tenant_id BIGINT NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    year BIGINT NOT NULL,
    last_number BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, year)
);

CREATE TABLE job_watchers (
    tenant_id BIGINT NOT NULL,
    job_id BIGINT NOT NULL,
    user_id BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at VARCHAR(27) NOT NULL,
    PRIMARY KEY (tenant_id, job_id, user_id),
    FOREIGN KEY (tenant_id, job_id) REFERENCES jobs (tenant_id, id) ON DELETE CASCADE
);

CREATE TABLE job_comments (
    id BIGINT NOT NULL PRIMARY KEY,
    tenant_id BIGINT NOT NULL,
    job_id BIGINT NOT NULL,
    author_id BIGINT REFERENCES users (id) ON DELETE SET NULL,
    text TEXT NOT NULL,
    created_at VARCHAR(27) NOT NULL,
    FOREIGN KEY (tenant_id, job_id) REFERENCES jobs (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX idx_job_comments_job ON job_comments (tenant_id, job_id, id);

-- Every accepted domain event. Where its sender gave a key, the answer is kept so that a retry gets the same one;
-- fingerprint is the SHA-256 of the body, so that another body under the same key is told apart.
CREATE TABLE domain_events (
    id BIGINT NOT NULL PRIMARY KEY,
    tenant_id BIGINT NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    type VARCHAR(50) NOT NULL,
    actor_id BIGINT,
    job_id BIGINT,
    idempotency_key VARCHAR(255),
    fingerprint VARCHAR(64),
    answer TEXT,
    seq BIGINT NOT NULL,
    occurred_at VARCHAR(27) NOT NULL,
    received_at VARCHAR(27) NOT NULL
);
CREATE UNIQUE INDEX idx_domain_events_key ON domain_events (tenant_id, idempotency_key)
    WHERE idempotency_key IS NOT NULL;

-- The log that clients replay: one row for each logged packet. user_id NULL: to everyone in the tenant.
-- kind 'new' points at its notification; the other kinds carry their packet's payload in data.
CREATE TABLE changes (
    tenant_id BIGINT NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    seq BIGINT NOT NULL,
    user_id BIGINT,
    kind VARCHAR(30) NOT NULL,
    notification_id BIGINT,
    data TEXT,
    created_at VARCHAR(27) NOT NULL,
    PRIMARY KEY (tenant_id, seq)
);
CREATE INDEX idx_changes_user ON changes (tenant_id, user_id, seq);

-- seq, read_seq and removed_seq name the changes that brought the row, read it and took it away, so that the inbox as it was at
-- any sequence number can be read off. removed_reason: 'deleted', 'expired' or 'replaced'.
CREATE TABLE notifications (
    id BIGINT NOT NULL PRIMARY KEY,
    tenant_id BIGINT NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    user_id BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    event_id BIGINT,
    type VARCHAR(50) NOT NULL,
    priority VARCHAR(20) NOT NULL,
    title VARCHAR(255) NOT NULL,
    message TEXT,
    data JSONB,
    is_read BOOLEAN NOT NULL DEFAULT false,
    read_at VARCHAR(27),
    created_at VARCHAR(27) NOT NULL,
    expires_at VARCHAR(27) NOT NULL,
    replaces BIGINT,
    seq BIGINT NOT NULL,
    read_seq BIGINT,
    removed_seq BIGINT,
    removed_at VARCHAR(27),
    removed_reason VARCHAR(10)
);
CREATE INDEX idx_notifications_inbox ON notifications (tenant_id, user_id, id)
    WHERE removed_seq IS NULL;
CREATE INDEX idx_notifications_user_unread ON notifications (tenant_id, user_id, id)
    WHERE is_read = false AND removed_seq IS NULL;
CREATE INDEX idx_notifications_expires ON notifications (expires_at)
    WHERE removed_seq IS NULL;

-- Why somebody was not notified.
CREATE TABLE suppressions (
    id BIGINT NOT NULL PRIMARY KEY,
    tenant_id BIGINT NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    user_id BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    event_id BIGINT NOT NULL,
    type VARCHAR(50) NOT NULL,
    reason VARCHAR(50) NOT NULL,
    created_at VARCHAR(27) NOT NULL
);
CREATE INDEX idx_suppressions_user ON suppressions (tenant_id, user_id, id);
