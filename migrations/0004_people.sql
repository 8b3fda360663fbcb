-- People are found by their names. One text for SQLite and PostgreSQL 15, as in 0001.
--
-- A name is folded (djactors/domain/names.py): neither case nor the marks of Latin, Greek and Cyrillic letters count. Neither engine
-- folds as the program does, so this file fills nothing: the server does at its next start, before it listens, in slices.

-- names_folded: by which rules, and with which tables of Unicode, the names of this database were folded; NULL where that is still
-- to be done. A server with other rules folds all of them again.
ALTER TABLE meta ADD COLUMN names_folded VARCHAR(32);

-- names_version: how often a name has changed. A list of people is read as it was when its first page was read.
ALTER TABLE tenants ADD COLUMN names_version BIGINT NOT NULL DEFAULT 0;

-- The rows of one folded name: the whole name once as part 0, for the list of all people, and as part 1 what begins at each of its
-- words, for the search. So the people whose name, or a word of it, begins with a text are one range of the primary key. The order
-- is that of the bytes on both engines.
-- since and until: the tenant's names_version with which the name came, and with which another took its place; NULL for the name
-- that the person has. ended_at: when that was. Such a row is kept for the lists that were begun before, and deleted soon after.
CREATE TABLE people_names (
    tenant_id BIGINT NOT NULL,
    part BIGINT NOT NULL,
    text VARCHAR(64) NOT NULL,  -- sqlite only
    text VARCHAR(64) COLLATE "C" NOT NULL,  -- postgresql only
    user_id BIGINT NOT NULL,
    since BIGINT NOT NULL,
    until BIGINT,
    ended_at VARCHAR(27),
    PRIMARY KEY (tenant_id, part, text, user_id, since),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE
)
WITHOUT ROWID  -- sqlite only
;
-- The rows of one person: to end them, and to show somebody once of whose name two words begin with the same text.
CREATE INDEX idx_people_names_user ON people_names (tenant_id, user_id, text);
CREATE INDEX idx_people_names_ended ON people_names (tenant_id, ended_at) WHERE ended_at IS NOT NULL;
