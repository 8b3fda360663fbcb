-- Who is mentioned, by the person. One text for SQLite and PostgreSQL 15, as in 0001.

-- Whoever deletes a user has the database look for the mentions of this user, because a foreign key says that they go with the user:
-- without an index that reads the mentions of all tenants, for each user of an import that is abandoned.
CREATE INDEX idx_comment_mentions_user ON comment_mentions (tenant_id, user_id);
