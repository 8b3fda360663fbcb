-- How the database grows, so that its admins hear in time that its disk will be full. One text for SQLite and PostgreSQL 15, as in 0001.

-- One row for each day, in UTC, on which a server looked: how many bytes of the database were filled at the first look, and when that
-- was. told_at: when the admins were told on that day that the disk will be full; NULL where they were not.
CREATE TABLE database_sizes (
    day VARCHAR(10) NOT NULL PRIMARY KEY,
    noted_at VARCHAR(27) NOT NULL,
    bytes BIGINT NOT NULL,
    told_at VARCHAR(27)
)
WITHOUT ROWID  -- sqlite only
;

-- Who is told: few among many.
CREATE INDEX idx_users_admins ON users (tenant_id, id) WHERE role = 'admin';
