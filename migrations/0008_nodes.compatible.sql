-- Several nodes on one database. One text for SQLite and PostgreSQL 15, as in 0001.

-- Which nodes serve this database, for those who look: each writes its row every few seconds, on PostgreSQL only. Nothing depends on
-- it. A node that was killed leaves its row, which the others delete later.
CREATE TABLE nodes (
    name VARCHAR(32) NOT NULL PRIMARY KEY,
    started_at VARCHAR(27) NOT NULL,
    seen_at VARCHAR(27) NOT NULL,
    version VARCHAR(32) NOT NULL,
    url VARCHAR(255) NOT NULL,
    users BIGINT NOT NULL,
    sockets BIGINT NOT NULL
)
WITHOUT ROWID  -- sqlite only
;

-- account_number: which change of an account, counted in the tenant, was the newest of this user's: a sign-out, a role, a deactivation.
-- These are no changes of the log, since no client is shown them. So another node finds by this number whose account it has to read
-- again. NULL where there was none since this migration.
ALTER TABLE users ADD COLUMN account_number BIGINT;
CREATE INDEX idx_users_account_number ON users (tenant_id, account_number) WHERE account_number IS NOT NULL;
