-- A notification costs its writer chiefly the pages that it touches, and where there are many users each of their index entries
-- and rows is on a page of its own.

-- One index of the inbox instead of two. It has the seed's name and, within a tenant, the seed's columns; but it has what was read as
-- well, so that the whole inbox is read as the merge of its two halves. It also has what was removed, for the log:
DROP INDEX idx_notifications_inbox;
DROP INDEX idx_notifications_user_unread;
CREATE INDEX idx_notifications_user_unread ON notifications (tenant_id, user_id, is_read, id, removed_seq);

-- The changes of kind new, which name their notification, are found by the notification's own row; here are the others.
DROP INDEX idx_changes_user;
CREATE INDEX idx_changes_user ON changes (tenant_id, user_id, seq) WHERE notification_id IS NULL;

-- How much a user was told on the day on which they were told last: beside the badge, which the same commit writes anyway. sent of
-- user_days is true of all other days; a user has a row there for each day that is over, and for today once something was held back.
ALTER TABLE users ADD COLUMN sent_day VARCHAR(10);
ALTER TABLE users ADD COLUMN sent_count BIGINT NOT NULL DEFAULT 0;
