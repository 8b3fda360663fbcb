-- What a person does with a notification beside reading and deleting it. One text for SQLite and PostgreSQL 15, as in 0001.
--
-- seen_id and seen_seq: the newest notification that the user has seen, and the change that said so. unseen_count: how many of the
-- unread ones are newer than that, or came back from a snooze since; kept in the commit that changes it, as unread_count is.
ALTER TABLE users ADD COLUMN unseen_count BIGINT NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN seen_id BIGINT NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN seen_seq BIGINT NOT NULL DEFAULT 0;
-- Nobody has said yet what they have seen.
UPDATE users SET unseen_count = unread_count;

-- place: where the notification is, 'archived' or 'snoozed'; NULL in the inbox itself, so that what nobody moved stores nothing for it.
-- place_seq: the change that put it there. snoozed_until: when it comes back. returned_seq: the change that brought it back last.
ALTER TABLE notifications ADD COLUMN place VARCHAR(10);
ALTER TABLE notifications ADD COLUMN place_seq BIGINT;
ALTER TABLE notifications ADD COLUMN snoozed_until VARCHAR(27);
ALTER TABLE notifications ADD COLUMN returned_seq BIGINT;
-- The one index of the inbox once more, with the place: whoever archives everything has a list that is read from the index alone.
DROP INDEX idx_notifications_user_unread;
CREATE INDEX idx_notifications_user_unread ON notifications (tenant_id, user_id, is_read, id, removed_seq, place);
-- Both have entries only for what was archived or snoozed, so an ordinary notification costs no page more.
CREATE INDEX idx_notifications_place ON notifications (tenant_id, user_id, place, id) WHERE place IS NOT NULL;
CREATE INDEX idx_notifications_snoozed_until ON notifications (snoozed_until, id) WHERE snoozed_until IS NOT NULL;

-- The times in which a notification was read, archived or snoozed and is not any more, by the changes that began and ended them, for the
-- inbox as it was. What still holds is in the notification's own row. at: when it was read, or until when it was snoozed.
CREATE TABLE notification_spells (
    notification_id BIGINT NOT NULL REFERENCES notifications (id) ON DELETE CASCADE,
    until_seq BIGINT NOT NULL,
    state VARCHAR(10) NOT NULL,
    since_seq BIGINT NOT NULL,
    at VARCHAR(27),
    PRIMARY KEY (notification_id, until_seq, state)
)
WITHOUT ROWID  -- sqlite only
;

-- Who hears of a job only what concerns them alone (domain/notification_rules.py).
CREATE TABLE job_mutes (
    tenant_id BIGINT NOT NULL,
    job_id BIGINT NOT NULL,
    user_id BIGINT NOT NULL,
    created_at VARCHAR(27) NOT NULL,
    PRIMARY KEY (tenant_id, job_id, user_id),
    FOREIGN KEY (tenant_id, job_id) REFERENCES jobs (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE
)
WITHOUT ROWID  -- sqlite only
;
