-- Expiry on a database that several nodes share. One text for SQLite and PostgreSQL 15, as in 0001.
--
-- On PostgreSQL ids do not rise with time across tenants, so what has expired is found by its time. SQLite walks along the ids
-- (expiry_walks) and needs no index, which would cost every notification a page.
CREATE INDEX idx_notifications_expires_at ON notifications (expires_at, id) WHERE removed_seq IS NULL;  -- postgresql only
