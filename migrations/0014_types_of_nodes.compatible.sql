-- By which notification types a node notifies. One text for SQLite and PostgreSQL 15, as in 0001.

-- Whoever looks sees that nodes differ. Empty: the node is of a version that does not say it.
ALTER TABLE nodes ADD COLUMN types VARCHAR(64) NOT NULL DEFAULT '';
