-- Comments as a thread, with mentions, and people who left. One text for SQLite and PostgreSQL 15, as in 0001.
--
-- deactivated_at: since when the person is deactivated; NULL for an active one.
ALTER TABLE users ADD COLUMN deactivated_at VARCHAR(27);

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
