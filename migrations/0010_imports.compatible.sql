-- Tenants that are imported beside a running server. One text for SQLite and PostgreSQL 15, as in 0001.

-- importing: the tenant is here in part only, and nobody is served with it.
ALTER TABLE tenants ADD COLUMN importing BOOLEAN NOT NULL DEFAULT false;

-- One row for each such tenant. plan: what its sender has announced, which names the import. arrived: how many rows are here.
CREATE TABLE imports (
    tenant_id BIGINT NOT NULL PRIMARY KEY REFERENCES tenants (id) ON DELETE CASCADE,
    plan TEXT NOT NULL,
    arrived BIGINT NOT NULL,
    begun_at VARCHAR(27) NOT NULL,
    touched_at VARCHAR(27) NOT NULL
)
WITHOUT ROWID  -- sqlite only
;
