-- Comments as a thread, with mentions, and people who left. One text for SQLite and PostgreSQL 15, as in 0001.
--
-- deactivated_at: since when the person is deactivated; NULL for an active one.
-- folded_name: the name without case, without the marks of Latin, Greek and Cyrillic letters, and with single spaces
-- (djactors/domain/names.py), so that "@Mali Requester" in a comment is found by one index. The names of people from before are
-- folded by the program, in the transaction of this migration.
ALTER TABLE users ADD COLUMN deactivated_at VARCHAR(27);
ALTER TABLE users ADD COLUMN folded_name VARCHAR(255);
-- "+ 0" as in idx_changes_user: without it SQLite takes walking all people of the tenant by the primary key for the cheaper way.
CREATE INDEX idx_users_folded_name ON users ((tenant_id + 0), folded_name);

-- Who was mentioned in a comment. The names are not kept, because a thread shows names as of now.
CREATE TABLE comment_mentions (
    comment_id BIGINT NOT NULL REFERENCES job_comments (id) ON DELETE CASCADE,
    tenant_id BIGINT NOT NULL,
    user_id BIGINT NOT NULL,
    PRIMARY KEY (comment_id, user_id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE
)
WITHOUT ROWID  -- sqlite only
;
